"""The pictures of error rates: bars by group, histograms, two rates and their difference with intervals.

Pure functions: rows of the report in, one SVG string out ("" where there is nothing to draw). They are small, so that
two stand beside one another and one fits a phone. Imports svg, formatting and the schema only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from reports import formatting as fmt
from reports.schema.cer import Bin, CerGroup, CompareReport, CompareSide, PairedGroup
from reports.svg import SMALL, circle, line, rect, svg, text

ROW = 22
NAME = 124  # room for a group's name
MOST = 1e3  # rates beyond 100,000 % are drawn at the edge
LETTER = 6.4  # width of a letter of 12 px; figures are as wide


def rate_bars(groups: Sequence[CerGroup], overall: float, title: str) -> str:
    """Return the rate of every group as a bar with its number of utterances; the dotted line is the whole set's."""
    if not groups:
        return ""
    left, right = NAME, SMALL - 104
    peak = max([rate for rate in (*(group.cer for group in groups), overall) if math.isfinite(rate)] + [1e-9])
    scale = (right - left) / peak
    bottom = 6 + ROW * len(groups)
    parts = [line(left, 2, left, bottom, "axis")]
    if math.isfinite(overall):
        whole = left + _long(overall, scale, right - left)
        parts.append(line(whole, 2, whole, bottom, "unit"))
    for place, group in enumerate(groups):
        y, long = 6 + ROW * place, _long(group.cer, scale, right - left)
        told = f"{group.name}: {fmt.rate(group.cer)} of {fmt.count(group.utterances)} utterances"
        parts.append(text(left - 8, y + 14, fmt.elide(fmt.visible(group.name), 16), "tick", anchor="end"))
        parts.append(rect(left, y + 3, max(long, 1.0), ROW - 7, "bar", told))
        parts.append(text(left + long + 6, y + 14, fmt.rate(group.cer), "value", anchor="start"))
        parts.append(text(SMALL - 2, y + 14, f"n {fmt.count(group.utterances)}", "tick", anchor="end"))
    return svg(SMALL, bottom + 4, title, parts)


def _long(rate: float, scale: float, room: float) -> float:
    return min(max(rate * scale, 0.0), room) if rate == rate else 0.0


def bin_bars(bins: Sequence[Bin], axis: str, title: str) -> str:
    """Return a histogram; of labels and counts that would touch one another only some are written."""
    if not bins:
        return ""
    left, top, height, step = 8, 20, 150, (SMALL - 16) / len(bins)
    peak = max([item.count for item in bins] + [1])
    every = _every([item.label for item in bins], step)
    parts = [line(left, top + height, SMALL - 8, top + height, "axis")]
    for place, item in enumerate(bins):
        x, tall, count = left + step * place, height * max(item.count, 0) / peak, fmt.count(item.count)
        label = fmt.visible(item.label)
        if item.count > 0:
            gap = min(3.0, step / 8)
            parts.append(rect(x + gap, top + height - tall, step - 2 * gap, tall, "bar", f"{label}: {count}"))
            if LETTER * len(count) < step or item.count == peak:
                parts.append(text(x + step / 2, top + height - tall - 5, count, "value"))
        if place % every == 0:
            parts.append(text(x + step / 2, top + height + 16, fmt.elide(label, 12), "tick"))
    parts.append(text(SMALL / 2, top + height + 36, fmt.elide(axis, 50), "tick"))
    return svg(SMALL, top + height + 44, title, parts)


def _every(labels: Sequence[str], step: float) -> int:
    """Return which share of the labels fits below bars so far apart."""
    widest = LETTER * max(min(fmt.width(fmt.visible(label)), 12) for label in labels) + 6
    return max(math.ceil(widest / step), 1)


def rates_chart(report: CompareReport) -> str:
    """Return both rates as points with their 95 % intervals on one axis."""
    sides = (("A", report.a), ("B", report.b))
    low, high = _span([value for _, side in sides for value in (side.cer, *side.ci95)])
    parts, x_of = _axis(low, high, 118, fmt.rate)
    for place, (letter, side) in enumerate(sides):
        y = 34 + 50 * place
        words = f"{letter}  {fmt.elide(fmt.visible(side.engine), 14)}  {fmt.rate(side.cer)}"
        parts.append(text(14, y - 12, words, "case", anchor="start"))
        parts.append(text(SMALL - 14, y - 12, fmt.interval(side.ci95), "tick", anchor="end"))
        parts += _interval(x_of, side.cer, side.ci95, y, f"side{place}", _told(letter, side))
    return svg(SMALL, 150, "Error rates of A and B with their 95% intervals", parts)


def _told(letter: str, side: CompareSide) -> str:
    return f"{letter}: {fmt.rate(side.cer)}, 95% interval {fmt.interval(side.ci95)}"


def difference_chart(report: CompareReport) -> str:
    """Return the difference B - A with its intervals on an axis that always shows zero."""
    found = [("over utterances", report.ci95)]
    if report.ci95_speakers:
        found.append(("over speakers", report.ci95_speakers))
    low, high = _span([0.0, report.difference, *(value for _, bounds in found for value in bounds)])
    bottom = 18 + 50 * len(found)
    parts, x_of = _axis(low, high, bottom, lambda value: fmt.points(value).removesuffix(" points"))
    parts.append(line(x_of(0.0), 4, x_of(0.0), bottom, "zero"))
    for place, (name, bounds) in enumerate(found):
        y, told = 34 + 50 * place, fmt.points_interval(bounds)
        parts.append(text(14, y - 12, name, "case", anchor="start"))
        parts.append(text(SMALL - 14, y - 12, told, "tick", anchor="end"))
        parts += _interval(x_of, report.difference, bounds, y, "side2", f"{name}: {told}")
    parts.append(text(14, bottom + 36, "← fewer errors in B", "tick", anchor="start"))
    parts.append(text(SMALL - 14, bottom + 36, "fewer errors in A →", "tick", anchor="end"))
    return svg(SMALL, bottom + 44, "Difference of the rates, B - A, with its 95% interval and zero", parts)


def paired_bars(groups: Sequence[PairedGroup], title: str) -> str:
    """Return both rates of every group as two points on one line, joined."""
    if not groups:
        return ""
    left, right = NAME + 30, SMALL - 62
    peak = max([rate for group in groups for rate in (group.cer_a, group.cer_b) if math.isfinite(rate)] + [1e-9])
    parts = [line(left, 2, left, 6 + ROW * len(groups), "axis")]
    for place, group in enumerate(groups):
        y = 6 + ROW * place + ROW / 2
        ends = [left + (right - left) * min(max(rate, 0.0), peak) / peak for rate in _numbers(group)]
        parts.append(text(left - 8, y + 4, fmt.elide(fmt.visible(group.name), 20), "tick", anchor="end"))
        parts.append(line(left, y, right, y, "grid"))
        parts.append(line(ends[0], y, ends[1], y, "joined"))
        for turn, letter in enumerate("AB"):
            told = f"{group.name}, {letter}: {fmt.rate((group.cer_a, group.cer_b)[turn])}"
            parts.append(circle(ends[turn], y, 5.5 - 1.5 * turn, f"end side{turn}", told))
        change = fmt.points(group.difference).removesuffix(" points")
        parts.append(text(SMALL - 2, y + 4, change, "value", anchor="end"))
    return svg(SMALL, 10 + ROW * len(groups), title, parts)


def _numbers(group: PairedGroup) -> list[float]:
    return [0.0 if rate != rate else rate for rate in (group.cer_a, group.cer_b)]


def _span(values: Iterable[float]) -> tuple[float, float]:
    """Return an axis that holds the values with room at both ends, never of no length."""
    finite = [min(max(value, -MOST), MOST) for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    room = max((high - low) * 0.12, 5e-4, abs(high) * 1e-6)
    return low - room, high + room


def _axis(low: float, high: float, bottom: float, words):
    """Return the parts of a horizontal axis, and the function from a value to its x."""

    def x_of(value: float) -> float:
        return 14 + (SMALL - 28) * (min(max(value, low), high) - low) / (high - low)

    parts = [line(14, bottom, SMALL - 14, bottom, "axis")]
    for value in _ticks(low, high):
        parts.append(line(x_of(value), 8, x_of(value), bottom, "grid"))
        anchor = "start" if x_of(value) < 34 else "end" if x_of(value) > SMALL - 34 else "middle"
        parts.append(text(x_of(value), bottom + 17, words(value), "tick", anchor=anchor))
    return parts, x_of


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers inside an axis, about four."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    return [turn * step for turn in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _interval(x_of, value: float, bounds: Sequence[float], y: float, kind: str, told: str) -> list[str]:
    ends = [x_of(bound) for bound in bounds if bound == bound]
    parts = []
    if len(ends) == 2:
        parts = [line(ends[0], y, ends[1], y, f"range {kind}")]
        parts += [line(x, y - 6, x, y + 6, f"range {kind}") for x in ends]
    if value == value:
        parts.append(circle(x_of(value), y, 6, f"end {kind}", told))
    return parts
