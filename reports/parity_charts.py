"""The pictures of a parity report: drift over depth, firings over a spectrogram, the worst tap's error as a heat map.

Pure functions: rows of the report in, one SVG string out. Imports svg, charts, formatting and the schema only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from itertools import groupby

from reports import formatting as fmt
from reports.charts import Point, ratio_chart
from reports.schema.parity import PLAIN, ParityReport, TapRow
from reports.schema.pictures import FiringPicture, HeatMap
from reports.svg import WIDTH, image, line, polyline, ramp, rect, svg, text

INK = ramp([(255, 255, 255), (196, 208, 221), (106, 127, 150), (38, 50, 64)])  # paper to ink: the spectrogram
HEAT = ramp([(247, 248, 250), (253, 219, 157), (233, 120, 66), (150, 26, 44)])
HEAT_DECADES = (-0.5, 2.0)  # log10 of the floor's multiple: below and above drawn as the ends
LEFT, RIGHT = 72, 14


def introduced_charts(report: ParityReport) -> list[tuple[str, str]]:
    """Return (engine, picture): what every module and every step inside one introduces by itself, in network order."""
    charts = [(engine, _introduced([*rows])) for engine, rows in _by_engine(report.taps).items()]
    return [(engine, chart) for engine, chart in charts if chart]


def _by_engine(taps: Sequence[TapRow]) -> dict[str, list[TapRow]]:
    engines = dict.fromkeys(row.engine for row in taps)
    return {engine: [row for row in taps if row.engine == engine] for engine in engines}


def _introduced(rows: Sequence[TapRow]) -> str:
    points = []
    for row in rows:
        if row.scope == "introduced" and row.ratio is not None:
            points.append(Point(row.name, row.ratio, row.tolerance_ratio, row.status == "pass"))
        elif row.introduced is not None:
            own = row.introduced
            points.append(Point(row.name, own.ratio, None, own.status == "pass"))
    return ratio_chart(points) if points else ""


def drift_chart(report: ParityReport) -> str:
    """Return relative L2 distance from the truth over depth: candidate and floor, the guilty module marked.

    One line for every engine that computed the candidate's side, over the taps of the first one.
    """
    everyone = [row for row in report.taps if row.scope == "propagated" and row.rel_l2 is not None]
    if not everyone:
        return ""
    engines = _by_engine(everyone)
    rows, *others = engines.values()
    shown = [value for row in everyone for value in (row.rel_l2, row.floor_rel_l2) if value and 0 < value < math.inf]
    low = min(max(math.floor(math.log10(min(shown, default=1e-7))), -12), 5)
    high = max(min(math.ceil(math.log10(max(shown, default=1.0)) + 1e-9), 6), low + 1)
    top, height = 18, 210
    step = (WIDTH - LEFT - RIGHT) / len(rows)

    def x_of(index: int) -> float:
        return LEFT + step * (index + 0.5)

    def y_of(value: float | None) -> float:
        exponent = math.log10(value) if value and 0 < value < math.inf else high if value else low
        return top + height * (high - min(max(exponent, low), high)) / (high - low)

    parts = _parts(rows, x_of, step, top, height)
    for exponent in range(low, high + 1):
        y = y_of(10.0**exponent)
        parts += [line(LEFT, y, WIDTH - RIGHT, y, "grid"), text(LEFT - 8, y + 4, f"1e{exponent}", "tick", anchor="end")]
    parts.append(polyline([(x_of(i), y_of(row.floor_rel_l2)) for i, row in enumerate(rows)], "curve floor"))
    parts.append(polyline([(x_of(i), y_of(row.rel_l2)) for i, row in enumerate(rows)], "curve"))
    places = {row.name: index for index, row in enumerate(rows)}
    for number, other in enumerate(others):
        points = [(x_of(places[row.name]), y_of(row.rel_l2)) for row in other if row.name in places]
        parts.append(polyline(points, f"curve engine{number % 3}"))
    for row in everyone:
        if row.name not in places:
            continue
        engine = "" if row.engine == PLAIN else f" ({row.engine})"
        label = f"{row.name}{engine}: {fmt.error(row.rel_l2)}, floor {fmt.error(row.floor_rel_l2)}"
        kind = "mark pass" if row.status == "pass" else "mark failed"
        if row.status != "pass" or row.engine == rows[0].engine:
            parts.append(_dot(x_of(places[row.name]), y_of(row.rel_l2), min(max(step / 3, 1.5), 3.5), kind, label))
    parts += _guilty(report.address, rows, x_of, top, height)
    return svg(WIDTH, top + height + 34, "Distance from the truth over the depth of the network", parts)


def _parts(rows: Sequence[TapRow], x_of: Callable[[int], float], step: float, top: float, height: float) -> list[str]:
    """Return a shade behind every other part of the network, and the part's name below."""
    parts, index = [], 0
    for turn, (part, group) in enumerate(groupby(rows, key=lambda row: row.name.partition(".")[0])):
        size = len(list(group))
        if turn % 2 == 0:
            parts.append(rect(x_of(index) - step / 2, top, step * size, height, "band", part))
        if step * size > 7 * len(part):
            parts.append(text(x_of(index) + step * (size - 1) / 2, top + height + 20, part, "tick"))
        index += size
    return parts


def _guilty(
    address: str | None, rows: Sequence[TapRow], x_of: Callable[[int], float], top: float, height: float
) -> list[str]:
    """Return the mark of the module that introduces the error: the last tapped one that its address lies in."""
    holding = [index for index, row in enumerate(rows) if address and f"{address}.".startswith(f"{row.name}.")]
    if not holding:
        return []
    x = x_of(holding[-1])
    anchor = "start" if x < WIDTH / 2 else "end"
    words = text(x + (6 if anchor == "start" else -6), top - 5, f"starts in {address}", "tick failed", anchor=anchor)
    return [line(x, top, x, top + height, "guilty"), words]


def _dot(x: float, y: float, radius: float, kind: str, title: str) -> str:
    return (
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
        f"<title>{escape(fmt.visible(title))}</title></circle>"
    )


def firing_chart(picture: FiringPicture) -> str:
    """Return one utterance: spectrogram with both sides' firings and tokens, then alphas and running sum."""
    frames = max(len(picture.fbank[0]) if picture.fbank else 0, len(picture.reference_alphas), 1)
    step = (WIDTH - LEFT - RIGHT) / frames
    top, tall, gap, panel = 44, 150, 26, 90
    parts = []
    if picture.fbank:
        bins = [[round(value / 255 * (len(INK) - 1)) for value in row] for row in reversed(picture.fbank)]
        parts.append(image(LEFT, top, step * len(picture.fbank[0]), tall, bins, INK))
    for words, y in (("high", top + 12), ("low", top + tall)):
        parts.append(text(LEFT - 8, y, words, "tick", anchor="end"))
    parts += _firings(picture.reference_fires, picture.tokens, "reference", step, top - 28, (top, top + tall))
    parts += _firings(picture.candidate_fires, picture.candidate_tokens, "candidate", step, top - 10, (top, top + tall))
    lower = top + tall + gap
    parts += _sums(picture, step, lower, panel)
    for second in range(int(frames * picture.frame_s) + 1):
        x = LEFT + second / picture.frame_s * step
        parts.append(text(x, lower + panel + 18, f"{second} s", "tick"))
    return svg(WIDTH, lower + panel + 28, f"Firings in {picture.utt_id}", parts)


def _firings(
    fires: Sequence[int], tokens: Sequence[str], side: str, step: float, y: float, span: tuple[float, float]
) -> list[str]:
    parts = [text(LEFT - 8, y, side, "tick", anchor="end")]
    for number, frame in enumerate(fires):
        x = LEFT + step * (frame + 0.5)
        parts.append(line(x, span[0], x, span[1], f"fire {side}"))
        if number < len(tokens):
            parts.append(text(x, y, tokens[number], "token"))
    return parts


def _sums(picture: FiringPicture, step: float, top: float, height: float) -> list[str]:
    """Return alphas of both sides, and the running sum's part above the last whole token (fires where it falls)."""

    def y_of(value: float) -> float:
        return top + height * (1.0 - min(max(value, 0.0), 1.0))

    def points(values: Sequence[float]) -> list[tuple[float, float]]:
        return [(LEFT + step * (frame + 0.5), y_of(value)) for frame, value in enumerate(values)]

    parts = [line(LEFT, y_of(value), WIDTH - RIGHT, y_of(value), "grid") for value in (0.0, 0.5, 1.0)]
    parts += [text(LEFT - 8, y_of(value) + 4, f"{value:g}", "tick", anchor="end") for value in (0.0, 1.0)]
    parts.append(polyline(points([value % 1.0 for value in picture.running_sum]), "curve sum"))
    parts.append(polyline(points(picture.reference_alphas), "curve floor"))
    parts.append(polyline(points(picture.candidate_alphas), "curve"))
    return parts


def heat_chart(heat: HeatMap, frames: str = "frames") -> str:
    """Return the error of one tap, channels from top to bottom over frames, as multiples of the tap's floor."""
    low, high = HEAT_DECADES
    last = len(HEAT) - 1
    # Written so that NaN is drawn as the largest error: min and max would hand it on.
    shares = [[(value - low) / (high - low) for value in row] for row in heat.values]
    rows = [[round(last * max(share, 0.0)) if share < 1.0 else last for share in row] for row in shares]
    if not rows or not rows[0]:
        return ""
    top, tall, wide = 12, max(120, min(3 * len(rows), 200)), WIDTH - LEFT - RIGHT
    parts = [
        image(LEFT, top, wide, tall, rows, HEAT),
        text(LEFT - 8, top + 12, "channel 0", "tick", anchor="end"),
        text(LEFT - 8, top + tall, f"{heat.channels - 1}", "tick", anchor="end"),
        text(LEFT + wide / 2, top + tall + 18, f"{len(rows[0])} {frames}", "tick"),
    ]
    scale = [round(last * index / 59) for index in range(60)]
    parts.append(image(LEFT, top + tall + 30, 240, 10, [scale], HEAT))
    for value, anchor, x in ((low, "start", LEFT), (high, "end", LEFT + 240)):
        parts.append(text(x, top + tall + 54, f"{10**value:.1g}× the floor", "tick", anchor=anchor))
    return svg(WIDTH, top + tall + 62, f"Error of {heat.tap}", parts)
