"""Processes that end when this one does, however it ends. Every process of the project is started here. Stdlib only.

Each is the leader of a session and group of its own, so that what it starts ends with it. While this process lives it
ends them itself; when it is killed, reaper.py does.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlx_model.machine.reaper import VARIABLE, kill


class _Reaper:
    """This process's own, started with its first child. A fork has none of its parent's."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.process: subprocess.Popen[Any] | None = None
        self.token = ""

    def tell(self, line: str) -> None:
        with self.lock:
            if self.process is None:
                self._start()
            assert self.process is not None
            assert self.process.stdin is not None
            with contextlib.suppress(OSError):  # it was killed: children still end with an orderly parent
                self.process.stdin.write(f"{line}\n".encode())
                self.process.stdin.flush()

    def _start(self) -> None:
        self.token = secrets.token_hex(16)
        script = str(Path(__file__).with_name("reaper.py"))
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
        # Without our own reaper's mark, where we are somebody's child: ours must outlive us.
        quiet["env"] = {name: value for name, value in os.environ.items() if name != VARIABLE}
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", script, self.token], stdin=subprocess.PIPE, start_new_session=True, **quiet
        )

    def close(self) -> None:
        with self.lock:
            process, self.process = self.process, None
            if process is not None:
                assert process.stdin is not None
                with contextlib.suppress(OSError):
                    process.stdin.close()
                process.wait()

    def forget(self) -> None:
        """In a fork: the pipe is the parent's to hold open, and the process the parent's to wait for."""
        process, self.process, self.lock = self.process, None, threading.RLock()
        if process is not None and process.stdin is not None:
            process.returncode = 0
            process.stdin.close()


_reaper = _Reaper()
atexit.register(lambda: _reaper.close())
os.register_at_fork(after_in_child=lambda: _reaper.forget())


@contextmanager
def started(
    command: Sequence[str] | str, *, env: Mapping[str, str] | None = None, **options: Any
) -> Iterator[subprocess.Popen[Any]]:
    """Yield a running process, which has ended when the block has; options are Popen's.

    Where the block leaves it running, or is left by an exception, it is killed with all it has started.
    """
    child = start(command, env=env, **options)
    try:
        yield child
    finally:
        end(child)


def start(
    command: Sequence[str] | str, *, env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[Any]:
    """Return a running process, to be ended by `end`; options are Popen's."""
    _reaper.tell("?")
    environment = {**(os.environ if env is None else env), VARIABLE: _reaper.token}
    try:
        child = subprocess.Popen(command, env=environment, start_new_session=True, **options)
    except BaseException:
        _reaper.tell("-")
        raise
    _reaper.tell(f"+ {child.pid}")
    return child


def end(child: subprocess.Popen[Any]) -> None:
    """Kill a process that runs still, with all it has started."""
    if child.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    _reaper.tell(f"- {child.pid}")


def run(command: Sequence[str], *, timeout_s: float | None = None, **options: Any) -> tuple[int, str, str]:
    """Return (exit code, stdout, stderr) of a process that is run to its end; both are captured as text.

    Raises:
        subprocess.TimeoutExpired: it took longer.
    """
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(command, **pipes, encoding="utf-8", errors="replace", **options) as child:
        out, error = child.communicate(timeout=timeout_s)
    return child.returncode, out, error


@contextmanager
def marked() -> Iterator[None]:
    """What others start from this process in the block (Ray's daemons) ends with the block, where /proc can tell."""
    _reaper.tell("?")
    before, mark = os.environ.get(VARIABLE), f"{_reaper.token}.{secrets.token_hex(4)}"
    os.environ[VARIABLE] = mark
    try:
        yield
    finally:
        kill(set(), mark)
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before
        _reaper.tell("-")
