"""What every side of the bench is: the model loaded by one program, and its stages, one after the other.

The class attributes are read by the parent, which must not load what a peer needs: peers import it in their methods.
Must not import mlx or torch.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from parity.bench.jobs import TRANSCRIBE

Ids = list[list[int]]
AS_CONVERTED = "as converted"  # the precision of a side that takes this project's


class Peer:
    """One side. An instance lives in a child process; `ids` holds the token ids of its last run.

    `stages` does one batch from waveforms in memory to logits in memory, step by step; `transcribe` goes from files to
    text as the program does by default. Both set `ids`. On a GPU a step ends when the device is done, the front end
    with features and the decoder with token ids in the host's memory; `network` follows as a step of its own, from
    those features to token ids with no waiting in between.
    """

    name: ClassVar[str]
    what: ClassVar[str]  # one line for the report: program, configuration
    needs: ClassVar[dict[str, str]] = {}  # module -> how to install it
    distributions: ClassVar[tuple[str, ...]] = ()  # whose versions the report names
    exports: ClassVar[tuple[str, ...]] = ()  # steps of exports.py that make what it loads
    folder: ClassVar[str | None] = None  # of the exports; None: it loads the source itself
    files: ClassVar[tuple[str, ...]] = ("*",)  # what it loads there, for the size on disk
    precision: ClassVar[str] = "float32"  # or AS_CONVERTED
    gpu_only: ClassVar[bool] = False  # on a CPU nobody would choose it
    judges: ClassVar[bool] = False  # whether float32 ids that differ from its own fail the run
    jobs: ClassVar[tuple[str, ...]] = (TRANSCRIBE,)  # of jobs.py: what it can be asked for
    has_program: ClassVar[bool] = True  # `command` is what a user would write; else there is no whole process to time
    remark: ClassVar[str] = ""  # why its text may be another, where that is known
    most_audio_s: ClassVar[float] = math.inf  # larger cases are left out, by this number and not by the clock

    def __init__(
        self, path: str, threads: int, dropped: Sequence[int] = (), *, beside: str = "cpu", dtype: str = "float32"
    ):
        """Load it. `beside`: the kind of device, cpu or gpu, that this project computes on; `dtype`: the precision."""
        self.path, self.threads, self.dropped = path, threads, frozenset(dropped)
        self.beside, self.dtype = beside, dtype
        self.device = "cpu"  # or gpu: what it computes on, set by `load`
        self.job = TRANSCRIBE  # what it does with files, set by `load` where it can do more
        self.ids: Ids = []
        self.waveforms = np.zeros((0, 0), dtype=np.float32)  # (B, S), equally long
        self.load()

    def load(self) -> None:
        """Load the model from `path`."""
        raise NotImplementedError

    def put(self, files: Sequence[str]) -> None:
        """Decode the recordings of all coming `stages`; they are equally long."""
        from mlx_model.audio.files import load_audio

        self.waveforms = np.stack([load_audio(file) for file in files])

    def stages(self) -> Iterator[str]:
        """Do the stages one after the other; yield each one's name (see cases.py) when its results are there."""
        return iter(())

    def transcribe(self, files: Sequence[str]) -> list[str]:
        """Return the text of every file."""
        raise NotImplementedError

    def product(self, rows: int) -> Callable[[], object] | None:
        """Return a function that computes one square product, on its device in its precision, where this side can."""
        return None

    def empty(self) -> Callable[[], object] | None:
        """Return a function that lets all threads, or a GPU, begin and end and compute nothing, where a side can."""
        return None

    def reset_device_peak(self) -> None:
        """Let the peak of the device's memory begin at what is in use now."""

    def device_peak_mb(self) -> float | None:
        """Return the most memory of the device that was in use since then, in MB; None where it has none of its own."""
        return None

    @property
    def numerics(self) -> dict[str, Any]:
        """What computes, and how exactly; this project's own side says so."""
        return {}

    @property
    def device_name(self) -> str:
        """What it computes on."""
        return "CPU"

    @property
    def library(self) -> str:
        """What computes its matrix products."""
        return ""

    @classmethod
    def command(cls, path: str, audio: str, threads: int, device: str, job: str) -> list[str]:
        """Return the command line of one whole process that prints the text of one file, as a user would write it.

        `device`: cpu or gpu, what this project computes on; `job`: what the family does (jobs.py).
        """
        raise NotImplementedError

    @classmethod
    def disk_mb(cls, path: Path) -> float:
        """Return the size of the files it loads, in MB."""
        found = {file for pattern in cls.files for file in path.glob(pattern) if file.is_file()}
        return sum(file.stat().st_size for file in found) / 1e6

    def best(self, logits: np.ndarray, counts: Sequence[int]) -> Ids:
        """Return the arg-max (B, U, V) of every utterance's own tokens, without blank, sos and eos."""
        return self.kept(logits.argmax(axis=-1).tolist(), counts)

    def kept(self, ids: Ids, counts: Sequence[int]) -> Ids:
        """Return of each row as many ids as are its own, without blank, sos and eos."""
        return [[i for i in row[: int(n)] if i not in self.dropped] for row, n in zip(ids, counts, strict=True)]


def python(code: str, *arguments: str) -> list[str]:
    """Return the command line that runs a short program."""
    return [sys.executable, "-c", code, *arguments]
