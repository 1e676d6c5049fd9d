"""Whole processes: from the command line to the text and the exit, with everything a user pays for. Stdlib only."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlx_model.machine import children
from parity.bench.sides import SideError, child_environment, ended

UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


def run(name: str, command: Sequence[str], threads: int, log: Path) -> dict[str, Any]:
    """Return {seconds: {cold_start}, peak_mb, printed: its last line} of one process.

    The peak is never below this process's own, which Linux counts as the child's until its program starts: `bench`
    itself loads no model, and is smaller than any side.

    Raises:
        SideError: it failed; the last line of its log is the reason.
    """
    start = time.perf_counter()
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    with (
        log.open("wb") as stderr,
        children.started(command, stderr=stderr, env=child_environment(threads), **pipes) as child,
    ):
        assert child.stdout is not None
        printed = child.stdout.read().decode("utf-8", "replace")
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        lines = log.read_text("utf-8", "replace").strip().splitlines() or [ended(child.returncode)]
        raise SideError(name, f"its command failed: {lines[-1]}")
    lines = printed.strip().splitlines() or [""]
    return {"seconds": {"cold_start": seconds}, "peak_mb": usage.ru_maxrss * UNIT / 1e6, "printed": lines[-1]}
