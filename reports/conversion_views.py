"""What pages, summaries and tables show first of a conversion and of a benchmark.

Arranges what a report says; judges nothing. Imports charts, fold, formatting and the schema; it must not import jinja2
or rich.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from reports import charts, fold
from reports import formatting as fmt
from reports.formatting import Figure
from reports.schema import BenchReport, BenchRow, ConversionReport

QUIET = 0.10  # other processes' share of the cores, above which times are said to be noisy


def conversion_summary(report: ConversionReport) -> str:
    """Return the family and the size of what was converted."""
    fate = f"{fmt.count(len(report.tensors))} tensors, {fmt.count(report.parameters)} parameters"
    return f"{fmt.visible(report.family)}: {fate}" + ("" if report.output else " (inspected, nothing written)")


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


def conversion_context(report: ConversionReport) -> dict[str, Any]:
    """Return the tensors of a conversion, repeated layers folded, dropped ones apart."""
    return {
        "operations": operations(report),
        "dropped": fold.by_pattern(row for row in report.tensors if row.target is None),
        "kept": fold.by_pattern(row for row in report.tensors if row.target is not None),
    }


def bench_summary(report: BenchReport) -> str:
    """Return how many cases and sides were timed."""
    cases = len({row.case for row in report.rows})
    return f"{fmt.count(cases)} cases, {fmt.count(len({row.side for row in report.rows}))} sides"


def bench_context(report: BenchReport) -> dict[str, Any]:
    """Return the picture of the timings, and how busy others kept the machine where that was too much."""
    busiest = max((row.noise or 0.0 for row in report.rows), default=0.0)
    return {
        "chart": charts.bars([_bar(row) for row in report.rows]) if report.rows else "",
        "noisy": f"Other processes used up to {busiest:.0%} of the cores meanwhile." if busiest > QUIET else "",
    }


def _bar(row: BenchRow) -> charts.Bar:
    low, high = (min(row.spread_s), max(row.spread_s)) if row.spread_s else (row.median_s, row.median_s)
    note = "" if row.ratio is None else f"ratio {fmt.number(row.ratio)}"
    return charts.Bar(row.case, row.side, row.median_s, low, high, note)
