"""What pages, summaries and tables show first of a paired comparison of two runs.

Arranges what a report says and says in a sentence what each statistic means; computes none. Imports charts, formatting,
aligning and the schema; it must not import jinja2 or rich.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from reports import aligning, cer_charts
from reports import formatting as fmt
from reports.cer_views import BARS, OPEN, unit_of
from reports.formatting import Figure
from reports.schema.cer import CompareReport, CompareSide, DifferingUtterance

LABELS = ("ref", "A", "B")


def compare_summary(report: CompareReport) -> str:
    """Return the comparison's own sentence, and how many hypotheses are identical where it does not say that."""
    return " ".join([fmt.visible(report.sentence), *([] if says_identical(report) else [identical(report)])])


def says_identical(report: CompareReport) -> bool:
    """Whether the comparison's own sentence says how many hypotheses are identical, as it does where all are."""
    return "hypotheses are identical" in report.sentence


def identical(report: CompareReport) -> str:
    """Return how many of the hypotheses are the same text."""
    return f"{fmt.count(report.identical)} of {fmt.count(report.utterances)} hypotheses are identical."


def side_name(side: CompareSide) -> str:
    """Return what tells a run from the other at a glance: its folder's name."""
    return PurePath(side.run).name or side.run or side.engine


def compare_counters(report: CompareReport) -> list[Figure]:
    """Return how many utterances were compared and on how many which side is better."""
    total, unit = fmt.count(report.utterances), unit_of(report.unit)
    of_all = f"of {total} utterances"
    return [
        Figure("Identical hypotheses", fmt.count(report.identical), of_all),
        Figure("Fewer errors in A", fmt.count(report.better_a), of_all),
        Figure("Fewer errors in B", fmt.count(report.better_b), of_all),
        Figure("Compared", total, f"utterances, {fmt.count(report.reference_length)} reference {unit.plural}"),
    ]


def sides(report: CompareReport) -> list[tuple[str, str, str]]:
    """Return what is known of both runs: (label, of A, of B)."""
    short = unit_of(report.unit).short
    rows: Sequence[tuple[str, Any]] = (
        ("Run", lambda side: side.run),
        ("Engine", lambda side: side.engine),
        ("Model", lambda side: side.model),
        (short, lambda side: fmt.rate(side.cer)),
        ("95% interval", lambda side: fmt.interval(side.ci95)),
        ("Substitutions", lambda side: fmt.count(side.substitutions)),
        ("Deletions", lambda side: fmt.count(side.deletions)),
        ("Insertions", lambda side: fmt.count(side.insertions)),
        ("Hits", lambda side: fmt.count(side.hits)),
        ("Sentence error rate", lambda side: fmt.rate(side.ser)),
        ("Missing", lambda side: fmt.count(side.missing)),
        ("Real-time factor", lambda side: fmt.number(side.rtf)),
    )
    return [(label, read(report.a), read(report.b)) for label, read in rows]


def statistics(report: CompareReport) -> list[Figure]:
    """Return every paired statistic with a sentence that says what it means."""
    rows = [
        Figure("Difference B − A", fmt.points(report.difference), _direction(report.difference)),
        Figure(
            "95% interval",
            fmt.points_interval(report.ci95),
            f"Where it would lie 19 times in 20 if other utterances of this kind had been drawn. {_zero(report.ci95)}",
        ),
    ]
    if report.ci95_speakers:
        words = f"The same, drawing whole speakers: what to expect of other people. {_zero(report.ci95_speakers)}"
        rows.append(Figure("95% interval over speakers", fmt.points_interval(report.ci95_speakers), words))
    rows.append(
        Figure(
            "Probability of improvement",
            fmt.rate(report.probability_of_improvement),
            "How often B makes fewer errors than A when the utterances are drawn again; 50% is a coin's toss (Bisani & "
            "Ney, 2004).",
        )
    )
    return [*rows, *_tests(report)]


def _tests(report: CompareReport) -> list[Figure]:
    resolved = (
        f"Utterances like these that would show this difference four times in five; this comparison has "
        f"{fmt.count(report.utterances)}."
    )
    return [
        Figure(
            "MAPSSWE p",
            fmt.chance(report.p_mapsswe),
            "The chance of a difference this large if both were equally good: NIST's matched-pairs test, two-sided.",
        ),
        Figure(
            "MAPSSWE z",
            fmt.number(report.mapsswe_z),
            "The same as a number of standard errors; beyond ±1.96, p is below 0.05.",
        ),
        Figure(
            "MAPSSWE segments",
            fmt.count(report.mapsswe_segments),
            "Stretches with an error of either side that the test counts as independent; with fewer than 50, p is "
            "rough.",
        ),
        Figure(
            "Utterances needed",
            fmt.count(report.utterances_needed),
            "There is no difference to resolve." if report.utterances_needed is None else resolved,
        ),
    ]


def _direction(difference: float) -> str:
    if difference == 0:
        return "Both make the same number of errors."
    return f"The rate of B lies {'above' if difference > 0 else 'below'} that of A by so many percentage points."


def _zero(bounds: Sequence[float]) -> str:
    if len(bounds) != 2:
        return ""
    inside = bounds[0] <= 0 <= bounds[1]
    return f"Zero is {'inside: the two may be equally good.' if inside else 'outside: more than chance.'}"


def aligned(row: DifferingUtterance, unit: str) -> list[aligning.Block]:
    """Return the reference with both hypotheses below it."""
    return aligning.blocks(unit, LABELS, row.alignment_a, row.alignment_b)


def compare_context(report: CompareReport) -> dict[str, Any]:
    """Return the pictures of a page, its tables, and its differing utterances: what stands open and what folds."""
    groups = sorted(report.groups, key=lambda group: -abs(group.difference))[:BARS]
    return {
        "unit": unit_of(report.unit),
        "rates": cer_charts.rates_chart(report),
        "difference": cer_charts.difference_chart(report),
        "sides": sides(report),
        "names": [side_name(report.a), side_name(report.b)],
        "statistics": statistics(report),
        "groups_chart": cer_charts.paired_bars(groups, "Rates of A and B by group"),
        "groups_drawn": len(groups),
        "identical": identical(report),
        "says_identical": says_identical(report),
        "open": OPEN,
    }
