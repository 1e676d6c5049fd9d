"""What the benchmarks share: two live child processes measured in turn, noise recorded, one report and table written.

The processes, the rounds and the noise are those of `mlx-funasr bench` (parity/bench/sides.py and
parity/bench/rounds.py say why).
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too

from parity.bench import sides  # noqa: E402
from parity.bench.rounds import interleave as interleaved  # noqa: E402
from parity.bench.sides import serve, timed  # noqa: E402
from reports.environment import describe  # noqa: E402
from reports.schema import BenchReport, BenchRow, write  # noqa: E402

__all__ = ["interleaved", "serve", "timed"]  # re-exported for the scripts

SHARED = ROOT.parent / "shared"
SPEECH = SHARED / "data" / "aishell_s0150"
RUNS = ROOT / "reports" / "runs"


class Side(sides.Side):
    """The child process `script --serve NAME`, with so many threads; see parity/bench/sides.py."""

    def __init__(self, name: str, script: str, arguments: Sequence[str] = (), threads: int = 2):
        command = [sys.executable, script, "--serve", name, *arguments]
        super().__init__(name, command, sides.child_environment(threads))


def interleave(
    turns: dict[str, Callable[[], float]], rounds: int, children: Sequence[int] = ()
) -> tuple[dict[str, list[float]], str]:
    """Return each side's seconds, one per counted round, and a line on the noise; see parity/bench/rounds.py."""
    found = interleaved(turns, rounds, children)
    return found.found, found.note


def bench_rows(case: str, seconds: dict[str, list[float]], peer: str, **peaks: float) -> list[BenchRow]:
    """Return one row per side; every side but `peer` carries its median over the peer's."""
    base = statistics.median(seconds[peer])
    return [
        BenchRow(
            case=case, side=side, median_s=statistics.median(values),
            ratio=None if side == peer else statistics.median(values) / base,
            spread_s=sorted(values), peak_rss_mb=peaks.get(side),
        )
        for side, values in seconds.items()
    ]  # fmt: skip


def publish(
    name: str, rows: list[BenchRow], table: Sequence[str], out: Path | None, notes: Sequence[str], **measured: Any
) -> None:
    """Write the report (default reports/runs/NAME.json), print the README's table rows, then the notes."""
    environment = describe(load_average=os.getloadavg(), measured=measured)
    report = BenchReport(rows=rows, command=command(), notes=list(notes), environment=environment)
    path = write(report, out or RUNS / f"{name}.json")
    print("\n".join(table))
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"report: {path}", file=sys.stderr)


def command() -> str:
    """Return the command line as it can be repeated from the checkout."""
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def utterances(folder: Path = SPEECH, limit: int | None = None) -> list[Path]:
    """Return the recordings below a folder in a fixed order, evenly spread over it where fewer are asked for."""
    files = sorted(folder.rglob("*.wav"))
    if not files:
        raise SystemExit(f"no recordings below {folder}")
    if limit is None or limit >= len(files):
        return files
    return [files[index * len(files) // limit] for index in range(limit)]


def recording(seconds: float, path: Path, folder: Path = SPEECH) -> Path:
    """Write real speech of exactly that length, utterance after utterance, and return its path."""
    import numpy as np
    import soundfile

    parts, needed = [], round(seconds * 16000)
    for file in _endless(utterances(folder)):
        parts.append(soundfile.read(file, dtype="int16")[0])
        if sum(map(len, parts)) >= needed:
            break
    soundfile.write(path, np.concatenate(parts)[:needed], 16000, subtype="PCM_16")
    return path


def _endless(files: Sequence[Path]) -> Iterator[Path]:
    while True:
        yield from files


def milliseconds(values: Sequence[float]) -> str:
    """Return "median [least, most] ms" for a table."""
    low, middle, high = (1e3 * value for value in (min(values), statistics.median(values), max(values)))
    return f"{middle:.1f} [{low:.1f}, {high:.1f}] ms"
