"""Text of samples as they come, to their end, whatever ends them: what a stream still knows is said first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from mlx_model.errors import AudioError
from mlx_model.pipelines.streams import Partial
from mlx_model.text.results import Segment

PIECE = 1600  # samples fed at once: a file's partials come one after the other, too, not all at its end
NOTHING = "standard input: no samples came; - reads PCM from a pipe"


class Hearer(Protocol):
    """A TextStream (one pass), or a TwoPass."""

    def feed(self, samples: np.ndarray, *, is_final: bool = False) -> Iterable[Partial | Segment]:
        """Return what became known with these samples."""
        ...


class Live:
    """Pieces of samples through a stream; `samples` counts those that came, whatever became of them."""

    def __init__(self, hearer: Hearer, pieces: Iterator[np.ndarray]):
        self.hearer, self.pieces = hearer, pieces
        self.samples = 0

    def heard(self) -> Iterator[Partial | Segment]:
        """Yield partials and segments to the end of the pieces.

        Where the next piece cannot be had (a broken pipe, NaN, Ctrl-C while waiting), the stream is ended first, as if
        the pieces ended there, and then the reason is raised.
        """
        stopped: BaseException | None = None
        while stopped is None:
            try:
                piece = next(self.pieces, None)
                if piece is None:
                    break
            except BaseException as reason:  # Ctrl-C is none of Exception's
                stopped = reason
                break
            self.samples += len(piece)
            for at in range(0, len(piece), PIECE):
                yield from self.hearer.feed(piece[at : at + PIECE])
        if self.samples:
            yield from self.hearer.feed(np.empty(0, np.float32), is_final=True)
        if stopped is not None:
            raise stopped
        if not self.samples:
            raise AudioError(NOTHING)
