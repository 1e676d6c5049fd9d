"""CPU softmax and LayerNorm. Oracle: the definition in float64 numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.blas import mx
from mlx_model.cpu_kernels import layer_norm, mean, softmax


def exact_softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@given(st.integers(0, 1000), st.floats(0.01, 60.0))
@settings(max_examples=40, deadline=None)
def test_softmax(seed: int, spread: float):
    """1e-5 relative: float32 rounding of the argument is up to 60 x 6e-8 = 4e-6 of the exponential."""
    x = (np.random.default_rng(seed).standard_normal((3, 5, 77)) * spread).astype(np.float32)
    expected = exact_softmax(x)
    np.testing.assert_allclose(np.array(softmax(mx.array(x))), expected, rtol=3e-5, atol=1e-12)


def test_masked_scores_weigh_nothing():
    x = np.random.default_rng(0).standard_normal((2, 9)).astype(np.float32)
    x[:, 6:] = -np.inf
    weights = np.array(softmax(mx.array(x)))
    assert weights[:, 6:].max() < 1e-29
    np.testing.assert_allclose(weights[:, :6], exact_softmax(x[:, :6]), rtol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 48, 144, 512, 560, 2048, 2053])
def test_layer_norm_keeps_float32_accuracy(size: int):
    """3e-7: MLX's own CPU kernel has 4e-6 at 2048 positive values, torch 5e-8 (see the module's first paragraph)."""
    rng = np.random.default_rng(size)
    x = np.maximum(rng.standard_normal((40, size)) * 1.5 - 0.3, 0).astype(np.float32) + (size == 1)
    weight, bias = rng.standard_normal((2, size)).astype(np.float32)
    x64 = x.astype(np.float64)
    centred = x64 - x64.mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12) * weight + bias
    got = np.array(layer_norm(mx.array(x), mx.array(weight), mx.array(bias), 1e-12))
    limit = 3e-7 if size != 2053 else 5e-6  # a prime width has no second level to sum in
    assert np.linalg.norm(got - expected) <= limit * np.linalg.norm(expected)


def test_mean_is_the_mean():
    assert np.array(mean(mx.arange(10, dtype=mx.float32)[None]))[0, 0] == 4.5
