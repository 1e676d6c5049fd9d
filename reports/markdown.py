"""A report as a short Markdown summary: for a commit message, an issue, a README.

Pure function of the report; imports schema, views and formatting. The page (render.py) holds the whole document, this
holds the verdict, the counters and what failed. Texts are escaped: a report cannot add a link, an image or HTML.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from reports import cer_views, compare_views, conversion_views, meeting_views, parity_views, views
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

FAILURES_SHOWN = 10
WORST_SHOWN = 5
SENTENCES_SHOWN = 20


def markdown(report: Any) -> str:
    """Return the summary of a report: a heading, its headline, its counters and what deserves a look."""
    parts = [f"## {views.title(report)}", f"**{_text(views.headline(report))}**"]
    parts += PARTS[type(report).SCHEMA](report)
    if report.notes:
        parts.append("\n".join(f"- {_text(note)}" for note in report.notes))
    return "\n\n".join(parts) + "\n"


def _parity(report: ParityReport) -> list[str]:
    parts = [f"Reference: {_text(report.reference)}  \nCandidate: {_text(report.candidate)}"]
    parts += [_text(report.sentence)] if report.sentence else []
    parts.append(_figures(views.counters(report)))
    failures = [tap for tap in report.taps if tap.status != "pass"]
    if failures:
        head = ["Tap", "Status", "max abs", "rel L2", "floor", "ratio", "tolerance"]
        rows = [
            [
                parity_views.named(tap),
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
    missed = [row for row in parity_views.faults_in_order(report) if not (row.caught and row.right_address)]
    rows = [
        [parity_views.named(row), row.module, row.address or fmt.ABSENT, "yes" if row.caught else "no"]
        for row in missed
    ]
    table = [_table(["Missed or misplaced", "Put into", "Found in", "Caught"], rows)] if rows else []
    return [_figures(views.counters(report)), *table]


def _cer(report: CerReport) -> list[str]:
    unit, lost = cer_views.unit_of(report.unit), "✕ Incomplete: some utterances have no hypothesis"
    facts = [f"Dataset: {_text(report.dataset)}", f"Engine: {_text(report.engine)}, model {_text(report.model)}"]
    facts += [f"Normaliser: {_text(cer_views.normalizer_of(report))}", f"Counted in {unit.plural}"]
    if report.ci95_speakers:
        facts.append(f"95% interval over speakers: {fmt.interval(report.ci95_speakers)}")
    parts = [lost] if cer_views.incomplete(report) else []
    parts += ["  \n".join(facts), _figures(views.counters(report))]
    rows = [
        [row.utt_id, fmt.rate(cer_views.utterance_cer(row)), row.reference, row.hypothesis or fmt.ABSENT]
        for row in report.worst[:WORST_SHOWN]
    ]
    return [*parts, _table(["Worst", unit.short, "Reference", "Hypothesis"], rows)] if rows else parts


def _compare(report: CompareReport) -> list[str]:
    facts = f"Normaliser: {_text(report.normalizer)}  \nCounted in {cer_views.unit_of(report.unit).plural}"
    names = [f"{letter} {compare_views.side_name(side)}" for letter, side in (("A", report.a), ("B", report.b))]
    parts = [facts, _table(["", *map(_text, names)], compare_views.sides(report))]
    parts.append(_table(["Statistic", "Value", "What it means"], compare_views.statistics(report)))
    head = ["Differs", "Errors A, B", "Reference", "A", "B"]
    rows = [
        [
            row.utt_id,
            f"{row.errors_a}, {row.errors_b}",
            row.reference,
            fmt.ABSENT if row.hypothesis_a is None else row.hypothesis_a,
            fmt.ABSENT if row.hypothesis_b is None else row.hypothesis_b,
        ]
        for row in report.differing[:WORST_SHOWN]
    ]
    if rows:
        parts.append(_table(head, rows))
    if len(rows) < report.differing_total:
        parts.append(f"and {fmt.count(report.differing_total - len(rows))} more utterances on which they differ.")
    return parts


def _conversion(report: ConversionReport) -> list[str]:
    facts = f"Source: {_text(report.source)}  \nOutput: {_text(report.output or 'nothing written')}"
    parts = [facts, _figures(views.counters(report))]
    parts.append(
        _table(["Op", "Tensors"], [[op, fmt.count(total)] for op, total in conversion_views.operations(report)])
    )
    dropped = [[row.source, row.reason] for row in report.tensors if row.target is None]
    return [*parts, _table(["Dropped", "Reason"], dropped)] if dropped else parts


def _bench(report: BenchReport) -> list[str]:
    rows = [[row.case, row.side, fmt.seconds(row.median_s), fmt.number(row.ratio)] for row in report.rows]
    return [_table(["Case", "Side", "Median", "Ratio"], rows)]


def _meeting(report: MeetingReport) -> list[str]:
    rows = [
        [meeting_views.clock(one.start_s), "" if one.speaker is None else report.speakers[one.speaker].name, one.text]
        for one in report.sentences[:SENTENCES_SHOWN]
    ]
    more = len(report.sentences) - len(rows)
    return [_figures(views.counters(report)), _table(["Time", "Speaker", "Text"], rows)] + (
        [f"and {more} more."] if more else []
    )


PARTS: dict[str, Callable[[Any], list[str]]] = {
    ParityReport.SCHEMA: _parity,
    SelftestReport.SCHEMA: _selftest,
    CerReport.SCHEMA: _cer,
    CompareReport.SCHEMA: _compare,
    ConversionReport.SCHEMA: _conversion,
    BenchReport.SCHEMA: _bench,
    MeetingReport.SCHEMA: _meeting,
}


def _figures(counters: Iterable[fmt.Figure]) -> str:
    return _table(["", "", ""], [list(counter) for counter in counters])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(_text(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _text(value: str) -> str:
    """Return a text in which nothing is Markdown or HTML any more, nor a name that GitHub would tell of it."""
    escaped = fmt.visible(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()+!|~]|(?<!&)#)", r"\\\1", escaped.replace("@", "&#64;"))
