"""What the page, the Markdown summary and the terminal show first: title, headline, order of rows.

Arranges what a report already says (sorting, counting rows, picking the worst); judges nothing. Imports schema, charts
and formatting; it must not import jinja2 or rich.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, NamedTuple

from reports import charts, fold, parity_charts
from reports import formatting as fmt
from reports.schema import (
    BenchReport,
    CerReport,
    CerUtterance,
    ConversionReport,
    FaultRow,
    ParityReport,
    SelftestReport,
    TapRow,
)

WORST_SHOWN = 25
ROWS_SHOWN = 10_000  # a page of more rows than this no longer opens on a phone; the JSON has them all
KINDS = {
    "parity/1": "Parity",
    "selftest/1": "Self-test of parity",
    "cer/1": "Character error rate",
    "conversion/1": "Conversion",
    "bench/1": "Benchmark",
}


class Figure(NamedTuple):
    """One figure of a report: a label, its value as text, and what it is out of or what it means."""

    label: str
    value: str
    detail: str = ""


def headline(report: Any) -> str:
    """Return the report's outcome in one line, the verdict first where the report has one."""
    judged = isinstance(report, (ParityReport, SelftestReport))
    verdict = f"{fmt.visible(report.verdict).upper()}: " if judged else ""
    return verdict + summary(report)


def summary(report: Any) -> str:
    """Return the report's outcome in one line without the verdict."""
    if isinstance(report, ParityReport):
        passed = f"{fmt.count(taps_passed(report))} of {fmt.count(len(report.taps))} taps passed"
        first = f"; first failure: {fmt.visible(report.first_failure)}" if report.first_failure else ""
        return passed + first
    if isinstance(report, SelftestReport):
        right = f"{fmt.count(report.right_address)} at the right address"
        alarms = f"{fmt.count(report.false_alarms)} false alarms"
        return f"{fmt.count(report.caught)} of {fmt.count(report.total)} seeded faults caught, {right}, {alarms}"
    if isinstance(report, CerReport):
        sure = (
            f"CER {fmt.rate(report.cer)} (95%: {fmt.interval(report.ci95)}), {fmt.count(report.utterances)} utterances"
        )
        lost = f", {fmt.count(report.missing)} missing, {fmt.count(report.failed)} failed"
        return sure + (lost if report.missing or report.failed else "")
    if isinstance(report, ConversionReport):
        fate = f"{fmt.count(len(report.tensors))} tensors, {fmt.count(report.parameters)} parameters"
        return f"{fmt.visible(report.family)}: {fate}" + ("" if report.output else " (inspected, nothing written)")
    cases = len({row.case for row in report.rows})
    return f"{fmt.count(cases)} cases, {fmt.count(len({row.side for row in report.rows}))} sides"


def title(report: Any) -> str:
    """Return the kind of report as a title."""
    return f"{KINDS[type(report).SCHEMA]} report"


def taps_passed(report: ParityReport) -> int:
    """Return how many taps have the status "pass"."""
    return sum(tap.status == "pass" for tap in report.taps)


def failures_first(taps: list[TapRow]) -> list[TapRow]:
    """Return the taps with those that did not pass first, network order kept within each half."""
    return sorted(taps, key=lambda tap: tap.status == "pass")


def parity_counters(report: ParityReport) -> list[Figure]:
    """Return the counters of the contract, each with what it is out of."""
    cif, tokens, because = report.cif, report.tokens, "explained by the noise floor"
    return [
        Figure("Taps passed", fmt.count(taps_passed(report)), f"of {fmt.count(len(report.taps))}"),
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
        Figure("Utterances", fmt.count(len(report.utterances)), f"{fmt.seconds(_audio_s(report))} of audio"),
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


def cer_counters(report: CerReport) -> list[Figure]:
    """Return every count and rate of a CER report besides the CER itself."""
    length = f"of {fmt.count(report.reference_length)} reference characters"
    counters = [
        Figure("Substitutions", fmt.count(report.substitutions), length),
        Figure("Deletions", fmt.count(report.deletions), length),
        Figure("Insertions", fmt.count(report.insertions), "beyond the reference"),
        Figure("Hits", fmt.count(report.hits), length),
        Figure("Sentence error rate", fmt.rate(report.ser), f"of {fmt.count(report.utterances)} utterances"),
        Figure("Mean utterance CER", fmt.rate(report.mean_utterance_cer), "every utterance weighs the same"),
        Figure("Missing", fmt.count(report.missing), "no hypothesis; counted as deletions"),
        Figure("Failed", fmt.count(report.failed), "an error instead of a text"),
    ]
    if report.audio_s is not None or report.wall_s is not None:
        timing = f"{fmt.seconds(report.wall_s)} for {fmt.seconds(report.audio_s)} of audio"
        counters.append(Figure("Real-time factor", fmt.number(report.rtf), timing))
    return counters


def conversion_counters(report: ConversionReport) -> list[Figure]:
    """Return the sizes of a conversion and how many tensors met which fate."""
    dropped = sum(row.target is None for row in report.tensors)
    return [
        Figure("Parameters", fmt.count(report.parameters), "in the checkpoint"),
        Figure("Converted", fmt.count(report.converted_parameters), "parameters in the MLX model"),
        Figure("Tensors", fmt.count(len(report.tensors)), f"{fmt.count(dropped)} dropped with a reason"),
    ]


def operations(report: ConversionReport) -> list[tuple[str, int]]:
    """Return each op with its number of tensors, most frequent first."""
    return Counter(row.op for row in report.tensors).most_common()


def utterance_cer(row: CerUtterance) -> float:
    """Return an utterance's error rate; insertions into an empty reference count as infinite."""
    errors, length = row.substitutions + row.deletions + row.insertions, row.substitutions + row.deletions + row.hits
    return errors / length if length else math.inf if errors else 0.0


def worst(report: CerReport) -> list[CerUtterance]:
    """Return the utterances with the highest error rate, of equal ones those with more errors first; none without."""
    rows = [row for row in report.rows if row.substitutions + row.deletions + row.insertions]
    return sorted(rows, key=lambda row: (-utterance_cer(row), -(row.substitutions + row.deletions + row.insertions)))


def context(report: Any) -> dict[str, Any]:
    """Return what a template needs beyond the report itself: its pictures and the order of its rows."""
    if isinstance(report, ParityReport):
        pictures = [(picture.utt_id, parity_charts.cif_chart(picture)) for picture in report.pictures]
        return {
            "counters": parity_counters(report),
            "charts": {
                "drift": parity_charts.drift_chart(report),
                "introduced": parity_charts.introduced_chart(report),
                "heat": parity_charts.heat_chart(report.heatmap) if report.heatmap else "",
            },
            "pictures": pictures,
            "cif_paths": cif_paths(report),
            "structure": columns(report.structure),
            "differing": [row for row in report.utterances if row.reference_text != row.candidate_text],
            "identical": [row for row in report.utterances if row.reference_text == row.candidate_text],
        }
    if isinstance(report, SelftestReport):
        return {"counters": selftest_counters(report), "faults": faults_in_order(report)}
    if isinstance(report, CerReport):
        rates = [utterance_cer(row) for row in report.rows]
        return {
            "counters": cer_counters(report),
            "chart": charts.histogram(rates, title="Utterances by character error rate") if rates else "",
            "worst": worst(report)[:WORST_SHOWN],
            "wrong": len(worst(report)),
            "lost": [row for row in report.rows if row.hypothesis is None or row.error],
            "listed": report.rows[:ROWS_SHOWN],
        }
    if isinstance(report, ConversionReport):
        return {
            "counters": conversion_counters(report),
            "operations": operations(report),
            "dropped": fold.by_pattern(row for row in report.tensors if row.target is None),
            "kept": fold.by_pattern(row for row in report.tensors if row.target is not None),
        }
    return {"chart": charts.bars([_bar(row) for row in report.rows]) if report.rows else "", "counters": []}


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


def _bar(row: Any) -> charts.Bar:
    low, high = (min(row.spread_s), max(row.spread_s)) if row.spread_s else (row.median_s, row.median_s)
    note = "" if row.ratio is None else f"ratio {fmt.number(row.ratio)}"
    return charts.Bar(row.case, row.side, row.median_s, low, high, note)


def _audio_s(report: ParityReport | BenchReport) -> float | None:
    return sum(row.duration_s for row in report.utterances) if isinstance(report, ParityReport) else None


def same_hypotheses(one: CerReport, other: CerReport) -> tuple[int, int]:
    """Return (utterances whose hypotheses are identical, utterances either report names)."""
    sides = [{row.utt_id: row.hypothesis for row in report.rows} for report in (one, other)]
    named = sides[0].keys() | sides[1].keys()
    same = sum(utt_id in sides[0] and utt_id in sides[1] and sides[0][utt_id] == sides[1][utt_id] for utt_id in named)
    return same, len(named)
