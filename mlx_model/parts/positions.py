"""Position codes of a stream, which go on from window to window. On the host, for any position.

Mirrors funasr/models/transformer/embedding.py::StreamSinusoidalPositionEncoder, which makes those of the whole stream
anew at every window. MLX's float32 sine errs where its argument is large; numpy's does not.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Float


@functools.lru_cache(maxsize=4)
def _inverse_timescales(depth: int) -> np.ndarray:
    half = depth // 2
    increment = np.log(np.float32(10000.0)) / np.float32(half - 1) if half > 1 else np.float32(0.0)
    return np.exp(np.arange(half, dtype=np.float32) * -increment).astype(np.float32)


def positions_from(start: int, steps: int, depth: int) -> Float[np.ndarray, "T D"]:
    """Return sin/cos codes of positions start + 1 .. start + steps, (steps, depth), float32: in halves."""
    places = np.arange(start + 1, start + steps + 1).astype(np.float32)
    scaled = places[:, None] * _inverse_timescales(depth)[None]  # (T, D/2)
    return np.concatenate([np.sin(scaled), np.cos(scaled)], axis=1)
