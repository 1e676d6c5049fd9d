"""Runs parity.sides.reference on a JSON request, in a process of its own, and passes on answers and errors.

Why a process: a BLAS loaded with RTLD_GLOBAL for MLX would take over torch's matrix products too. Imports no torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mlx_model.errors import CheckpointError, DependencyError, MlxFunasrError, UsageError
from mlx_model.files.scratch import scratch
from mlx_model.machine import children

MARK = "mlx-funasr-answer "  # FunASR prints on stdout as it pleases; our lines carry this mark
FORESEEN = {error.__name__: error for error in (DependencyError, CheckpointError, UsageError)}
START = "import sys; from parity.sides.reference import main; sys.exit(main(sys.argv[1]))"
Progress = Callable[[float], None]


def ask_reference(request: dict[str, Any], progress: Progress | None) -> None:
    """Run one request in a child process; its error becomes ours. `progress` gets the amount the child says is done.

    Raises:
        MlxFunasrError: what the child foresaw (its own class where it is in FORESEEN), or the last line of its log.
    """
    with _child(request) as child:
        for amount in _answers(child):
            if progress is not None:
                progress(float(amount))


def stream_reference(request: dict[str, Any], batches: Iterable[Sequence[str]]) -> Iterator[list[Any]]:
    """Yield the answers to one batch of strings after the other, of one child process; errors as `ask_reference`."""
    with _child(request) as child:
        assert child.stdin is not None
        answers = _answers(child)
        for batch in batches:
            try:
                child.stdin.write("".join(json.dumps(item) + "\n" for item in batch))
                child.stdin.flush()
            except BrokenPipeError:
                break  # it has ended; why is said on leaving
            found = [answer for _, answer in zip(batch, answers, strict=False)]
            if len(found) < len(batch):
                break
            yield found


def _answers(child: subprocess.Popen[str]) -> Iterator[Any]:
    for line in child.stdout or ():
        if line.startswith(MARK):
            yield json.loads(line.removeprefix(MARK))


@contextmanager
def _child(request: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """The running child; on leaving it is waited for, and its failure raised. A caller that breaks off ends it."""
    python = os.environ.get("MLX_FUNASR_REFERENCE_PYTHON", sys.executable)
    here = str(Path(__file__).resolve().parent.parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))}
    environment.pop("LD_PRELOAD", None)
    with scratch("reference") as folder:
        failure, log, path = (folder / name for name in ("failure.json", "log", "request.json"))
        path.write_text(json.dumps({**request, "failure": str(failure)}), "utf-8")
        command = [python, "-c", START, str(path)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with (
            log.open("wb") as stderr,
            children.started(command, stderr=stderr, env=environment, encoding="utf-8", **pipes) as child,
        ):
            yield child
            with suppress(BrokenPipeError):
                child.communicate()  # to the end of its output: a child that may not print would fail
        _raise_failure(request, child.returncode, failure, log)


def _raise_failure(request: dict[str, Any], code: int, failure: Path, log: Path) -> None:
    if failure.is_file():
        report = json.loads(failure.read_text("utf-8"))
        raise FORESEEN.get(report["kind"], MlxFunasrError)(report["message"])
    if code:
        last = (log.read_text("utf-8", "replace").strip().splitlines() or ["no output"])[-1]
        raise MlxFunasrError(f"FunASR failed on {request['src']}: {last}")
