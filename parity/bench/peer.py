"""What every side of the bench is: the model loaded by one program, and its stages, one after the other.

The class attributes are read by the parent, which must not load what a peer needs: peers import it in their methods.
Must not import mlx or torch.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

Ids = list[list[int]]


class Peer:
    """One side. An instance lives in a child process; `ids` holds the token ids of its last run.

    `stages` does one batch from waveforms in memory to logits in memory, step by step; `transcribe` goes from files to
    text as the program does by default. Both set `ids`.
    """

    name: ClassVar[str]
    what: ClassVar[str]  # one line for the report: program, configuration
    needs: ClassVar[dict[str, str]] = {}  # module -> how to install it
    distributions: ClassVar[tuple[str, ...]] = ()  # whose versions the report names
    exports: ClassVar[tuple[str, ...]] = ()  # steps of exports.py that make what it loads
    folder: ClassVar[str | None] = None  # of the exports; None: it loads the source itself
    files: ClassVar[tuple[str, ...]] = ("*",)  # what it loads there, for the size on disk
    precision: ClassVar[str] = "float32"
    remark: ClassVar[str] = ""  # why its text may be another, where that is known
    most_audio_s: ClassVar[float] = math.inf  # larger cases are left out, by this number and not by the clock

    def __init__(self, path: str, threads: int, dropped: Sequence[int] = ()):
        self.path, self.threads, self.dropped = path, threads, frozenset(dropped)
        self.ids: Ids = []
        self.waveforms = np.zeros((0, 0), dtype=np.float32)  # (B, S), equally long
        self.load()

    def load(self) -> None:
        """Load the model from `path`."""
        raise NotImplementedError

    def put(self, files: Sequence[str]) -> None:
        """Decode the recordings of all coming `stages`; they are equally long."""
        from mlx_model.audio import load_audio

        self.waveforms = np.stack([load_audio(file) for file in files])

    def stages(self) -> Iterator[str]:
        """Do the stages one after the other; yield each one's name (see cases.py) when its results are there."""
        return iter(())

    def transcribe(self, files: Sequence[str]) -> list[str]:
        """Return the text of every file."""
        raise NotImplementedError

    def product(self) -> Callable[[], object] | None:
        """Return a function that computes one square float32 product of PRODUCT rows, where this side can."""
        return None

    @property
    def library(self) -> str:
        """What computes its matrix products."""
        return ""

    @classmethod
    def command(cls, path: str, audio: str, threads: int) -> list[str]:
        """Return the command line of one whole process that prints the text of one file, as a user would write it."""
        raise NotImplementedError

    @classmethod
    def disk_mb(cls, path: Path) -> float:
        """Return the size of the files it loads, in MB."""
        found = {file for pattern in cls.files for file in path.glob(pattern) if file.is_file()}
        return sum(file.stat().st_size for file in found) / 1e6

    def best(self, logits: np.ndarray, counts: Sequence[int]) -> Ids:
        """Return the arg-max (B, U, V) of every utterance's own tokens, without blank, sos and eos."""
        rows = zip(logits.argmax(axis=-1).tolist(), counts, strict=True)
        return [[i for i in row[: int(count)] if i not in self.dropped] for row, count in rows]


def python(code: str, *arguments: str) -> list[str]:
    """Return the command line that runs a short program."""
    return [sys.executable, "-c", code, *arguments]
