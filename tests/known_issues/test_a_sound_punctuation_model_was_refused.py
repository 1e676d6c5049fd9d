"""`parity run` of a sound ct-punc failed at `decoder` on texts of few words: our error was four times torch's.

BLAS adds up all inputs of six outputs in a row. NarrowLinear adds blocks. Oracle: the product in float64.
"""

from __future__ import annotations

import numpy as np

from mlx_model.machine.blas import mx
from mlx_model.parts.basic import NarrowLinear

WORDS, WIDTH, MARKS = 200, 256, 6


def error(x: np.ndarray, weight: np.ndarray) -> float:
    """Return the relative error of a layer's output against float64."""
    layer = NarrowLinear(WIDTH, MARKS)
    layer.weight, layer.bias = mx.array(weight), mx.zeros(MARKS)
    truth = x.astype(np.float64) @ weight.T.astype(np.float64)
    return float(np.linalg.norm(np.array(layer(mx.array(x[None])))[0] - truth) / np.linalg.norm(truth))


def test_few_outputs_are_summed_in_blocks():
    rng = np.random.default_rng(0)
    x, weight = (rng.normal(0.5, 1.0, (rows, WIDTH)).astype(np.float32) for rows in (WORDS, MARKS))
    assert error(x, weight) < 1.2e-7  # 6.2e-8 here; 2.4e-7 in a row


def test_whatever_the_width():
    rng = np.random.default_rng(1)
    for width in (1, 31, 32, 33, 80):
        layer = NarrowLinear(width, 3)
        x = rng.normal(size=(2, 5, width)).astype(np.float32)
        wanted = x @ np.array(layer.weight).T + np.array(layer.bias)
        np.testing.assert_allclose(np.array(layer(mx.array(x))), wanted, rtol=1e-5, atol=1e-5)  # float32's sums
