"""A report as a short Markdown summary: for a commit message, an issue, a README.

Pure function of the report; imports schema, views and formatting. The page (render.py) holds the whole document, this
holds the verdict, the counters and what failed. Texts are escaped: a report cannot add a link, an image or HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from reports import formatting as fmt
from reports import views
from reports.schema import CerReport, ConversionReport, ParityReport, SelftestReport

FAILURES_SHOWN = 10
WORST_SHOWN = 5


def markdown(report: Any) -> str:
    """Return the summary of a report: a heading, its headline, its counters and what deserves a look."""
    parts = [f"## {views.title(report)}", f"**{_text(views.headline(report))}**"]
    if isinstance(report, ParityReport):
        parts += _parity(report)
    elif isinstance(report, SelftestReport):
        parts += _selftest(report)
    elif isinstance(report, CerReport):
        parts += _cer(report)
    elif isinstance(report, ConversionReport):
        parts += _conversion(report)
    else:
        rows = [[row.case, row.side, fmt.seconds(row.median_s), fmt.number(row.ratio)] for row in report.rows]
        parts.append(_table(["Case", "Side", "Median", "Ratio"], rows))
    if report.notes:
        parts.append("\n".join(f"- {_text(note)}" for note in report.notes))
    return "\n\n".join(parts) + "\n"


def _parity(report: ParityReport) -> list[str]:
    parts = [f"Reference: {_text(report.reference)}  \nCandidate: {_text(report.candidate)}"]
    parts += [_text(report.sentence)] if report.sentence else []
    parts.append(_figures(views.parity_counters(report)))
    failures = [tap for tap in report.taps if tap.status != "pass"]
    if failures:
        head = ["Tap", "Status", "max abs", "rel L2", "floor", "ratio", "tolerance"]
        rows = [
            [
                tap.name,
                tap.status,
                fmt.tap_difference(tap.max_abs, tap.rel_l2),
                fmt.error(tap.rel_l2),
                fmt.error(tap.floor_rel_l2),
                fmt.multiple(tap.ratio),
                fmt.multiple(tap.tolerance_ratio),
            ]
            for tap in failures[:FAILURES_SHOWN]
        ]
        parts.append(_table(head, rows))
        if len(failures) > FAILURES_SHOWN:
            parts.append(f"and {len(failures) - FAILURES_SHOWN} more.")
    return parts


def _selftest(report: SelftestReport) -> list[str]:
    missed = [row for row in views.faults_in_order(report) if not (row.caught and row.right_address)]
    rows = [[row.name, row.module, row.address or fmt.ABSENT, "yes" if row.caught else "no"] for row in missed]
    table = [_table(["Missed or misplaced", "Put into", "Found in", "Caught"], rows)] if rows else []
    return [_figures(views.selftest_counters(report)), *table]


def _cer(report: CerReport) -> list[str]:
    facts = f"Dataset: {_text(report.dataset)}  \nEngine: {_text(report.engine)}, model {_text(report.model)}  \n"
    parts = [f"{facts}Normaliser: {_text(report.normalizer)}", _figures(views.cer_counters(report))]
    rows = [
        [row.utt_id, fmt.rate(views.utterance_cer(row)), row.reference, row.hypothesis or fmt.ABSENT]
        for row in views.worst(report)[:WORST_SHOWN]
    ]
    return [*parts, _table(["Worst", "CER", "Reference", "Hypothesis"], rows)] if rows else parts


def _conversion(report: ConversionReport) -> list[str]:
    facts = f"Source: {_text(report.source)}  \nOutput: {_text(report.output or 'nothing written')}"
    parts = [facts, _figures(views.conversion_counters(report))]
    parts.append(_table(["Op", "Tensors"], [[op, fmt.count(total)] for op, total in views.operations(report)]))
    dropped = [[row.source, row.reason] for row in report.tensors if row.target is None]
    return [*parts, _table(["Dropped", "Reason"], dropped)] if dropped else parts


def _figures(counters: Iterable[views.Figure]) -> str:
    return _table(["", "", ""], [list(counter) for counter in counters])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(_text(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _text(value: str) -> str:
    """Return a text in which nothing is Markdown or HTML any more."""
    escaped = fmt.visible(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", escaped)
