"""A report on the terminal: rich tables, failures first, the verdict last (where the eye is when a command ends).

Writes to the console it is given (talk goes to stderr; stdout belongs to `--json`). Imports schema, views, fold,
formatting and tables.py, through which every text goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.text import Text

from reports import cer_terminal, cer_views, fold, meeting_views, parity_views, views
from reports import formatting as fmt
from reports.schema import (
    BenchReport,
    CerReport,
    CompareReport,
    ConversionReport,
    MeetingReport,
    ParityReport,
    SelftestReport,
)
from reports.tables import MARKS, figures, stacked, status, table, text

SENTENCES_SHOWN = 20
PASSES_SHOWN = 30  # passing taps beyond this are counted, not listed, unless asked for in full
WIDE = 76  # columns from which every number of a tap fits beside its name


def show(report: Any, console: Console, *, full: bool = False) -> None:
    """Print a report.

    Args:
        report: any of the report dataclasses.
        console: where to; narrow terminals fold words, pipes get plain text.
        full: every tensor, tap and wrong utterance instead of a folded or shortened list.

    Raises:
        TypeError: it is no report.
    """
    views.view(report)
    SHOW[type(report).SCHEMA](report, console, full)
    for note in report.notes:
        console.print(text(f"note: {note}", "dim"))
    verdict = getattr(report, "verdict", "")
    mark, style = MARKS.get(verdict, ("", "bold"))
    console.print(text(f"{mark}{views.headline(report)}", style))


def _parity(report: ParityReport, console: Console, full: bool) -> None:
    taps = parity_views.failures_first(report.taps)
    failed = len(taps) - parity_views.taps_passed(report)
    listed = taps if full else taps[: max(failed, PASSES_SHOWN)]
    numbers = ["max_abs", "rel_l2", "floor", "ratio"] if console.width >= WIDE else ["rel_l2", "ratio"]
    rows = table("tap", numbers, "status")
    for tap in listed:
        values = {
            "max_abs": fmt.tap_difference(tap.max_abs, tap.rel_l2),
            "rel_l2": fmt.error(tap.rel_l2),
            "floor": fmt.error(tap.floor_rel_l2),
            "ratio": fmt.multiple(tap.ratio),
        }
        name = stacked(parity_views.named(tap), tap.reason)
        rows.add_row(name, *(values[number] for number in numbers), status(tap.status))
    console.print(rows)
    if len(listed) < len(taps):
        console.print(text(f"and {len(taps) - len(listed)} more taps that passed", "dim"))
    for check in report.invariance:
        if check.status == "fail":
            console.print(text(f"depends on {check.name}: {check.detail}", "bold red"))
    if report.sentence:
        console.print(text(report.sentence, "bold"))
    for fact in report.structure:
        if fact.get("status") == "fail":
            told = "; ".join(f"{key} {value}" for key, value in fmt.flatten(fact))
            console.print(text(f"structure: {told}", "bold red"))
    for row in report.utterances:
        if row.reference_text != row.candidate_text:
            console.print(text(f"{row.utt_id}: texts differ", "bold"))
            console.print(text(f"  reference {row.reference_text}"))
            console.print(text(f"  candidate {row.candidate_text}"))
        if row.explanation:
            console.print(text(f"  {row.utt_id}: {row.explanation}", "dim"))
    figures(views.counters(report), console)


def _selftest(report: SelftestReport, console: Console, full: bool) -> None:
    rows = table("fault", [], "put into", "found in", "caught")
    for row in parity_views.faults_in_order(report):
        found = text(row.address or fmt.ABSENT, "" if row.right_address else "bold red")
        unseen = "" if row.visible else f"not visible here; needs {row.needs}"
        name = stacked(parity_views.named(row), row.description, unseen)
        rows.add_row(name, text(row.module), found, status("pass" if row.caught else "fail"))
    console.print(rows)
    figures(views.counters(report), console)


def _conversion(report: ConversionReport, console: Console, full: bool) -> None:
    rows = table("source", ["tensors", "shape"], "op", "dtype")
    if full:
        folds = [fold.Fold(r.source, r.target, r.op, r.shape, r.dtype, r.reason, 1) for r in report.tensors]
    else:
        folds = fold.by_layer(report.tensors)
    for row in folds:
        sizes = "various" if row.shape is None else fmt.shape(row.shape)
        target = "" if row.target in (None, row.source) else f"→ {row.target}"
        name = stacked(row.source, target, row.reason)
        rows.add_row(name, fmt.count(row.tensors), sizes, text(row.op), text(row.dtype or "various"))
    console.print(rows)
    if not full and any(row.source.endswith(".*") for row in folds):
        console.print(text(".* stands for the tensors of that part that have no line of their own", "dim"))
    figures(views.counters(report), console)


def _bench(report: BenchReport, console: Console, full: bool) -> None:
    rows = table("case", ["median", "ratio", "peak MB"], "side")
    for row in report.rows:
        numbers = [fmt.seconds(row.median_s), fmt.number(row.ratio), fmt.count(row.peak_rss_mb)]
        rows.add_row(text(row.case), *numbers, text(row.side))
    console.print(rows)
    for side in report.sides:
        if side.device:  # those that are absent have a note
            console.print(text(f"{side.name}: {side.precision}, {side.device}", "dim"))
    rate = None if report.matmul_gflops is None else f"products {report.matmul_gflops:.0f} GFLOP/s"
    empty = None if report.empty_us is None else f"nothing on all threads {report.empty_us:.1f} us"
    facts = [fact for fact in (report.machine, report.instructions, rate, empty) if fact]
    console.print(text(f"host: {'; '.join(facts)}", "dim"))
    console.print(text(f"command: {report.command}", "dim"))


def _meeting(report: MeetingReport, console: Console, full: bool) -> None:
    shown = report.sentences if full else report.sentences[:SENTENCES_SHOWN]
    for one in shown:
        speaker = "" if one.speaker is None else f" {report.speakers[one.speaker].name}:"
        console.print(text(f"{meeting_views.clock(one.start_s)}{speaker} {one.text}"))
    if len(shown) < len(report.sentences):
        console.print(text(f"and {len(report.sentences) - len(shown)} more sentences", "dim"))


SHOW: dict[str, Callable[[Any, Console, bool], None]] = {
    ParityReport.SCHEMA: _parity,
    SelftestReport.SCHEMA: _selftest,
    CerReport.SCHEMA: cer_terminal.show_cer,
    CompareReport.SCHEMA: cer_terminal.show_compare,
    ConversionReport.SCHEMA: _conversion,
    BenchReport.SCHEMA: _bench,
    MeetingReport.SCHEMA: _meeting,
}


def summary(reports: list[Any], console: Console) -> None:
    """Print one line per report and no table: what a person wants to know first of several (the demo's ending).

    Raises:
        TypeError: one of them is no report.
    """
    for line in [_line(report) for report in reports]:
        console.print(line)


def _line(report: Any) -> Text:
    words, outcome = views.headline(report), getattr(report, "verdict", "") or "pass"
    if isinstance(report, CerReport):
        words, outcome = f"{words} ({report.engine})", "fail" if cer_views.incomplete(report) else "pass"
    if isinstance(report, CompareReport):
        outcome = "pass" if report.identical == report.utterances else "fail"
        sides = f"{report.a.engine} and {report.b.engine} agree on {report.identical} of {report.utterances} texts"
        words = f"{sides}: {report.sentence}"
    mark, style = MARKS.get(outcome, MARKS["fail"])
    return text(mark + words, style)
