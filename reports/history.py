"""How a figure went from run to run: the picture above each kind of report on the index page.

Pure functions: reports in, one SVG string out. A line is one subject (a model at one precision, a data set with one
engine); its figure is the one its report is judged by. Imports svg, formatting,
cer_views and the schema only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from reports import formatting as fmt
from reports.cer_views import incomplete, unit_of
from reports.schema.cer import CerReport, CompareReport
from reports.schema.parity import ParityReport, SelftestReport
from reports.svg import WIDTH, circle, line, polyline, svg, text

LEFT, RIGHT, TOP, HEIGHT = 72, 190, 16, 150
LEAST, MOST = 1e-3, 1e3  # shares of a limit beyond these are drawn at the edge
STYLES = 4  # of lines; further subjects take them in turn, and are named at their ends


class Run(NamedTuple):
    """One report: whose figure, when it was made (ISO 8601), the figure and how it reads, and whether it passed."""

    subject: str
    made: str
    name: str
    value: float
    reading: str
    passed: bool


class Figure(NamedTuple):
    """What is drawn of a kind of report: its title, and whether its axis is logarithmic with a limit at 1."""

    title: str
    logarithmic: bool
    run: Callable[[Any, str, str], Run | None]


def parity_run(report: ParityReport, name: str, made: str) -> Run | None:
    """Return the tap that stands furthest out, as a share of its own limit."""
    judged = [row for row in report.taps if row.ratio is not None and row.tolerance_ratio]
    if not judged:
        return None
    worst = max(judged, key=lambda row: _share(row.ratio, row.tolerance_ratio))
    share = _share(worst.ratio, worst.tolerance_ratio)
    subject = f"{PurePath(report.reference).name}, {report.precision}"
    return Run(subject, made, name, share, f"{worst.name}: {fmt.multiple(share)} its limit", report.verdict == "pass")


def _share(ratio: float | None, limit: float | None) -> float:
    share = (ratio or 0.0) / (limit or 1.0)
    return MOST if math.isnan(share) else share


def selftest_run(report: SelftestReport, name: str, made: str) -> Run | None:
    """Return the share of seeded faults that were caught."""
    if not report.total:
        return None
    reading = f"{report.caught} of {report.total} caught"
    subject = PurePath(report.reference).name
    return Run(subject, made, name, report.caught / report.total, reading, report.verdict == "pass")


def cer_run(report: CerReport, name: str, made: str) -> Run | None:
    """Return the error rate."""
    if not report.reference_length:
        return None
    subject = f"{PurePath(report.model).name} ({report.engine}) on {PurePath(report.dataset).name}"
    reading = f"{unit_of(report.unit).short} {fmt.rate(report.cer)}"
    return Run(subject, made, name, report.cer, reading, not incomplete(report))


def compare_run(report: CompareReport, name: str, made: str) -> Run | None:
    """Return the difference of the two rates; whole where neither side lacks a hypothesis."""
    if not report.reference_length:
        return None
    one, other = (f"{PurePath(side.model).name} ({side.engine})" for side in (report.a, report.b))
    whole = not (report.a.missing or report.b.missing)
    return Run(f"{other} against {one}", made, name, report.difference, fmt.points(report.difference), whole)


FIGURES: dict[str, Figure] = {
    ParityReport.SCHEMA: Figure("Furthest tap of each run, as a share of its limit", True, parity_run),
    SelftestReport.SCHEMA: Figure("Share of seeded faults caught in each run", False, selftest_run),
    CerReport.SCHEMA: Figure("Error rate of each run", False, cer_run),
    CompareReport.SCHEMA: Figure("Difference of the rates in each comparison, B - A", False, compare_run),
}


def history_chart(figure: Figure, runs: Sequence[Run]) -> str:
    """Return the runs from the oldest to the newest, a line per subject; "" where no subject has two."""
    ordered = sorted(runs, key=lambda run: run.made)
    subjects = list(dict.fromkeys(run.subject for run in ordered))
    if len(subjects) == len(ordered):
        return ""
    step, column = (WIDTH - LEFT - RIGHT) / len(ordered), {run: place for place, run in enumerate(ordered)}
    low, high = _range(figure, ordered)

    def place(run: Run) -> tuple[float, float]:
        value = math.log10(min(max(run.value, LEAST), MOST)) if figure.logarithmic else run.value
        height = HEIGHT * (high - value) / (high - low)
        return LEFT + step * (column[run] + 0.5), TOP + height

    parts, ends = _axis(figure, low, high), dict[int, float]()
    for number, subject in enumerate(subjects):
        points = [place(run) for run in ordered if run.subject == subject]
        ends[number] = points[-1][1]
        parts.append(polyline(points, f"curve run{number % STYLES}"))
    parts += _names(subjects, ends)
    for run in ordered:
        kind = "dot pass" if run.passed else "dot fail"
        parts.append(circle(*place(run), 4.5, kind, f"{run.made} {run.name}: {run.reading}"))
    for run, anchor in ((ordered[0], "start"), (ordered[-1], "end")):
        parts.append(text(place(run)[0], TOP + HEIGHT + 20, run.made[:10], "tick", anchor=anchor))
    below = max(TOP + HEIGHT + 30, TOP + 16 * len(subjects) + 16)
    return svg(WIDTH, below, f"{figure.title}, oldest first", parts)


def _names(subjects: Sequence[str], ends: dict[int, float]) -> list[str]:
    """Name the lines beside the picture, in the order and, where there is room, at the height they end at."""
    parts, y = [], 0.0
    for number in sorted(ends, key=lambda number: ends[number]):
        y, x = max(ends[number], y + 16), WIDTH - RIGHT + 10
        parts.append(line(x, y, x + 16, y, f"curve run{number % STYLES}"))
        parts.append(text(x + 22, y + 4, fmt.elide(subjects[number], 24), "tick", anchor="start"))
    return parts


def _range(figure: Figure, runs: Sequence[Run]) -> tuple[float, float]:
    if not figure.logarithmic:
        low, high = (1.1 * bound(0.0, *(run.value for run in runs)) for bound in (min, max))
        return (low, high) if low < high else (0.0, 1.0)
    found = [math.log10(min(max(run.value, LEAST), MOST)) for run in runs]
    return min(math.floor(min(found)), -1), max(math.ceil(max(found)), 1)


def _axis(figure: Figure, low: float, high: float) -> list[str]:
    ends = [bound / 1.1 for bound in (low, high) if abs(bound) > 0.12 * (high - low)]  # a label too near 0 covers its
    halves = [end / 2 for end in ends] if len(ends) == 1 else []
    ticks = range(int(low), int(high) + 1) if figure.logarithmic else [0.0, *halves, *ends]
    parts = []
    for tick in ticks:
        y = TOP + HEIGHT * (high - tick) / (high - low)
        words = f"{10.0**tick:g}×" if figure.logarithmic else fmt.rate(tick)
        parts += [
            line(LEFT, y, WIDTH - RIGHT, y, "unit" if tick == 0 and low < 0 else "grid"),
            text(LEFT - 8, y + 4, words, "tick", anchor="end"),
        ]
    return parts
