"""Arrays of a speaker's network as both sides are compared: time first, (1, T, ...). Pure numpy.

torch has (B, C, T) and (B, C, F, T); we have (B, T, C) and (B, F, T, C). An embedding, (B, D), is one frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from parity.taps.tap import ARGS, to_numpy

FLAT = ("xvector.dense", "model.seg_1", "model.seg_bn_1", "model.seg_2")  # modules that are given embeddings


def of_torch(value: np.ndarray) -> np.ndarray:
    """Return torch's array with time first."""
    axes = {2: None, 3: (0, 2, 1), 4: (0, 3, 2, 1)}[value.ndim]
    return value[:, None] if axes is None else value.transpose(axes)


def of_ours(value: np.ndarray) -> np.ndarray:
    """Return our array with time first."""
    axes = {2: None, 3: (0, 1, 2), 4: (0, 2, 1, 3)}[value.ndim]
    return value[:, None] if axes is None else value.transpose(axes)


def to_ours(module: str, value: np.ndarray) -> np.ndarray:
    """Return what a module of ours is given, of an array with time first."""
    if module in FLAT:
        return value[:, 0]
    return value.transpose(0, 2, 1, 3) if value.ndim == 4 else value


def seen_of(seen: Mapping[str, Any], *, torch: bool) -> dict[str, list[np.ndarray]]:
    """Return what was seen of modules with time first, without what they were called with."""
    turn = of_torch if torch else of_ours
    return {
        name: [np.ascontiguousarray(turn(to_numpy(array))) for array in value[:1]]
        for name, value in seen.items()
        if not name.endswith(f"@{ARGS}")
    }
