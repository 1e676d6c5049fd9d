"""The pictures of confidences: how often tokens are right against how sure the model was, and how errors are found.

Pure functions: a Calibration in, one SVG string out. Square, so that the diagonal is one. Imports svg, formatting and
the schema only.
"""

from __future__ import annotations

from reports import formatting as fmt
from reports.schema.cer import Calibration, CalibrationBin
from reports.svg import SMALL, Drawing, circle, line, polyline, rect, svg, text

LEFT, RIGHT, TOP = 46, 14, 24
SIDE = SMALL - LEFT - RIGHT  # of the square
TALL = 64  # of the bars below it
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def reliability(found: Calibration) -> Drawing:
    """Return accuracy against confidence in bins, with 95 % intervals, and below it how many tokens each bin holds."""
    parts = _square("of these right ↑")
    bottom, floor = TOP + SIDE, TOP + SIDE + 44 + TALL
    peak = max([one.count for one in found.bins] + [1])
    for one in found.bins:
        left, right = _x(one.low), _x(one.high)
        told = _told(one)
        tall = TALL * max(one.count, 0) / peak
        if one.count > 0:
            parts.append(rect(left + 2, floor - tall, max(right - left - 4, 1), max(tall, 1.0), "bar", told))
            parts += [line(_x(one.confidence), _y(low), _x(one.confidence), _y(high), "range side0")
                      for low, high in [one.ci95]]  # fmt: skip
            parts.append(circle(_x(one.confidence), _y(one.accuracy), 5, "end side0", told))
        parts.append(text((left + right) / 2, floor + 15, _short(one.count), "tick"))
    parts.append(line(LEFT, floor, LEFT + SIDE, floor, "axis"))
    parts.append(text(LEFT + SIDE / 2, bottom + 34, "confidence →", "tick"))
    parts.append(text(LEFT + SIDE / 2, floor + 32, "tokens of each bin", "tick"))
    return svg(SMALL, floor + 40, "Share of right tokens against confidence; the diagonal is a perfect match", parts)


def errors_found(found: Calibration) -> Drawing | str:
    """Return which share of the wrong tokens lies below a confidence, against the share of right ones that does."""
    if not found.roc:
        return ""
    parts = _square("wrong tokens below it ↑")
    parts.append(polyline([(_x(right), _y(wrong)) for right, wrong in found.roc], "curve"))
    for right, wrong in found.roc[1:-1]:
        told = f"{fmt.rate(wrong)} of the wrong tokens, {fmt.rate(right)} of the right ones"
        parts.append(circle(_x(right), _y(wrong), 3, "end side0", told))
    parts.append(text(LEFT + SIDE / 2, TOP + SIDE + 34, "right tokens below a confidence →", "tick"))
    return svg(SMALL, TOP + SIDE + 42, "Wrong tokens found against right ones suspected, by confidence", parts)


def _told(one: CalibrationBin) -> str:
    return (
        f"confidence {one.low:g} to {one.high:g}: {fmt.count(one.count)} tokens, {fmt.rate(one.accuracy)} right "
        f"(95%: {fmt.interval(one.ci95)})"
    )


def _short(count: int) -> str:
    """A count that fits below its bar."""
    return fmt.count(count) if count < 10_000 else f"{count / 1000:.0f}k"


def _square(upwards: str) -> list[str]:
    """The axes from 0 to 100 % with their grid, and the diagonal."""
    bottom = TOP + SIDE
    parts = [line(_x(0), _y(0), _x(1), _y(1), "unit")]
    for value in TICKS:
        parts.append(line(_x(value), TOP, _x(value), bottom, "axis" if value == 0 else "grid"))
        parts.append(line(LEFT, _y(value), LEFT + SIDE, _y(value), "axis" if value == 0 else "grid"))
        parts.append(
            text(_x(value), bottom + 17, f"{100 * value:g}%", "tick", anchor="end" if value == 1 else "middle")
        )
        if value:
            parts.append(text(LEFT - 6, _y(value) + 4, f"{100 * value:g}%", "tick", anchor="end"))
    parts.append(text(4, 12, upwards, "tick", anchor="start"))
    return parts


def _x(value: float) -> float:
    return LEFT + SIDE * _within(value)


def _y(value: float) -> float:
    return TOP + SIDE * (1 - _within(value))


def _within(value: float) -> float:
    return min(max(value, 0.0), 1.0) if value == value else 0.0
