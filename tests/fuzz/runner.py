"""Runs command lines quickly: one process imports the command line, and forks for every command.

Each command has a process, a working directory and standard streams of its own, as if typed into a shell, at a tenth
of the time that starting Python takes. MLX is imported after the fork (its threads would not survive one).
`python -m tests.fuzz.runner` is the process; requests and answers are lines of JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.forked import KINDS

ROOT = Path(__file__).resolve().parent.parent.parent
MESSAGE_LIMIT = 2000  # characters of one error: a line that nobody can read is no message


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one command ended. `code` is None where it was still running after its time."""

    words: list[str]
    code: int | None
    out: str
    err: str
    left: list[str] = field(default_factory=list)

    def complaint(self) -> str | None:
        """Return what is wrong with how it ended, None where all is as promised."""
        if self.code is None:
            return "did not end"
        if "Traceback (most recent call last)" in self.out + self.err or "Error in sys.excepthook" in self.err:
            return "traceback"
        if "a fault of mlx-funasr itself" in self.err:
            return "an exception that nobody foresaw"
        if self.code not in (0, 1, 2):
            return f"exit code {self.code}"
        if self.code == 2 and not self.err.strip():
            return "exit code 2 without a word"
        errors = re.findall(r"(?m)^error: .*$", self.err)
        if self.code == 2 and len(errors) > 1:
            return "more than one error"
        if any(len(error) > MESSAGE_LIMIT for error in errors):
            return "an error of more than 2000 characters"
        if self.left:
            return f"left behind: {', '.join(self.left)}"
        return None


class Runner:
    """The forking process, seen from the tests."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "TERM": "dumb"}
        command = [sys.executable, "-m", "tests.fuzz.runner"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )

    def run(self, words: Sequence[str], folder: Path, limit_s: float = 120.0) -> Outcome:
        """Run one command in `folder`; `words` are what stands after `mlx-funasr`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([list(words), str(folder), limit_s]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Outcome(words=list(words), **answer)

    def close(self) -> None:
        """End the process."""
        self._process.communicate("")


@contextmanager
def running() -> Iterator[Runner]:
    """Yield a Runner that ends with the block."""
    runner = Runner()
    try:
        yield runner
    finally:
        runner.close()


# ---- the process that forks


def _serve() -> None:
    """Answer requests until there are none; returns (in a child) where the command is to be run."""
    kernels = Path(tempfile.mkdtemp(prefix="fuzz-mlx-"))  # MLX keeps compiled kernels in the temporary folder
    for line in sys.stdin:
        words, folder, limit_s = json.loads(line)
        scratch = Path(tempfile.mkdtemp(prefix="fuzz-"))  # no context manager: the child would run its end, too
        (scratch / "tmp").mkdir()
        (scratch / "tmp/mlx").symlink_to(kernels)
        child = os.fork()
        if child == 0:
            _become(words, folder, scratch)
            return
        code = _wait(child, limit_s)
        answer = {
            "code": code,
            "out": (scratch / "out").read_text("utf-8", "backslashreplace"),
            "err": (scratch / "err").read_text("utf-8", "backslashreplace"),
            "left": sorted({*os.listdir(scratch / "tmp")} - {"mlx"})
            + sorted(path.name for path in Path(folder).rglob(".*.partial*")),
        }
        shutil.rmtree(scratch)
        print(json.dumps(answer), flush=True)
    shutil.rmtree(kernels)
    sys.exit(0)


def _become(words: list[str], folder: str, scratch: Path) -> None:
    """Turn this child into the command, with its own group, streams, directory and temporary folder."""
    os.setpgid(0, 0)
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch / "tmp")
    for number, name in ((1, "out"), (2, "err")):
        descriptor = os.open(scratch / name, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.chdir(folder)
    sys.argv = ["mlx-funasr", *words]


def _wait(child: int, limit_s: float) -> int | None:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def main() -> Any:
    """Serve; in a child, run the command as the installed script does."""
    import mlx_funasr

    for name in KINDS["command"]:
        importlib.import_module(name)
    _serve()
    try:
        return mlx_funasr.main()
    except Exception:
        traceback.print_exc()
        return 99


if __name__ == "__main__":
    sys.exit(main())
