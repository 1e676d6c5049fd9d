"""What recordings seldom show: streams that end within a frame, and weights that add up to a whole token exactly.

Both sides are shown them: FunASR's own functions in reference.py, ours in candidate.py. Pure numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlx_model.config.chunking import Chunking
from parity.families.paraformer_streaming.chunking import samples_of

CHUNKING = Chunking(chunk_size=(0, 4, 2))
RESTS = (0, 300, 399, 400, 959, 960, 1359)  # samples behind a whole chunk: FunASR drops those below 960
HALVES = (0.5,) * 6, (0.5,) * 5  # alphas of two windows; every second frame completes a token, exactly
FRAMES, LAST = 6, 5  # of both windows: the first decides on 4, the last on all


def waveforms() -> dict[str, np.ndarray]:
    """Return {name: samples}: one chunk and a rest."""
    stride, rng = samples_of(CHUNKING), np.random.default_rng(0)
    lengths = {f"{rest} behind a chunk": stride + rest for rest in RESTS}
    return {name: (0.1 * rng.standard_normal(size)).astype(np.float32) for name, size in lengths.items()}


def facts(windows: Mapping[str, Sequence[int]], fires: Sequence[np.ndarray]) -> dict[str, dict[str, Any]]:
    """Return the facts of {name: new frames of each window}, and of where both windows of halves fire."""
    marked = ["".join(".X"[int(frame)] for frame in window) for window in fires]
    return {
        "made-up lengths": {f"end_to_end.windows.{name}": [*map(int, counts)] for name, counts in windows.items()},
        "made-up weights": {"predictor.fires.halves": marked},
    }
