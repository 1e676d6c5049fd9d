"""What a caller may give as audio: paths and waveforms, one or many, and what a waveform must be. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlx_model.errors import AudioError

Audio = str | Path | np.ndarray  # a file, or a mono waveform at the model's rate in [-1, 1]


def listed(audio: Audio | Sequence[Audio]) -> list[Audio]:
    """Return one item, or many, as a list."""
    return [audio] if isinstance(audio, (str, Path, np.ndarray)) else list(audio)


def path_of(item: Audio) -> str | None:
    """Return the path of an item, None of a waveform."""
    return None if isinstance(item, np.ndarray) else str(item)


def checked(waveform: np.ndarray) -> np.ndarray:
    """Return samples as float32, not copied where they are.

    Raises:
        AudioError: not one-dimensional, not floating point (integers have no agreed scale), NaN or infinite samples.
    """
    if waveform.ndim != 1 or not np.issubdtype(waveform.dtype, np.floating):
        raise AudioError(f"a waveform must be one-dimensional float in [-1, 1], not {waveform.dtype} {waveform.shape}")
    finite = np.isfinite(waveform)
    if not finite.all():
        raise AudioError(f"the waveform holds NaN or infinite samples, the first at {int(np.argmin(finite))}")
    return waveform.astype(np.float32, copy=False)
