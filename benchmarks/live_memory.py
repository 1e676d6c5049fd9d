"""Memory of `mlx-funasr transcribe MODEL - --stream` over hours: a recording, over and over, through its pipe.

    python benchmarks/live_memory.py MODEL RECORDING [--hours 10] [-- OPTIONS of transcribe, as --vad VAD]

Prints the command's resident memory as the hours go by. The recording, 16-bit mono, is fed as fast as it is taken.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import soundfile

EVERY_H = 0.25


def resident_mb(pid: int) -> float:
    """Return a process's resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Feed, and print a line for every quarter of an hour of audio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--hours", type=float, default=10.0)
    words = sys.argv[1:]
    own = words.index("--") if "--" in words else len(words)  # argparse takes no options behind it for positional
    asked, options = parser.parse_args(words[:own]), words[own + 1 :]
    samples, rate = soundfile.read(asked.recording, dtype="int16")
    words = ["transcribe", str(asked.model), "-", "--stream", "--rate", str(rate), *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlx_funasr", *words], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert process.stdin is not None
    data, sent, start, next_h = samples.tobytes(), 0, time.perf_counter(), 0.0
    while sent < asked.hours * 7200 * rate:
        process.stdin.write(data)
        sent += len(data)
        done_h = sent / 7200 / rate
        if done_h >= next_h:
            took_s = time.perf_counter() - start
            print(f"{done_h:6.2f} h {resident_mb(process.pid):8.1f} MB {took_s:8.0f} s", flush=True)
            next_h += EVERY_H
    last = resident_mb(process.pid)
    process.stdin.close()
    print(f"end: {last:.1f} MB, exit code {process.wait()}")


if __name__ == "__main__":
    main()
