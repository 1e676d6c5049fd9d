"""Whole process, one 10 s file, full size: `transcribe` against a FunASR AutoModel script; wall time, peak memory.

    python benchmarks/cold_start.py [--source DIR] [--model DIR] [--seconds 10] [--rounds 5]

Bar: at most 1/3 of FunASR's wall time and 1/2 of its peak memory. Each run is a new process, from its start to its
exit, with everything a user pays for: interpreter, imports, loading, front end, network, text. Peak memory is the
child's ru_maxrss from wait4. The FunASR script is the shortest one from its documentation. Runs alternate; both texts
are compared (exit code 1 where they differ), the bars are printed, not asserted. The page cache is warm for both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import full_size_checkpoint
import measure

SCRIPT = """\
import sys
from funasr import AutoModel

model = AutoModel(model=sys.argv[1], device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR")
print("text:", model.generate(input=sys.argv[2])[0]["text"])
"""
TIME_BAR, MEMORY_BAR = 1 / 3, 1 / 2


class Command:
    """A command line that is run as a new process each time; remembers peak memory and the text it printed."""

    def __init__(self, arguments: list[str], log: Path):
        self.arguments, self.log = arguments, log
        self.peaks_mb: list[float] = []
        self.text = ""

    def run(self) -> float:
        """Return the wall seconds of one whole process."""
        start = time.perf_counter()
        with self.log.open("wb") as stderr:
            child = subprocess.Popen(self.arguments, stdout=subprocess.PIPE, stderr=stderr, cwd=measure.ROOT)
            assert child.stdout is not None
            printed = child.stdout.read().decode()
            _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"{' '.join(self.arguments)} failed:\n{self.log.read_text('utf-8', 'replace')[-2000:]}")
        self.peaks_mb.append(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6)
        self.text = printed.strip().splitlines()[-1].removeprefix("text:").strip()
        return seconds


def installed_command() -> list[str]:
    """Return the installed `mlx-funasr` beside this interpreter, or the checkout's mlx_funasr.py."""
    script = Path(sys.executable).with_name("mlx-funasr")
    return [str(script)] if script.is_file() else [sys.executable, str(measure.ROOT / "mlx_funasr.py")]


def commands(source: Path, model: Path, audio: Path, scratch: Path) -> dict[str, Command]:
    """Return both sides' command lines."""
    script = scratch / "transcribe_with_funasr.py"
    script.write_text(SCRIPT, "utf-8")
    return {
        "mlx": Command([*installed_command(), "transcribe", str(model), str(audio)], scratch / "mlx.log"),
        "funasr": Command([sys.executable, str(script), str(source), str(audio)], scratch / "funasr.log"),
    }


def main() -> int:
    """Measure and print the table rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=full_size_checkpoint.DEFAULT, help="FunASR directory")
    parser.add_argument("--model", type=Path, help="its conversion; made for this run when left out")
    parser.add_argument("--audio", type=Path, default=measure.SPEECH, help="folder of recordings")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-bench-") as folder:
        scratch = Path(folder)
        full_size_checkpoint.ensure(options.source)
        model = full_size_checkpoint.ensure_converted(options.source, options.model, scratch)
        audio = measure.recording(options.seconds, scratch / "speech.wav", options.audio)
        sides = commands(options.source, model, audio, scratch)
        turns: dict[str, Callable[[], float]] = {name: side.run for name, side in sides.items()}
        for turn in turns.values():
            turn()  # fills the page cache, MLX's kernel cache and __pycache__
        found, noise = measure.interleave(turns, options.rounds)
    peaks = {name: statistics.median(side.peaks_mb) for name, side in sides.items()}
    rows = measure.bench_rows(f"whole process, {options.seconds:g} s file", found, "funasr", **peaks)
    memory, same = peaks["mlx"] / peaks["funasr"], sides["mlx"].text == sides["funasr"].text
    table = [
        f"| whole process, one {options.seconds:g} s file, full size: wall time | {measure.milliseconds(found['mlx'])} "
        f"| {measure.milliseconds(found['funasr'])} | {rows[0].ratio:.2f} (bar {TIME_BAR:.2f}) | {noise} |",
        f"| the same: peak memory | {peaks['mlx']:.0f} MB | {peaks['funasr']:.0f} MB "
        f"| {memory:.2f} (bar {MEMORY_BAR:.2f}) | |",
    ]
    notes = [f"texts {'identical' if same else 'DIFFER'}", f"command: {' '.join(installed_command()[-1:])} transcribe"]
    measure.publish("cold_start", rows, table, options.out, notes, memory_ratio=memory)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
