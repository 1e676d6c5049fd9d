"""What pages, summaries and tables show first of a parity report and of its self-test.

Arranges what a report says (sorting, counting rows); judges nothing. Imports charts, formatting and the schema; it must
not import jinja2 or rich.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from reports import formatting as fmt
from reports import parity_charts
from reports.formatting import Figure
from reports.schema.parity import PLAIN, FaultRow, Outcome, ParityReport, SelftestReport, TapRow, UtteranceRow


def parity_summary(report: ParityReport) -> str:
    """Return how many taps passed, and the first that did not."""
    passed = f"{fmt.count(taps_passed(report))} of {fmt.count(len(report.taps))} taps passed"
    engine = "" if report.engine == PLAIN else f" ({fmt.visible(report.engine)})"
    first = f"; first failure: {fmt.visible(report.first_failure)}{engine}" if report.first_failure else ""
    return passed + first


def selftest_summary(report: SelftestReport) -> str:
    """Return how many faults were caught, and where they were found."""
    right = f"{fmt.count(report.right_address)} at the right address"
    alarms = f"{fmt.count(report.false_alarms)} false alarms"
    return f"{fmt.count(report.caught)} of {fmt.count(report.total)} seeded faults caught, {right}, {alarms}"


def taps_passed(report: ParityReport) -> int:
    """Return how many taps have the status "pass"."""
    return sum(tap.status == "pass" for tap in report.taps)


def named(row: TapRow | FaultRow) -> str:
    """Return a row's name, with the engine that computed where that was not MLX itself."""
    return row.name if row.engine == PLAIN else f"{row.name} ({row.engine})"


def failures_first(taps: list[TapRow]) -> list[TapRow]:
    """Return the taps with those that did not pass first, network order kept within each half."""
    return sorted(taps, key=lambda tap: tap.status == "pass")


def parity_counters(report: ParityReport) -> list[Figure]:
    """Return how many taps passed and how many decisions of each kind differ, each with what it is out of."""
    audio_s = sum(row.duration_s for row in report.utterances)
    heard = f"{fmt.seconds(audio_s)} of audio" if audio_s or not report.utterances else ""
    return [
        Figure("Taps passed", fmt.count(taps_passed(report)), f"of {fmt.count(len(report.taps))}"),
        *(_outcome_figure(plural(report, kind), counts) for kind, counts in report.outcomes.items()),
        Figure(called(report, "utterance").capitalize(), fmt.count(len(report.utterances)), heard),
    ]


def _outcome_figure(name: str, counts: Outcome) -> Figure:
    of = "" if counts.compared is None else f"of {fmt.count(counts.compared)}; "
    explained = f"{fmt.count(counts.explained)} explained by rounding"
    return Figure(f"{fmt.visible(name).capitalize()} that differ", fmt.count(counts.differ), f"{of}{explained}")


def plural(report: ParityReport, kind: str) -> str:
    """Return what many of a kind of decision are called, in the report's own words."""
    return report.words.get(kind, kind)


def called(report: ParityReport, thing: str) -> str:
    """Return what many of an "utterance" or a "frame" are called in a report of texts, else "utterances", "frames"."""
    return report.words.get(thing, f"{thing}s")


def selftest_counters(report: SelftestReport) -> list[Figure]:
    """Return what the self-test counts."""
    return [
        Figure("Faults caught", fmt.count(report.caught), f"of {fmt.count(report.total)} seeded one by one"),
        Figure("Right address", fmt.count(report.right_address), "the guilty module named"),
        Figure("False alarms", fmt.count(report.false_alarms), f"of {fmt.count(len(report.healthy))} healthy models"),
        Figure("Time", fmt.seconds(report.seconds), f"{fmt.count(len(report.utterances))} utterances"),
    ]


def faults_in_order(report: SelftestReport) -> list[FaultRow]:
    """Return the faults with those that were missed or misplaced first."""
    return sorted(report.faults, key=lambda row: row.caught + row.right_address)


def parity_context(report: ParityReport) -> dict[str, Any]:
    """Return the pictures of a parity page and its utterances in two halves."""
    return {
        "charts": {
            "drift": parity_charts.drift_chart(report),
            "introduced": parity_charts.introduced_charts(report),
            "heat": parity_charts.heat_chart(report.heatmap, called(report, "frame")) if report.heatmap else "",
        },
        "engines": engines(report),
        "plain": PLAIN,
        "firings": [(picture.utt_id, parity_charts.firing_chart(picture)) for picture in report.pictures.firing],
        "paths": paths(report),
        "structure": columns(report.structure),
        "texts": plural(report, "text"),
        "utterances": called(report, "utterance"),
        "frames": called(report, "frame"),
        "timed": any(row.duration_s for row in report.utterances) or not report.utterances,
        "found": _kinds(report, lambda row: row.found),
        "differs": _kinds(report, lambda row: row.outcomes),
        "differing": [row for row in report.utterances if row.reference_text != row.candidate_text],
        "identical": [row for row in report.utterances if row.reference_text == row.candidate_text],
    }


def engines(report: ParityReport) -> list[str]:
    """Return what computed the candidate's side of the taps, in the order of the rows."""
    return list(dict.fromkeys(row.engine for row in report.taps))


def _kinds(report: ParityReport, of: Callable[[UtteranceRow], Iterable[str]]) -> list[tuple[str, str]]:
    """Return (kind, what many are called) of all kinds that the utterances' rows have."""
    kinds = dict.fromkeys(kind for row in report.utterances for kind in of(row))
    return [(kind, plural(report, kind)) for kind in kinds]


def selftest_context(report: SelftestReport) -> dict[str, Any]:
    """Return the faults in the order in which the page lists them."""
    return {"faults": faults_in_order(report)}


def paths(report: ParityReport) -> dict[tuple[str, str], list[tuple[str, int, int, float | None, list[str]]]]:
    """Return the reference's own code paths, {(computation, what many of what it decides are called): rows}.

    A row is (path, utterances, decisions that differ, largest difference, what it said).
    """
    tables: dict[tuple[str, str], list[tuple[str, int, int, float | None, list[str]]]] = {}
    for computation, kind, path in dict.fromkeys((row.computation, row.kind, row.path) for row in report.paths):
        own = [row for row in report.paths if (row.computation, row.kind, row.path) == (computation, kind, path)]
        largest = max((row.max_abs for row in own if row.max_abs is not None), default=None)
        notes = [f"{row.utt_id}: {row.note}" for row in own if row.note]
        row = (path, len(own), sum(row.differ for row in own), largest, notes)
        tables.setdefault((computation, plural(report, kind)), []).append(row)
    return tables


def columns(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return free-form rows as a table: every key that occurs, and each row's values as text."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    return names, [[fmt.plain(row.get(name)) for name in names] for row in rows]
