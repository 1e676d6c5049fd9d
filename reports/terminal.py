"""A report on the terminal: rich tables, failures first, the verdict last (where the eye is when a command ends).

Writes to the console it is given (talk goes to stderr; stdout belongs to `--json`). Imports schema, views, fold and
formatting. Every text is shown through Text objects, never as rich markup, and with control characters made visible, so
that a hostile text can neither colour, link nor move the cursor.
"""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports import fold, views
from reports import formatting as fmt
from reports.schema import BenchReport, CerReport, CerUtterance, ConversionReport, ParityReport, SelftestReport

PASSES_SHOWN = 30  # passing taps beyond this are counted, not listed, unless asked for in full
WORST_SHOWN = 10
WIDE = 76  # columns from which every number of a tap fits beside its name
MARKS = {"pass": ("✓ ", "green"), "fail": ("✕ ", "bold red")}


def show(report: Any, console: Console, *, full: bool = False) -> None:
    """Print a report.

    Args:
        report: any of the report dataclasses.
        console: where to; narrow terminals fold words, pipes get plain text.
        full: every tensor, tap and wrong utterance instead of a folded or shortened list.

    Raises:
        TypeError: it is no report.
    """
    if isinstance(report, ParityReport):
        _parity(report, console, full)
    elif isinstance(report, SelftestReport):
        _selftest(report, console)
    elif isinstance(report, CerReport):
        _cer(report, console, full)
    elif isinstance(report, ConversionReport):
        _conversion(report, console, full)
    elif isinstance(report, BenchReport):
        _bench(report, console)
    else:
        raise TypeError(f"not a report: {type(report).__name__}")
    for note in report.notes:
        console.print(_text(f"note: {note}", "dim"))
    verdict = getattr(report, "verdict", "")
    mark, style = MARKS.get(verdict, ("", "bold"))
    console.print(_text(f"{mark}{views.headline(report)}", style))


def _parity(report: ParityReport, console: Console, full: bool) -> None:
    taps = views.failures_first(report.taps)
    failed = len(taps) - views.taps_passed(report)
    listed = taps if full else taps[: max(failed, PASSES_SHOWN)]
    numbers = ["max_abs", "rel_l2", "floor", "ratio"] if console.width >= WIDE else ["rel_l2", "ratio"]
    table = _table("tap", numbers, "status")
    for tap in listed:
        values = {
            "max_abs": fmt.tap_difference(tap.max_abs, tap.rel_l2),
            "rel_l2": fmt.error(tap.rel_l2),
            "floor": fmt.error(tap.floor_rel_l2),
            "ratio": fmt.multiple(tap.ratio),
        }
        table.add_row(_stacked(tap.name, tap.reason), *(values[name] for name in numbers), _status(tap.status))
    console.print(table)
    if len(listed) < len(taps):
        console.print(_text(f"and {len(taps) - len(listed)} more taps that passed", "dim"))
    for check in report.invariance:
        if check.status == "fail":
            console.print(_text(f"depends on {check.name}: {check.detail}", "bold red"))
    if report.sentence:
        console.print(_text(report.sentence, "bold"))
    for fact in report.structure:
        if fact.get("status") == "fail":
            told = "; ".join(f"{key} {value}" for key, value in fmt.flatten(fact))
            console.print(_text(f"structure: {told}", "bold red"))
    for row in report.utterances:
        if row.reference_text != row.candidate_text:
            console.print(_text(f"{row.utt_id}: texts differ", "bold"))
            console.print(_text(f"  reference {row.reference_text}"))
            console.print(_text(f"  candidate {row.candidate_text}"))
        if row.explanation:
            console.print(_text(f"  {row.utt_id}: {row.explanation}", "dim"))
    _figures(views.parity_counters(report), console)


def _selftest(report: SelftestReport, console: Console) -> None:
    table = _table("fault", [], "put into", "found in", "caught")
    for row in views.faults_in_order(report):
        found = _text(row.address or fmt.ABSENT, "" if row.right_address else "bold red")
        name = _stacked(row.name, row.description, "" if row.visible else f"not visible here; needs {row.needs}")
        table.add_row(name, _text(row.module), found, _status("pass" if row.caught else "fail"))
    console.print(table)
    _figures(views.selftest_counters(report), console)


def _cer(report: CerReport, console: Console, full: bool) -> None:
    worst = views.worst(report)
    for row in worst if full else worst[:WORST_SHOWN]:
        console.print(_text(f"{row.utt_id}  CER {fmt.rate(views.utterance_cer(row))}{_because(row)}", "bold"))
        for label, place in (("ref", 0), ("hyp", 1)):
            console.print(Text(f"  {label} ").append_text(_side(row, place)))
    if len(worst) > WORST_SHOWN and not full:
        console.print(_text(f"and {len(worst) - WORST_SHOWN} more utterances with errors", "dim"))
    _figures(views.cer_counters(report), console)
    for label, value in (("dataset", report.dataset), ("engine", report.engine), ("model", report.model)):
        console.print(_text(f"{label}: {value}", "dim"))
    steps = ", ".join(report.normalizer_steps) or "no steps"
    console.print(_text(f"normaliser: {report.normalizer} ({steps})", "dim"))


def _conversion(report: ConversionReport, console: Console, full: bool) -> None:
    table = _table("source", ["tensors", "shape"], "op", "dtype")
    if full:
        folds = [fold.Fold(r.source, r.target, r.op, r.shape, r.dtype, r.reason, 1) for r in report.tensors]
    else:
        folds = fold.by_layer(report.tensors)
    for row in folds:
        sizes = "various" if row.shape is None else fmt.shape(row.shape)
        target = "" if row.target in (None, row.source) else f"→ {row.target}"
        name = _stacked(row.source, target, row.reason)
        table.add_row(name, fmt.count(row.tensors), sizes, _text(row.op), _text(row.dtype or "various"))
    console.print(table)
    if not full and any(row.source.endswith(".*") for row in folds):
        console.print(_text(".* stands for the tensors of that part that have no line of their own", "dim"))
    _figures(views.conversion_counters(report), console)


def _bench(report: BenchReport, console: Console) -> None:
    table = _table("case", ["median", "ratio", "peak MB"], "side")
    for row in report.rows:
        numbers = [fmt.seconds(row.median_s), fmt.number(row.ratio), fmt.count(row.peak_rss_mb)]
        table.add_row(_text(row.case), *numbers, _text(row.side))
    console.print(table)
    console.print(_text(f"command: {report.command}", "dim"))


def _table(first: str, numbers: list[str], *texts: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")
    table.add_column(first, overflow="fold", min_width=12)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    for name in texts:
        table.add_column(name, overflow="fold")
    return table


def _stacked(name: str, *details: str) -> Text:
    """Return a name with its details on lines of their own: a reason beside it would squeeze the numbers."""
    lines = [_text(name), *(_text(f"  {detail}", "dim") for detail in details if detail)]
    return Text("\n").join(lines)


def _figures(counters: list[views.Figure], console: Console) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold", style="dim")
    for counter in counters:
        table.add_row(*map(_text, counter))
    console.print(table)


def _status(status: str) -> Text:
    mark, style = MARKS.get(status, ("", "yellow"))
    return _text(mark + status, style)


def _because(row: CerUtterance) -> str:
    if row.error:
        return f"  failed: {row.error}"
    return "  no hypothesis" if row.hypothesis is None else ""


def _side(row: CerUtterance, place: int) -> Text:
    """Return one side of an alignment; errors are bracketed, so that they show without colour: [S剩] [D的] [I很]."""
    if not row.alignment:
        return _text((row.reference, row.hypothesis)[place] or fmt.ABSENT)
    line = Text()
    for pair in row.alignment:
        op, part = fmt.operation(pair), pair[place]
        shown = "" if part is None else part
        line.append_text(_text(f"[{op}{shown}]", "bold red") if op else _text(shown))
    return line


def _text(value: str, style: str = "") -> Text:
    return Text(fmt.visible(value), style=style)


def summary(reports: list[Any], console: Console) -> None:
    """Print one line per report and no table: what a person wants to know first of several (the demo's ending).

    Raises:
        TypeError: one of them is no report.
    """
    for report in reports:
        if not isinstance(report, (ParityReport, SelftestReport, CerReport, ConversionReport, BenchReport)):
            raise TypeError(f"not a report: {type(report).__name__}")
        mark, style = MARKS.get(getattr(report, "verdict", "pass"), MARKS["pass"])
        side = f" ({report.engine})" if isinstance(report, CerReport) else ""
        console.print(_text(f"{mark}{views.headline(report)}{side}", style))
    scored = [report for report in reports if isinstance(report, CerReport)]
    if len(scored) == 2:
        same, total = views.same_hypotheses(*scored)
        mark, style = MARKS["pass" if same == total else "fail"]
        console.print(_text(f"{mark}{scored[0].engine} and {scored[1].engine} agree on {same} of {total} texts", style))
