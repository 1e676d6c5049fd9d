"""CPU attention, convolution and LayerNorm. Oracle: the definition in float64 numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.blas import mx
from mlx_model.cpu_kernels import depthwise_conv1d, exponentials, layer_norm, mean, scaled_dot_product_attention


def exact_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, keep: np.ndarray) -> np.ndarray:
    scores = np.where(keep, np.einsum("bhud,bhtd->bhut", q * np.float64(scale), k.astype(np.float64)), -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.einsum("bhut,bhtd->bhud", weights / weights.sum(axis=-1, keepdims=True), v)


@given(st.integers(0, 1000), st.floats(0.01, 8.0))
@settings(max_examples=40, deadline=None)
def test_attention(seed: int, spread: float):
    """1e-5: scores of up to some 100 in float32 carry 1e-5 into the exponential, and weights sum to one."""
    rng = np.random.default_rng(seed)
    q, k, v = (rng.standard_normal((2, 3, steps, 8)).astype(np.float32) for steps in (5, 77, 77))
    q *= np.float32(spread)
    lengths = rng.integers(1, 78, size=2)
    keep = np.arange(77)[None, None, None, :] < lengths[:, None, None, None]
    got = scaled_dot_product_attention(mx.array(q), mx.array(k), mx.array(v), scale=0.35, mask=mx.array(keep))
    np.testing.assert_allclose(np.array(got), exact_attention(q, k, v, 0.35, keep), atol=3e-5)
    full = scaled_dot_product_attention(mx.array(q), mx.array(k), mx.array(v), scale=0.35)
    np.testing.assert_allclose(np.array(full), exact_attention(q, k, v, 0.35, np.ones_like(keep)), atol=3e-5)


def test_exponentials_of_masked_scores_weigh_nothing():
    x = np.random.default_rng(0).standard_normal((2, 9)).astype(np.float32)
    x[:, 6:] = -np.inf
    weights = np.array(exponentials(mx.array(x)))
    assert weights[:, 6:].max() < 1e-29
    np.testing.assert_allclose(weights[:, :6], np.exp(x[:, :6] - x.max(axis=-1, keepdims=True)), rtol=1e-6)


@pytest.mark.parametrize("taps", [1, 2, 11, 21])
def test_depthwise_convolution(taps: int):
    """Oracles: the definition in float64, and MLX's own grouped convolution."""
    rng = np.random.default_rng(taps)
    x, weight = rng.standard_normal((2, 40, 6)).astype(np.float32), rng.standard_normal((6, taps, 1)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), taps, axis=1)  # (B, T, D, K)
    expected = np.einsum("btdk,dk->btd", windows, weight[:, :, 0])
    got = depthwise_conv1d(mx.array(x), mx.array(weight), groups=6)
    np.testing.assert_allclose(np.array(got), expected, atol=1e-5)
    np.testing.assert_allclose(np.array(mx.conv1d(mx.array(x), mx.array(weight), groups=6)), expected, atol=1e-5)


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
