"""Any audio piece by piece: a waveform, a file, or a pipe that may never end. What streams are fed with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_model.audio import pipes
from mlx_model.audio.files import blocks
from mlx_model.audio.items import Audio


def pieces_of(item: Audio, rate: int, pipe_rate: int | None, notes: list[str]) -> Iterator[np.ndarray]:
    """Yield the samples of a recording or a pipe, mono, at `rate` Hz, of any length each.

    Args:
        item: a waveform at that rate, a path, or "-" for standard input.
        rate: of the samples, Hz.
        pipe_rate: of raw samples in a pipe, Hz; None: 16000, or what a WAV header says.
        notes: is given what there is to say of a file or pipe, one line each.

    Raises:
        AudioError: see `blocks` and `pcm`.
    """
    if isinstance(item, np.ndarray):
        yield item
    elif str(item) == "-":
        yield from pipes.pcm(pipes.standard_input(), pipe_rate, rate, notes)
    else:
        yield from blocks(item, rate, notes)
