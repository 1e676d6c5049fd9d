"""A benchmark as Markdown for a README: the machine, one line per case, one column per side, one line per side.

A pure function of the report. The short summary of a pull request is markdown.py's.
"""

from __future__ import annotations

from reports.schema.bench import BenchReport, BenchRow, BenchSide

DASH = "–"
FACTS = ("Device", "Versions", "On disk", "Peak memory, whole process", "Peak on the device", "Token ids")


def bench_table(report: BenchReport) -> str:
    """Return the tables; a peer's cell holds its median and, in brackets, the first side's as a multiple of it."""
    sides = [side for side in report.sides if any(row.side == side.name for row in report.rows)]
    if not sides:
        return "Nothing was measured.\n"
    ours = sides[0].name
    rate = f"; {sides[0].precision} matrix products: {report.matmul_gflops:.0f} GFLOP/s" if report.matmul_gflops else ""
    lines = [
        f"{report.machine}{_host(report)}{rate}. "
        f"Medians; in brackets {ours}'s time over the side's, below 1 {ours} is faster.",
        "",
        _line(["", *(side.name for side in sides), f"{ours}, times real time", "of the product rate"]),
        _line(["---"] * (len(sides) + 3)),
    ]
    cases: dict[str, dict[str, BenchRow]] = {}
    for row in report.rows:
        cases.setdefault(row.case, {})[row.side] = row
    for case, rows in cases.items():
        own = rows.get(ours)
        speed = DASH if own is None or own.speed is None else f"{own.speed:.1f}"
        share = DASH if own is None or own.matmul_fraction is None else f"{own.matmul_fraction:.0%}"
        lines.append(_line([case, *(_cell(rows.get(side.name)) for side in sides), speed, share]))
    lines += ["", _line(["Side", *FACTS]), _line(["---"] * (1 + len(FACTS)))]
    lines += [_line(_facts(side, report)) for side in report.sides if side.absent is None]
    return "\n".join([*lines, "", *(f"- {note}" for note in report.notes)]) + "\n"


def _host(report: BenchReport) -> str:
    """Return what hosts are compared by: the processor's instructions, and what an empty parallel region costs."""
    empty = "" if report.empty_us is None else f"; nothing on all threads: {report.empty_us:.1f} us"
    return (f"; {report.instructions}" if report.instructions else "") + empty


def _cell(row: BenchRow | None) -> str:
    if row is None:
        return DASH
    ratio = "" if row.ratio is None else f" ({row.ratio:.2f})"
    return (f"{row.median_s:.2f} s" if row.median_s >= 1 else f"{1e3 * row.median_s:.1f} ms") + ratio


def _facts(side: BenchSide, report: BenchReport) -> list[str]:
    rows = [row for row in report.rows if row.side == side.name]
    process = [row.peak_rss_mb for row in rows if row.stage == "cold_start"]
    device = [row.peak_device_mb for row in rows if row.peak_device_mb is not None]
    different = f"{side.tokens_different} of {side.tokens_compared} differ"
    return [
        f"{side.name}, {side.precision}",
        side.device or DASH,
        ", ".join(f"{name} {version}" for name, version in side.versions.items()),
        DASH if side.disk_mb is None else f"{side.disk_mb:.0f} MB",
        DASH if not process or process[0] is None else f"{process[0]:.0f} MB",
        f"{max(device):.0f} MB" if device else DASH,
        different if side.tokens_compared else DASH,
    ]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
