"""Error rates and their comparison on the terminal: what is wrong first, the figures, how it was scored.

Writes to the console it is given. Imports schema, views and tables.py, through which every text goes.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from reports import cer_views, compare_views, latency_views
from reports import formatting as fmt
from reports.schema.cer import CerDivision, CerReport, CerUtterance, CompareReport, DifferingUtterance
from reports.schema.hotwords import HotwordCounts
from reports.tables import figures, table, text

SHOWN = 10  # utterances, unless asked for in full
GROUPS = 8  # of the first division; asked for in full, all groups of all of them
CONFUSED = 8  # of each kind, on one line
WIDE = 76  # columns from which every number of a group fits beside its name


def show_cer(report: CerReport, console: Console, full: bool) -> None:
    """Print the worst utterances, failures, groups, confusions and figures of an error rate report."""
    _worst(report, console, full)
    for failure in report.failures if full else report.failures[:SHOWN]:
        console.print(text(f"failed: {failure.utt_id}: {failure.error}", "bold red"))
    for division in report.divisions if full else report.divisions[:1]:
        _division(division, report.unit, console, full)
    for kind in cer_views.confused(report):
        pairs = ", ".join(f"{_confusion(row.reference, row.hypothesis)} ×{row.count}" for row in kind.first[:CONFUSED])
        if pairs:
            console.print(text(f"{kind.title.lower()} most often: {pairs}"))
    figures(cer_views.cer_counters(report), console)
    figures(cer_views.hotword_figures(report), console)
    figures(latency_views.latency_figures(report), console)
    for title, rows in cer_views.hotword_lists(report):
        told = ", ".join(f"{row.hotword} ×{_wrong(row, title)}" for row in rows[:CONFUSED])
        console.print(text(f"hotwords {title.lower()}: {told}"))
    facts = [
        ("dataset", report.dataset),
        ("engine", report.engine),
        ("model", report.model),
        ("model sha256", report.model_sha256),
        ("data sha256", report.data_sha256),
        ("normaliser", f"{cer_views.normalizer_of(report)} ({', '.join(report.normalizer_steps) or 'no steps'})"),
        ("unit", cer_views.unit_of(report.unit).plural),
        ("95% over speakers", fmt.interval(report.ci95_speakers) if report.ci95_speakers else None),
    ]
    for note in report.dataset_notes:
        facts.append(("data", note))
    for label, value in facts:
        if value is not None:
            console.print(text(f"{label}: {value}", "dim"))


def _worst(report: CerReport, console: Console, full: bool) -> None:
    short = cer_views.unit_of(report.unit).short
    for row in report.worst if full else report.worst[:SHOWN]:
        why = cer_views.because(row)
        rate = fmt.rate(cer_views.utterance_cer(row))
        console.print(text(f"{row.utt_id}  {short} {rate}{f'  {why}' if why else ''}", "bold"))
        for label, place in (("ref", 0), ("hyp", 1))[: 1 if row.hypothesis is None else 2]:
            console.print(Text(f"  {label} ").append_text(_line(row, place, report.unit)))
    if len(report.worst) > SHOWN and not full:
        console.print(text(f"and {len(report.worst) - SHOWN} more utterances with errors", "dim"))


def _division(division: CerDivision, unit: str, console: Console, full: bool) -> None:
    groups = division.groups if full else cer_views.drawn(division)[:GROUPS]
    if len(division.groups) < 2:
        return
    numbers = ["n", cer_views.unit_of(unit).short, *(("S", "D", "I", "SER") if console.width >= WIDE else ())]
    rows = table(cer_views.division_title(division.name, unit), numbers)
    for group in groups:
        values = [fmt.count(group.utterances), fmt.rate(group.cer), fmt.count(group.substitutions)]
        values += [fmt.count(group.deletions), fmt.count(group.insertions), fmt.rate(group.ser)]
        rows.add_row(text(group.name), *values[: len(numbers)])
    console.print(rows)
    if len(groups) < len(division.groups):
        console.print(text(f"and {len(division.groups) - len(groups)} more groups", "dim"))


def _wrong(row: HotwordCounts, title: str) -> int:
    return row.reference - row.found if title.startswith("Missed") else row.hypothesis - row.right


def _confusion(reference: str | None, hypothesis: str | None) -> str:
    return " → ".join(fmt.unit(side) for side in (reference, hypothesis) if side is not None)


def show_compare(report: CompareReport, console: Console, full: bool) -> None:
    """Print where two runs differ, both sides, and every paired statistic with what it means."""
    for row in report.differing if full else report.differing[:SHOWN]:
        _differing(row, report.unit, console)
    listed = len(report.differing) if full else min(len(report.differing), SHOWN)
    if listed < report.differing_total:
        console.print(text(f"and {report.differing_total - listed} more utterances on which they differ", "dim"))
    rows = table("", [], f"A {compare_views.side_name(report.a)}", f"B {compare_views.side_name(report.b)}")
    for label, one, other in compare_views.sides(report):
        rows.add_row(label, text(one), text(other))
    console.print(rows)
    figures(compare_views.compare_counters(report), console)
    figures(compare_views.statistics(report), console)
    console.print(text(f"normaliser: {report.normalizer}", "dim"))
    console.print(text(f"unit: {cer_views.unit_of(report.unit).plural}", "dim"))


def _differing(row: DifferingUtterance, unit: str, console: Console) -> None:
    console.print(text(f"{row.utt_id}  errors {row.errors_a} in A, {row.errors_b} in B", "bold"))
    console.print(Text("  ref ").append_text(text(row.reference)))
    for label, hypothesis, alignment in (
        ("A", row.hypothesis_a, row.alignment_a), ("B", row.hypothesis_b, row.alignment_b)
    ):  # fmt: skip
        said = text("no hypothesis", "bold red") if hypothesis is None else marked(alignment, 1, unit)
        console.print(Text(f"  {label}   ").append_text(said))
    if row.margin:
        console.print(text(f"  margin: {row.margin}", "dim"))


def _line(row: CerUtterance, place: int, unit: str) -> Text:
    if row.hypothesis is None or not row.alignment:
        return text((row.reference, row.hypothesis)[place] or fmt.ABSENT)
    return marked(row.alignment, place, unit)


def marked(alignment: Sequence[fmt.Pair], place: int, unit: str) -> Text:
    """Return one side of an alignment; errors are bracketed, so that they show without colour: [S剩] [D的] [I很]."""
    pieces = []
    for pair in alignment:
        op, part = fmt.operation(pair), pair[place]
        pieces.append(text(f"[{op}{'' if part is None else fmt.unit(part)}]", "bold red") if op else text(part or ""))
    return Text("" if unit == "char" else " ").join(pieces)
