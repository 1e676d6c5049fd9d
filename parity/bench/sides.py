"""A side of a benchmark: a child process that stays alive and answers one JSON line for each it is sent.

One process per side, because a BLAS loaded for MLX would take over torch's matrix products too. `Side` is the parent's
end, `serve` the child's. Stdlib and mlx_model/errors.py only: a child must not load what it does not measure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from mlx_model.errors import MlxFunasrError
from mlx_model.machine import children

ROOT = Path(__file__).resolve().parent.parent.parent
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LAST_WORDS_S = 60.0  # for a child whose stdin has closed to finish
LONGEST_REASON = 300  # characters of somebody else's error message that are worth repeating

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class SideError(MlxFunasrError):
    """A side could not do what it was asked, or has ended; `side` names it."""

    def __init__(self, side: str, reason: str):
        super().__init__(f"{side}: {reason}")
        self.side, self.reason = side, reason


def child_environment(threads: int) -> dict[str, str]:
    """Return the environment of every measured process: so many threads, float32 in full, this checkout importable."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    fixed = {"MLX_ENABLE_TF32": "0", "PYTHONPATH": path}
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), **fixed}


class Side:
    """A living child; a context manager. `log` gets what it prints on stderr (None: it shows).

    `environment` is the child's whole environment, from `child_environment`.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path | None = None):
        self.name = name
        stderr = log.open("wb") if log is not None else None
        try:
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": stderr}
            self.child = children.start(command, env=environment, encoding="utf-8", **pipes)
        finally:
            if stderr is not None:
                stderr.close()  # the child has its own

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the child's answer.

        Raises:
            SideError: it answered with an error, or has ended.
        """
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        try:
            self.child.stdin.write(json.dumps(request) + "\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            pass  # its last line, or its exit code, says why
        line = self.child.stdout.readline()
        if not line:
            raise SideError(self.name, ended(self.child.wait()))
        answer = json.loads(line)
        if "error" in answer:
            raise SideError(self.name, answer["error"])
        return answer

    def close(self, *, at_once: bool = False) -> None:
        """End the child and wait for it; `at_once` does not let it finish what it is at."""
        try:
            if not at_once:
                with suppress(subprocess.TimeoutExpired, OSError):
                    self.child.communicate(timeout=LAST_WORDS_S)
        finally:
            children.end(self.child)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(at_once=kind is not None)


def timed(function: Callable[[], Any]) -> float:
    """Return the seconds one call took."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ended(code: int) -> str:
    """Return how a process ended, in words."""
    return f"killed by signal {-code} (out of memory?)" if code < 0 else f"ended with exit code {code}"


def serve(make: Callable[[], Answer]) -> int:
    """Be the child of a `Side`: make what answers requests, and answer until stdin closes. Returns the exit code.

    An exception is answered as `error`, its traceback goes to stderr. FunASR prints on stdout as it pleases, when it
    loads too, so that goes to stderr as well.
    """
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as pipe:
        os.dup2(2, 1)
        try:
            answer = make()
        except Exception as error:
            sys.stdin.readline()
            _reply(pipe, _refusal(error))
            return 1
        for line in sys.stdin:
            try:
                reply = answer(json.loads(line))
            except Exception as error:
                reply = _refusal(error)
            _reply(pipe, reply)
    return 0


def _reply(pipe: Any, reply: dict[str, Any]) -> None:
    print(json.dumps(reply), file=pipe, flush=True)


def _refusal(error: Exception) -> dict[str, str]:
    traceback.print_exc(file=sys.stderr)
    words = " ".join(str(error).split()) or "no message"
    return {"error": f"{type(error).__name__}: {words}"[:LONGEST_REASON]}
