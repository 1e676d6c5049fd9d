"""`parity selftest` of a streaming Paraformer failed on the healthy model: carry_alpha at 7.4 times the floor.

What CIF carries is left of a sum about 1, rounded as such; held against its own size, near 0, one rounding is a large
error. It is recorded before a token is taken off. Oracle: the spacing of float32 at 1.
"""

from __future__ import annotations

import numpy as np
import pytest

from mlx_model.parts.cif_chunk import integrate, new_carry
from parity.families.paraformer_streaming.isolated import cif

STEP = float(np.spacing(np.float32(1)))


@pytest.mark.parametrize("left", [0.001, 0.03, 0.4])
def test_one_rounding_is_one_rounding_however_little_is_left(left: float):
    weights = []
    for more in (0.0, STEP):
        alphas = np.array([0.5, 0.5 + left + more], np.float64)
        fired = integrate(np.ones((2, 3), np.float32), alphas, new_carry(3, np.float64), tail=None)
        weights.append(cif(fired, alphas)[4].item())
    assert weights[0] == pytest.approx(1 + left, abs=STEP)
    assert 0 < weights[1] / weights[0] - 1 <= 2 * STEP
