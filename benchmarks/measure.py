"""What the benchmarks share: two live child processes measured in turn, noise recorded, one report and table written.

One process per side, because a BLAS loaded for MLX would take over torch's matrix products too. Each round lets every
side run once, in an order that alternates, so that both see the same machine; a side's turn starts half a second after
the other's ended, when its OpenMP threads have stopped spinning. The share of the processors that *other* processes
used is recorded with every round: torch's threads wait by spinning, so a busy neighbour slows FunASR many times more
than MLX, and a ratio measured beside one flatters us. Only quiet rounds count, where there are enough of them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too

from reports.environment import describe  # noqa: E402
from reports.schema import BenchReport, BenchRow, write  # noqa: E402

SHARED = ROOT.parent / "shared"
SPEECH = SHARED / "data" / "aishell_s0150"
RUNS = ROOT / "reports" / "runs"
SETTLE_S = 0.5
QUIET = 0.10  # other processes' share of all cores, above which a round is called noisy
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Side:
    """A child process (`script --serve NAME`) that answers one JSON line for each it is sent; a context manager."""

    def __init__(self, name: str, script: str, arguments: Sequence[str] = (), threads: int = 2):
        self.name = name
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), "MLX_ENABLE_TF32": "0"}
        self.child = subprocess.Popen(
            [sys.executable, script, "--serve", name, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the child's answer; RuntimeError where it died instead."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(json.dumps(request) + "\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"side {self.name} ended with exit code {self.child.wait()} (its error stands above)")
        return json.loads(line)

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.child.stdin is not None
        self.child.stdin.close()
        self.child.wait()


def serve(make: Callable[[], Callable[[dict[str, Any]], dict[str, Any]]]) -> int:
    """Be a `Side`: make what answers requests, and answer until stdin closes.

    FunASR prints on stdout as it pleases, when it loads too, so that goes to stderr.
    """
    with os.fdopen(os.dup(1), "w") as pipe:
        os.dup2(2, 1)
        answer = make()
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), file=pipe, flush=True)
    return 0


def timed(function: Callable[[], Any]) -> float:
    """Return the seconds one call took."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


class Noise:
    """Share of all cores that processes other than this one and its living children used since it was made."""

    def __init__(self, children: Sequence[int] = ()):
        self.children = children
        self.before = self._ticks()

    def _ticks(self) -> tuple[int, int, int] | None:
        """(all ticks, busy ticks, own ticks) so far; None where there is no /proc."""
        if not Path("/proc/stat").is_file():
            return None
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        own = int(sum(os.times()[:4]) * os.sysconf("SC_CLK_TCK"))
        for pid in self.children:
            own += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
        return sum(fields), sum(fields) - fields[3] - fields[4], own

    def share(self) -> float | None:
        """Return that share, 0 to 1, or None where the system does not tell."""
        now = self._ticks()
        if now is None or self.before is None:
            return None
        total, busy, own = (after - before for after, before in zip(now, self.before, strict=True))
        return max(0.0, (busy - own) / total) if total else 0.0


def wait_for_quiet(limit_s: float = 10.0) -> None:
    """Return when the other processes leave the machine alone for a moment, or after `limit_s` in any case."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        noise = Noise()
        time.sleep(SETTLE_S)
        share = noise.share()
        if share is None or share < QUIET:
            return


def interleave(
    turns: dict[str, Callable[[], float]], rounds: int, children: Sequence[int] = ()
) -> tuple[dict[str, list[float]], str]:
    """Return each side's seconds, one per counted round, and a line on the noise.

    Runs up to twice `rounds` rounds until `rounds` quiet ones are found; all count where they are not.
    """
    found: list[tuple[float, dict[str, float]]] = []
    order = list(turns)
    while len(found) < 2 * rounds and sum(share <= QUIET for share, _ in found) < rounds:
        wait_for_quiet()
        noise, seconds = Noise(children), {}
        for name in order:
            time.sleep(SETTLE_S)
            seconds[name] = turns[name]()
        found.append((noise.share() or 0.0, seconds))
        order.reverse()
    quiet = [entry for entry in found if entry[0] <= QUIET]
    counted = quiet if len(quiet) >= min(3, rounds) else found
    busy = statistics.median(share for share, _ in counted)
    note = f"{len(counted)} of {len(found)} rounds counted, other processes used {busy:.0%} of the cores"
    note += "" if counted is quiet else "; NOISY, too few quiet rounds"
    return {name: [seconds[name] for _, seconds in counted] for name in turns}, note


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
