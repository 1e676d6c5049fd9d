"""The integral of CIF, frame by frame in float32, as FunASR loops over it: where rounding decides, both decide alike.

Imports numpy only, so that times can be told without MLX.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

THRESHOLD = 1.0  # of a token's weight, in the first head of CifPredictorV3
PEAK = 1.0 - 1e-4  # in the second: the sum is the number of tokens but for rounding, and the last one shall fire too


def integrals(alphas: Float[np.ndarray, "B T"], threshold: float) -> Float[np.ndarray, "B T"]:
    """Return the integral at every frame, in float32, before `threshold` is taken off where it is reached.

    Mirrors funasr/models/bicif_paraformer/cif_predictor.py::cif_wo_hidden, operation by operation; `cif` decides
    alike, with a threshold of 1.
    """
    edge, sums = np.float32(threshold), np.empty(alphas.shape[::-1], np.float32)
    integral = np.zeros(len(alphas), np.float32)
    for frame, alpha in enumerate(np.ascontiguousarray(alphas.T, np.float32)):
        np.add(integral, alpha, out=sums[frame])
        integral = sums[frame] - (sums[frame] >= edge) * edge
    return sums.T
