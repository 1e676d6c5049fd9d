"""What the decoders (libsndfile.py, ffmpeg.py) share: how one of them declines, and many channels as one.

Imports numpy only.
"""

from __future__ import annotations

import struct

import numpy as np

from mlx_model.audio.plain_wave import as_float

LONGEST_S = 366 * 86400.0  # a header that promises more is broken: nothing real lasts a year

# What libraries have raised on damaged files, and what Python raises for them; `struct.error` and UnicodeError are
# ValueErrors or stand here. One bad file must not end a batch, so all of them mean: this decoder cannot read it.
FAULTS: tuple[type[Exception], ...] = (
    ArithmeticError, AssertionError, BufferError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError,
    ValueError, struct.error,
)  # fmt: skip


class RefusedError(Exception):
    """One decoder's verdict: it cannot read this, another might."""


class MissingError(RefusedError):
    """The decoder is not installed; the message is the command that installs it."""


def mono(block: np.ndarray) -> np.ndarray:
    """Return the mean over the channels of (S, C); one channel as it is."""
    with np.errstate(over="ignore", invalid="ignore"):  # what this makes of infinities is reported by files.py
        return block[:, 0] if block.shape[1] == 1 else as_float(block).mean(axis=1)


def joined(blocks: list[np.ndarray]) -> np.ndarray:
    """Return the blocks one behind the other; one block without a copy."""
    found = [block for block in blocks if len(block)]
    if len(found) == 1:
        return found[0]
    return np.concatenate(found) if found else np.empty(0, np.float32)
