"""Times' alphas were scaled by a float32 sum taken place by place, and strayed 15 times as far as FunASR's own.

MLX adds up an axis in order, so the sum of a minute's second alphas was off by many units in the last place; all alphas
were scaled by it alike, and the integrals, which add them up, carried that on. `parity` refused a healthy random fa-zh
for it, and its limit had been doubled. Oracle: an exact sum (math.fsum).
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlx_model.machine.blas import mx
from mlx_model.parts.cif import exact_sum


@pytest.mark.parametrize("places", [7, 300, 3000, 30000])
def test_the_sum_is_rounded_once(places: int):
    alphas = (np.random.default_rng(places).random((2, places)) * 0.3).astype(np.float32)
    expected = [np.float32(math.fsum(row.astype(float).tolist())) for row in alphas]
    assert np.array(exact_sum(mx.array(alphas))).tolist() == pytest.approx(expected, rel=1e-7, abs=0)


def test_padding_changes_no_bit_of_it():
    alphas = (np.random.default_rng(0).random((1, 999)) * 0.3).astype(np.float32)
    padded = np.pad(alphas, [(0, 0), (0, 5000)])
    assert np.array(exact_sum(mx.array(padded))).tolist() == np.array(exact_sum(mx.array(alphas))).tolist()
