"""What pages, summaries and tables show first of a parity report and of its self-test.

Arranges what a report says (sorting, counting rows); judges nothing. Imports charts, formatting and the schema; it must
not import jinja2 or rich.
"""

from __future__ import annotations

from typing import Any

from reports import formatting as fmt
from reports import parity_charts
from reports.formatting import Figure
from reports.parity_schema import FaultRow, ParityReport, SelftestReport, TapRow

WORDS = ("texts", "tokens", "firing mismatches", "flipped tokens")  # of the utterances' columns, for tokens and text


def parity_summary(report: ParityReport) -> str:
    """Return how many taps passed, and the first that did not."""
    passed = f"{fmt.count(taps_passed(report))} of {fmt.count(len(report.taps))} taps passed"
    first = f"; first failure: {fmt.visible(report.first_failure)}" if report.first_failure else ""
    return passed + first


def selftest_summary(report: SelftestReport) -> str:
    """Return how many faults were caught, and where they were found."""
    right = f"{fmt.count(report.right_address)} at the right address"
    alarms = f"{fmt.count(report.false_alarms)} false alarms"
    return f"{fmt.count(report.caught)} of {fmt.count(report.total)} seeded faults caught, {right}, {alarms}"


def taps_passed(report: ParityReport) -> int:
    """Return how many taps have the status "pass"."""
    return sum(tap.status == "pass" for tap in report.taps)


def failures_first(taps: list[TapRow]) -> list[TapRow]:
    """Return the taps with those that did not pass first, network order kept within each half."""
    return sorted(taps, key=lambda tap: tap.status == "pass")


def parity_counters(report: ParityReport) -> list[Figure]:
    """Return the counters of the contract, or of the family's own outcomes, each with what it is out of."""
    if report.outcomes:
        return [_taps_figure(report), *_outcome_figures(report), _audio_figure(report)]
    cif, tokens, because = report.cif, report.tokens, "explained by the noise floor"
    return [
        _taps_figure(report),
        Figure(
            "Firing mismatches",
            fmt.count(cif.get("firing_mismatches")),
            f"{fmt.count(cif.get('explained'))} {because}; {fmt.count(cif.get('utterances'))} utterances",
        ),
        Figure(
            "Tokens flipped",
            fmt.count(tokens.get("flipped")),
            f"{fmt.count(tokens.get('explained'))} {because}; {fmt.count(tokens.get('compared'))} compared",
        ),
        _audio_figure(report),
    ]


def _taps_figure(report: ParityReport) -> Figure:
    return Figure("Taps passed", fmt.count(taps_passed(report)), f"of {fmt.count(len(report.taps))}")


def _audio_figure(report: ParityReport) -> Figure:
    audio_s = sum(row.duration_s for row in report.utterances)
    return Figure("Utterances", fmt.count(len(report.utterances)), f"{fmt.seconds(audio_s)} of audio")


def _outcome_figures(report: ParityReport) -> list[Figure]:
    """Return how many of each outcome differ, with how many were compared and how many rounding explains."""
    return [
        Figure(
            f"{fmt.visible(name).capitalize()} that differ",
            fmt.count(counts.get("differ")),
            f"of {fmt.count(counts.get('compared'))}; {fmt.count(counts.get('explained'))} explained by rounding",
        )
        for name, counts in report.outcomes.items()
    ]


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
            "introduced": parity_charts.introduced_chart(report),
            "heat": parity_charts.heat_chart(report.heatmap) if report.heatmap else "",
        },
        "pictures": [(picture.utt_id, parity_charts.cif_chart(picture)) for picture in report.pictures],
        "cif_paths": cif_paths(report),
        "structure": columns(report.structure),
        "words": {word: report.words.get(word, word) for word in WORDS},
        "differing": [row for row in report.utterances if row.reference_text != row.candidate_text],
        "identical": [row for row in report.utterances if row.reference_text == row.candidate_text],
    }


def selftest_context(report: SelftestReport) -> dict[str, Any]:
    """Return the faults in the order in which the page lists them."""
    return {"faults": faults_in_order(report)}


def cif_paths(report: ParityReport) -> list[tuple[str, int, int, float | None, list[str]]]:
    """Return (path, utterances, firings that differ, largest difference, what it said) of FunASR's own CIF paths."""
    rows = []
    for path in dict.fromkeys(row.path for row in report.cif_paths):
        own = [row for row in report.cif_paths if row.path == path]
        largest = max((row.max_abs for row in own if row.max_abs is not None), default=None)
        notes = [f"{row.utt_id}: {row.note}" for row in own if row.note]
        rows.append((path, len(own), sum(row.firings_differ for row in own), largest, notes))
    return rows


def columns(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return free-form rows as a table: every key that occurs, and each row's values as text."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    return names, [[fmt.plain(row.get(name)) for name in names] for row in rows]
