"""What pages and tables show of how late a streaming model's text comes: figures and a picture."""

from __future__ import annotations

from reports import cer_charts
from reports import formatting as fmt
from reports.formatting import Figure
from reports.schema.cer import CerReport
from reports.schema.latency import Spread


def latency_figures(report: CerReport) -> list[Figure]:
    """Return the figures, medians first; nothing where latency was not measured."""
    found = report.latency
    if found is None:
        return []
    timed = f"{fmt.count(found.timed)} of {fmt.count(found.words)} words, from their end"
    return [
        Figure("First token", _ms(found.first_token.p50), _rest(found.first_token, "from where speech begins")),
        Figure("Emission delay", _ms(found.delay.p50), _rest(found.delay, timed)),
        Figure("Compute, a step", _ms(found.compute.p50), _rest(found.compute, "of the machine, not added")),
        Figure("Compute, first text", _ms(found.first_compute.p50), _rest(found.first_compute, "of the machine")),
    ]


def delay_picture(report: CerReport) -> list[tuple[str, str]]:
    """Return the histogram of delays under its title."""
    chart = cer_charts.bin_bars(report.delay_bins, "emission delay, ms", "Words by emission delay")
    return [("Words by emission delay", chart)] if chart else []


def _rest(spread: Spread, said: str) -> str:
    return f"90 %: {_ms(spread.p90)}, 99 %: {_ms(spread.p99)}; {said}"


def _ms(value: float | None) -> str:
    return fmt.ABSENT if value is None else f"{value:,.0f} ms" if abs(value) >= 10 else f"{value:.2f} ms"
