"""The pictures of a report as inline SVG: plain data in, one string out.

Pure functions; colours, fonts and dark mode come from the page's style sheet through class names, so a picture follows
the page. Stdlib, formatting.py and svg.py only; it must not import the schema, the templates or a plotting library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import NamedTuple

from reports import formatting as fmt
from reports.svg import WIDTH, line, rect, svg, text

LABELLED = 32  # up to so many taps each gets its name below the axis; beyond that names would overlap
DECADES = (-3, 6)  # ratios outside 1e-3 .. 1e6 are drawn at the edge


class Point(NamedTuple):
    """One tap: its distance as a multiple of the noise floor (None for a discrete tap) and its tolerance."""

    name: str
    ratio: float | None
    tolerance: float | None
    passed: bool


class Bar(NamedTuple):
    """One timing: the case it belongs to, its side, its median and the lowest and highest sample."""

    case: str
    side: str
    median_s: float
    low_s: float
    high_s: float
    note: str = ""


def ratio_chart(points: Sequence[Point]) -> str:
    """Return each tap's ratio to the noise floor on a log axis, in network order, with the tolerance marked."""
    labelled = len(points) <= LABELLED
    left, right, top, height = 96 if labelled else 60, 14, 14, 230
    low, high = _decades(points)
    step = (WIDTH - left - right) / max(len(points), 1)
    size = min(max(step / 2, 2.0), 4.0)  # hundreds of taps: marks shrink before they cover one another

    def x_of(index: int) -> float:
        return left + step * (index + 0.5)

    def y_of(ratio: float) -> float:
        exponent = math.log10(ratio) if ratio > 0 else -math.inf
        exponent = high if math.isnan(exponent) else min(max(exponent, low), high)
        return top + height * (high - exponent) / (high - low)

    strip = top + height + 24  # where the discrete taps stand: equal or not, no ratio
    below = strip + 14
    parts = [_bands(points, x_of, step, top, strip + 8 - top, labelled, below), *_decade_grid(low, high, left, y_of)]
    parts.append(line(left, y_of(1.0), WIDTH - right, y_of(1.0), "unit"))
    parts.append(_tolerance_steps(points, x_of, y_of, step))
    for index, point in enumerate(points):
        parts.append(_mark(point, x_of(index), strip if point.ratio is None else y_of(point.ratio), size))
    if any(point.ratio is None for point in points):
        parts.append(text(left - 8, strip + 4, "equal", "tick", anchor="end"))
    if labelled:
        parts += [_slanted(point, x_of(index), below) for index, point in enumerate(points)]
    height = below + (136 if labelled else 24)
    return svg(WIDTH, height, "Ratio of each tap to the noise floor, in network order", parts)


def bars(rows: Sequence[Bar]) -> str:
    """Return medians as horizontal bars grouped by case, each with its spread as a whisker; each case has its scale."""
    sides = list(dict.fromkeys(row.side for row in rows))
    left, right, top = 30 + 7 * min(28, max(map(len, sides), default=0)), 190, 8
    parts, y = [], float(top)
    for case, group in groupby(rows, key=lambda row: row.case):
        of_case = list(group)
        peak = max([row.high_s for row in of_case if math.isfinite(row.high_s)] + [1e-9])
        scale = (WIDTH - left - right) / peak
        y += 18
        parts.append(text(14, y, fmt.visible(case), "case", anchor="start"))
        for row in of_case:
            y += 8
            number = sides.index(row.side)
            kind = f"bar side{number and 1 + (number - 1) % 3}"  # the first, this project, is alone in its colour
            parts.append(rect(left, y, _length(row.median_s, scale), 16, kind, f"{row.case}, {row.side}"))
            parts.append(text(left - 8, y + 12, fmt.elide(fmt.visible(row.side), 28), "tick", anchor="end"))
            parts += _whisker(left, y + 8, row, scale)
            end = left + max(_length(row.median_s, scale), _length(row.high_s, scale)) + 8
            note = f"{fmt.seconds(row.median_s)}{f'  ({row.note})' if row.note else ''}"
            parts.append(text(end, y + 12, note, "value", anchor="start"))
            y += 16
        y += 10
    return svg(WIDTH, y + 6, "Median time per case and side", parts)


def _decades(points: Sequence[Point]) -> tuple[int, int]:
    both = [value for point in points for value in (point.ratio, point.tolerance)]
    ratios = [value for value in both if value is not None and 0 < value < math.inf]
    low = math.floor(math.log10(min([0.3, *ratios])))
    high = math.ceil(math.log10(max([3.0, *ratios])) + 1e-9)
    if any(point.ratio is not None and not math.isfinite(point.ratio) for point in points):
        high += 1  # an infinite ratio stands above every finite one
    return max(low, DECADES[0]), min(high, DECADES[1])


def _decade_grid(low: int, high: int, left: float, y_of) -> list[str]:
    parts = []
    for exponent in range(low, high + 1):
        y, label = y_of(10.0**exponent), f"{10.0**exponent:g}×" if -3 < exponent < 5 else f"1e{exponent}×"
        parts += [line(left, y, WIDTH - 14, y, "grid"), text(left - 8, y + 4, label, "tick", anchor="end")]
    return parts


def _bands(points, x_of, step: float, top: float, height: float, labelled: bool, below: float) -> str:
    """Shade every other part of the network (the first dotted segment of a tap's name) and name it where it fits."""
    parts, index = [], 0
    for turn, (part, group) in enumerate(groupby(points, key=lambda point: point.name.partition(".")[0])):
        size = len(list(group))
        x, width = x_of(index) - step / 2, step * size
        if turn % 2 == 0:
            parts.append(rect(x, top, width, height, "band", part))
        if not labelled and width > 7 * len(part):
            parts.append(text(x + width / 2, below + 12, fmt.visible(part), "tick"))
        index += size
    return "".join(parts)


def _tolerance_steps(points: Sequence[Point], x_of, y_of, step: float) -> str:
    pieces = []
    for index, point in enumerate(points):
        if point.tolerance is not None and point.ratio is not None:
            x, y = x_of(index), y_of(point.tolerance)
            pieces.append(f"M{x - step / 2:.1f} {y:.1f}H{x + step / 2:.1f}")
    return f'<path class="tolerance" d="{"".join(pieces)}"/>' if pieces else ""


def _mark(point: Point, x: float, y: float, size: float) -> str:
    title = f"<title>{escape(fmt.visible(point.name))}: {_reading(point)}</title>"
    if point.passed:
        return f'<circle class="mark pass" cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}">{title}</circle>'
    arm = size + 1  # a failure is drawn larger than a pass
    cross = f"M{x - arm:.1f} {y - arm:.1f}l{2 * arm:.1f} {2 * arm:.1f}m0 {-2 * arm:.1f}l{-2 * arm:.1f} {2 * arm:.1f}"
    return f'<path class="mark fail" d="{cross}">{title}</path>'


def _reading(point: Point) -> str:
    if point.ratio is None:
        return "equal" if point.passed else "differs"
    return f"{fmt.multiple(point.ratio)} of the floor, tolerance {fmt.multiple(point.tolerance)}"


def _slanted(point: Point, x: float, y: float) -> str:
    kind = "tick" if point.passed else "tick failed"
    name = escape(fmt.elide(fmt.visible(point.name), 26))
    place = f"translate({x + 4:.1f} {y + 4:.1f}) rotate(-52)"
    return f'<text class="{kind}" text-anchor="end" transform="{place}">{name}</text>'


def _whisker(left: float, y: float, row: Bar, scale: float) -> list[str]:
    low, high = left + _length(row.low_s, scale), left + _length(row.high_s, scale)
    if high - low < 1:
        return []
    ends = [line(x, y - 4, x, y + 4, "whisker") for x in (low, high)]
    return [line(low, y, high, y, "whisker"), *ends]


def _length(value: float, scale: float) -> float:
    return min(max(value * scale, 0.0), WIDTH) if math.isfinite(value) else 0.0
