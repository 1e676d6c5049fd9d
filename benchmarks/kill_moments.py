"""kill -9 at random moments of the commands that start processes: what is alive 2 s later, what the next run leaves.

    python benchmarks/kill_moments.py [--moments 50] [--within SECONDS] [--seed 0]

Every process of a run carries a mark in its environment (Linux's /proc shows it). After each kill the next run is the
shortest there is, `mlx-funasr --version`; and at the end each command runs once more, whole, over what the killed ones
left. Bars: 0 processes, 0 folders, exit code 0.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measure

SPEECH = measure.ROOT / "parity/demo/speech"
SOURCE = measure.ROOT / "parity/demo/model"
ONE = SPEECH / "wav/test/D0001/DEMOD0001W0001.wav"
MARK = "MLX_FUNASR_KILL_MOMENT"
WAIT_S = 2.0
LONGEST_S = 600.0


def commands(model: Path, out: Path) -> dict[str, list[str]]:
    """Return the command lines that are killed."""
    bench = ["--rounds", "1", "--seconds", "1", "--batch", "1", "--stages", "encoder"]
    found = {
        "parity run": ["parity", "run", str(SOURCE), "--model", str(model), "--audio", str(ONE)],
        "cer --engine funasr": ["cer", str(SOURCE), str(SPEECH), "--engine", "funasr"],
        "bench": ["bench", str(model), *bench, "--against", "onnxruntime"],
    }
    return {name: [*words, "--overwrite", "--out", str(out / name.split()[0])] for name, words in found.items()}


def start(words: list[str], environment: dict[str, str]) -> subprocess.Popen[Any]:
    command = [sys.executable, str(measure.ROOT / "mlx_funasr.py"), *words]
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, cwd=measure.ROOT, **quiet)


def finish(words: list[str], environment: dict[str, str]) -> tuple[int, float, str]:
    """Return exit code, seconds and the last words of a whole run."""
    begun = time.perf_counter()
    child = start(words, environment)
    said = child.communicate(timeout=LONGEST_S)[1].decode("utf-8", "replace")
    return child.returncode, time.perf_counter() - begun, said.strip()[-300:]


def alive(mark: str) -> list[str]:
    """Return the command lines of the processes that carry a mark."""
    found = []
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if place.name.isdigit() and f"{MARK}={mark}\0".encode() in (place / "environ").read_bytes() + b"\0":
                words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
                if words:  # a zombie has none
                    found.append(f"{place.name} {words[:150]}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=50, help="kills in all, the commands in turn")
    parser.add_argument("--within", type=float, default=LONGEST_S, help="of the first so many seconds of a run")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, failed = random.Random(arguments.seed), 0
    with tempfile.TemporaryDirectory(prefix="kill-moments-") as folder:
        place = Path(folder)
        (place / "tmp").mkdir()
        environment = {**os.environ, "TMPDIR": str(place / "tmp"), "PYTHONPATH": str(measure.ROOT)}
        finish(["convert", str(SOURCE), str(place / "model")], environment)
        todo = commands(place / "model", place / "out")
        lasts = {name: finish(words, environment)[1] for name, words in todo.items()}
        print({name: f"{seconds:.1f} s" for name, seconds in lasts.items()}, flush=True)
        counts = {name: [0, 0, 0] for name in todo}
        for number in range(arguments.moments):
            name = list(todo)[number % len(todo)]
            moment = rng.uniform(0.0, min(lasts[name], arguments.within))
            children, left = killed(todo[name], environment, moment, f"{os.getpid()}-{number}", place / "tmp")
            counts[name] = [a + b for a, b in zip(counts[name], (1, len(children), len(left)), strict=True)]
            print(f"{number:3d} {name:20s} {moment:6.2f} s  alive {children or 0}  left {left or 0}", flush=True)
        print(f"\n{'command':20s} kills  children alive after 2 s  folders left  the next whole run")
        for name, (kills, children, left) in counts.items():
            code, seconds, said = finish(todo[name], environment)
            trash = [path.name for path in (place / "out").rglob("*") if ".partial" in path.name]
            print(f"{name:20s} {kills:5d} {children:25d} {left:13d}  rc {code}, {seconds:.1f} s, trash {trash}")
            failed += bool(children or left or code or trash)
            print(said if code else "", end="\n" if code else "")
    return int(failed > 0)


def killed(
    words: list[str], environment: dict[str, str], moment: float, mark: str, place: Path
) -> tuple[list[str], list[str]]:
    """Kill a run at a moment; return who is alive 2 s later, and the folders that the next run leaves."""
    child = start(words, {**environment, MARK: mark})
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(moment)
    child.send_signal(signal.SIGKILL)
    child.wait()
    time.sleep(WAIT_S)
    children = alive(mark)
    assert child.stderr is not None
    child.stderr.close()
    finish(["--version"], environment)
    return children, sorted(path.name for path in place.iterdir() if path.name.startswith("mlx-funasr-"))


if __name__ == "__main__":
    sys.exit(main())
