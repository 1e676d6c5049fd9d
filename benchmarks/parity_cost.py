"""What proof costs: a parity run at full size, the check of its trace without torch, the harness's self-test.

    python benchmarks/parity_cost.py [--source DIR] [--model DIR] [--seconds 5] [--utterances 3] [--faults 30]

Bars: `parity run` over three 5 s utterances at full size (every block tapped, FunASR in float64 and float32, MLX) with
`report` after it: under 180 s and 12 GB. `parity check` of a recorded trace, torch and funasr blocked: under 30 s.
Comparing a trace's utterances in one process: below 3 times plain inference, `recognize`, of the same waveforms. Thirty
faults on the demo checkpoint: under 180 s. Commands are whole processes, from start to exit; memory is that of the
process and its children together, looked at ten times a second. Exit code 1 where a command did not pass, not where a
bar is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import full_size_checkpoint
import measure
from cold_start import installed_command

BLOCKED = "raise ImportError('blocked by benchmarks/parity_cost.py: a trace is checked without it')\n"
LOOK_EVERY_S = 0.1


def tree_mb(pid: int) -> float:
    """Return the resident memory of a process and all its descendants now, in MB; 0 where there is no /proc."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6 + sum(tree_mb(int(child)) for child in children)


def whole_process(arguments: Sequence[str], **environment: str) -> tuple[float, float]:
    """Return (wall seconds, peak MB) of `mlx-funasr ARGUMENTS`, which must exit with 0."""
    start, peak = time.perf_counter(), [0.0]
    child = subprocess.Popen(
        [*installed_command(), *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, **environment}, text=True,
    )  # fmt: skip

    def look() -> None:
        while child.poll() is None:
            peak[0] = max(peak[0], tree_mb(child.pid))
            time.sleep(LOOK_EVERY_S)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    assert child.stderr is not None
    said = child.stderr.read()
    code = child.wait()
    seconds = time.perf_counter() - start
    watcher.join()
    if code:
        raise SystemExit(f"mlx-funasr {' '.join(arguments)} exited with {code}:\n{said[-2000:]}")
    return seconds, peak[0]


def without_torch(folder: Path) -> str:
    """Return a PYTHONPATH on which torch and funasr fail to import."""
    folder.mkdir()
    for name in ("torch", "funasr"):
        (folder / f"{name}.py").write_text(BLOCKED, "utf-8")
    return str(folder)


def overhead(model: Path, trace: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Return seconds of comparing all utterances of a trace, and of plain inference of the same, one per round."""
    from parity import families
    from parity.layers.check import Comparing
    from parity.taps.trace import Trace

    recorded = Trace.open(trace)
    candidate = families.candidate(model, family=recorded.meta["family"])
    waveforms = [recorded.waveform(row) for row in recorded.utterances]
    compare, plain = [], []
    for _ in range(rounds + 1):
        comparing = Comparing(recorded, candidate, pictures=0)
        reading = recorded.read()
        compare.append(measure.timed(lambda f=comparing, r=reading: [f.add(*pair, r.ahead) for pair in r]))
        plain.append(measure.timed(lambda: [candidate.model.recognize([waveform]) for waveform in waveforms]))
    return compare[1:], plain[1:]  # the first round reads the weights


def recording(model: Path, seconds: float, rounds: int) -> str:
    """Return a table row: the network with every tap recorded, against the same run without taps."""
    import numpy as np

    from mlx_model.engines import lanes
    from mlx_model.machine.blas import mx
    from parity import families

    candidate = families.candidate(model)
    frames = round(seconds / 0.06)
    feats = np.random.default_rng(0).standard_normal((1, frames, 560)).astype(np.float32)

    def without() -> None:
        with lanes.exactly(1):
            mx.eval(candidate.model(mx.array(feats), mx.array([frames])))

    found: dict[str, list[float]] = {"taps": [], "plain": []}
    for _ in range(rounds + 1):
        found["taps"].append(measure.timed(lambda: candidate.network(feats)))
        found["plain"].append(measure.timed(without))
    taps, plain = (values[1:] for values in found.values())
    ratio = statistics.median(taps) / statistics.median(plain)
    words = f"{measure.milliseconds(taps)} | {measure.milliseconds(plain)} | {ratio:.2f} | {rounds} rounds"
    return f"| every tap recorded, against no taps, {seconds:g} s | {words} |"


def full_size(options: argparse.Namespace, model: Path, scratch: Path) -> tuple[list[str], dict[str, list[float]]]:
    """Return table rows and seconds of the full-size commands."""
    audio = utterances(options, scratch)
    run, run_mb = whole_process(
        ["parity", "run", str(options.source), "--model", str(model), "--audio", *audio, "--out", str(scratch / "run")]
    )
    page, _ = whole_process(["report", str(scratch / "run")])
    whole_process(["parity", "record", str(options.source), str(scratch / "trace"), "--audio", *audio])
    check, check_mb = whole_process(
        ["parity", "check", str(model), str(scratch / "trace"), "--out", str(scratch / "check")],
        PYTHONPATH=without_torch(scratch / "blocked"),
    )
    compare, plain = overhead(model, scratch / "trace", options.rounds)
    ratio = statistics.median(compare) / statistics.median(plain)
    size = sum(file.stat().st_size for file in (scratch / "trace").iterdir()) / 1e6
    case = f"full size, {options.utterances} utterances of {options.seconds:g} s"
    table = [
        f"| {case}: `parity run` and HTML | {run + page:.0f} s, {run_mb / 1e3:.1f} GB | 180 s, 12 GB | | |",
        f"| {case}: `parity check` without torch | {check:.0f} s, {check_mb / 1e3:.1f} GB "
        f"| 30 s | | {size:.0f} MB trace |",
        f"| comparing them against plain inference | {measure.milliseconds(compare)} | {measure.milliseconds(plain)} "
        f"| {ratio:.2f} (bar 3) | {options.rounds} rounds |",
        recording(model, options.seconds, options.rounds),
    ]
    return table, {"parity run": [run], "report": [page], "parity check": [check], "comparing": compare, "plain": plain}


def utterances(options: argparse.Namespace, scratch: Path) -> list[str]:
    """Write the utterances, one stretch of real speech after the other, and return their paths."""
    import soundfile

    whole = measure.recording(options.seconds * options.utterances, scratch / "whole.wav")
    samples, rate = soundfile.read(whole, dtype="int16")
    size, paths = round(options.seconds * rate), []
    for number in range(options.utterances):
        paths.append(scratch / f"utterance{number}.wav")
        soundfile.write(paths[-1], samples[number * size : (number + 1) * size], rate, subtype="PCM_16")
    return [str(part) for part in paths]


def selftest(count: int, scratch: Path) -> tuple[str, float, bool]:
    """Return a table row, the seconds and the verdict of `count` faults, evenly chosen, on the demo checkpoint."""
    import convert
    from parity.demo import MODEL, SPEECH
    from parity.families import by_name
    from parity.layers.run import record
    from parity.layers.selftest import judge

    convert.convert(MODEL, scratch / "demo")
    trace = record(MODEL, scratch / "demo_trace", [SPEECH / "wav/test/D0001"], limit=3)
    faults = by_name("paraformer").seeded()
    chosen = [faults[index * len(faults) // count] for index in range(count)]
    report = judge(trace, scratch / "demo", faults=chosen)
    row = (
        f"| self-test, demo, 3 utterances, {count} faults | {report.seconds:.0f} s | 180 s | "
        f"| {report.caught} caught, {report.right_address} at the right address |"
    )
    return row, report.seconds, report.caught > 0


def main() -> int:
    """Measure and print the table rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=full_size_checkpoint.DEFAULT, help="FunASR directory")
    parser.add_argument("--model", type=Path, help="its conversion; made for this run when left out")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--utterances", type=int, default=3)
    parser.add_argument("--faults", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-bench-") as folder:
        scratch = Path(folder)
        full_size_checkpoint.ensure(options.source)
        model = full_size_checkpoint.ensure_converted(options.source, options.model, scratch)
        table, seconds = full_size(options, model, scratch)
        row, taken, passed = selftest(options.faults, scratch)
    rows = measure.bench_rows("what proof costs", {**seconds, "selftest": [taken]}, "plain")
    measure.publish("parity_cost", rows, [*table, row], options.out, [])
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
