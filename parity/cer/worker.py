"""What runs on a worker's node: one model, loaded once, and the worker's own files of the utterances it is given.

No Ray here: distributed.py makes an actor of it. Must not import mlx, torch or funasr.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from mlx_model.errors import MlxFunasrError, UsageError
from parity.cer.dispatch import Answers, Batch
from parity.cer.recognizers import local, model_sha256, open_recognizer
from parity.cer.recordings import Recordings
from reports.environment import project_version


class Job(NamedTuple):
    """What every worker must agree on with the driver. Relative paths start at the driver's `folder`."""

    engine: str
    model: str
    model_sha256: str
    options: dict[str, Any]
    version: str | None
    folder: str


class Worker:
    """One model in a process of its own. Errors of ours name the node."""

    def __init__(self) -> None:
        self._recordings = Recordings()
        self._feed: deque[Batch] = deque()

    def open(self, job: Job) -> None:
        """Load the model.

        Raises:
            UsageError: model or package are missing or differ here.
        """
        with suppress(OSError):
            os.chdir(job.folder)
        with _on_this_node():
            if project_version() != job.version:
                raise UsageError(f"mlx-funasr {project_version()} is installed, but {job.version} on the driver")
            if model_sha256(job.model) != job.model_sha256:
                found = "holds other files than on the driver" if Path(job.model).exists() else "does not exist"
                raise UsageError(f"{Path(job.model).absolute()} {found}; expected the same model on every node")
            self._recordings.__enter__()
            self._engine = local(open_recognizer(job.engine, job.model, job.options), self._recordings)
            # FunASR starts, and loads its model, once per call; and asks for a batch only after answering the last.
            self._stream = self._engine(iter(self._feed.popleft, None)) if job.engine == "funasr" else None

    def run(self, batches: Sequence[Batch]) -> tuple[str, list[Path], list[Answers]]:
        """Return this node's name, the files it does not see, and the answers to each batch, real-time factor added."""
        absent = [item.path for batch in batches for item in batch if not item.path.is_file()]
        self._feed.extend(batches if self._stream else ())
        stream = itertools.islice(self._stream, len(batches)) if self._stream else self._engine(batches)
        results, last = [], time.perf_counter()
        with _on_this_node():
            for _, answers in stream:
                results.append(_rated(answers, time.perf_counter() - last))
                last = time.perf_counter()
        return socket.gethostname(), absent, results

    def close(self) -> None:
        """Delete the temporary files."""
        self._recordings.__exit__()


def _rated(answers: Answers, seconds: float) -> Answers:
    audio_s = sum(answer["duration_s"] or 0.0 for answer in answers)
    return [{**answer, "rtf": seconds / audio_s if answer["duration_s"] else None} for answer in answers]


@contextmanager
def _on_this_node() -> Iterator[None]:
    try:
        yield
    except MlxFunasrError as error:
        raise type(error)(f"node {socket.gethostname()}: {error}") from error
