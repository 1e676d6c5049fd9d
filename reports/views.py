"""One table: what the page, the Markdown summary and the terminal know of each kind of report.

Imports the views of every kind, and nothing else; it must not import jinja2 or rich.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from reports import cer_views, compare_views, conversion_views, meeting_views, parity_views
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

__all__ = ["VIEWS", "View", "context", "counters", "headline", "summary", "title", "view"]


class View(NamedTuple):
    """How one kind of report is shown: its name, its page, its outcome in a line, its figures, what its page needs.

    `script` is the one of ours that its page runs, "" for none: table.js sorts tables, meeting.js plays from a sentence
    on. `plays` says that its page may play recordings.
    """

    kind: str
    template: str
    summary: Callable[[Any], str]
    counters: Callable[[Any], list[fmt.Figure]]
    context: Callable[[Any], dict[str, Any]]
    script: str = ""
    plays: bool = False


VIEWS: dict[str, View] = {
    ParityReport.SCHEMA: View(
        "Parity", "parity.html.jinja", parity_views.parity_summary, parity_views.parity_counters,
        parity_views.parity_context, script="table.js",
    ),
    SelftestReport.SCHEMA: View(
        "Self-test of parity", "selftest.html.jinja", parity_views.selftest_summary, parity_views.selftest_counters,
        parity_views.selftest_context, script="table.js",
    ),
    CerReport.SCHEMA: View(
        "Error rate", "cer.html.jinja", cer_views.cer_summary, cer_views.cer_counters,
        cer_views.cer_context, script="table.js", plays=True,
    ),
    CompareReport.SCHEMA: View(
        "Paired comparison", "cer_compare.html.jinja", compare_views.compare_summary, compare_views.compare_counters,
        compare_views.compare_context, script="table.js", plays=True,
    ),
    ConversionReport.SCHEMA: View(
        "Conversion", "conversion.html.jinja", conversion_views.conversion_summary,
        conversion_views.conversion_counters, conversion_views.conversion_context,
    ),
    BenchReport.SCHEMA: View(
        "Benchmark", "bench.html.jinja", conversion_views.bench_summary, lambda _: [], conversion_views.bench_context,
    ),
    MeetingReport.SCHEMA: View(
        "Meeting", "meeting.html.jinja", meeting_views.meeting_summary, meeting_views.meeting_counters,
        meeting_views.meeting_context, script="meeting.js", plays=True,
    ),
}  # fmt: skip


def view(report: Any) -> View:
    """Return how a report is shown.

    Raises:
        TypeError: it is no report.
    """
    try:
        return VIEWS[type(report).SCHEMA]
    except (AttributeError, KeyError):
        raise TypeError(f"not a report: {type(report).__name__}") from None


def headline(report: Any) -> str:
    """Return the report's outcome in one line, the verdict first where the report has one."""
    verdict = getattr(report, "verdict", None)
    return (f"{fmt.visible(verdict).upper()}: " if verdict else "") + summary(report)


def summary(report: Any) -> str:
    """Return the report's outcome in one line without the verdict."""
    return view(report).summary(report)


def title(report: Any) -> str:
    """Return the kind of report as a title."""
    return f"{view(report).kind} report"


def counters(report: Any) -> list[fmt.Figure]:
    """Return the report's figures, in the order in which every rendering shows them."""
    return view(report).counters(report)


def context(report: Any) -> dict[str, Any]:
    """Return what a template needs beyond the report itself: figures, pictures, the order of rows."""
    shown = view(report)
    return {"counters": shown.counters(report), **shown.context(report)}
