"""What a caller may give as audio: paths and waveforms, one or many."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

Audio = str | Path | np.ndarray  # a file, or a mono waveform at the model's rate in [-1, 1]


def listed(audio: Audio | Sequence[Audio]) -> list[Audio]:
    """Return one item, or many, as a list."""
    return [audio] if isinstance(audio, (str, Path, np.ndarray)) else list(audio)


def path_of(item: Audio) -> str | None:
    """Return the path of an item, None of a waveform."""
    return None if isinstance(item, np.ndarray) else str(item)
