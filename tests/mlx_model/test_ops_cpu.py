"""CPU attention, convolution and LayerNorm. Oracle: the definition in float64 numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.machine.blas import mx
from mlx_model.ops_cpu import (
    MASKED,
    argmax,
    depthwise_conv1d,
    depthwise_taps,
    layer_norm,
    mean,
    powers_of_two,
    scaled_dot_product_attention,
)


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
    arrays = [mx.array(x) for x in (q, k, v)]
    for cut in ([], [30], [1, 40]):  # keys and values whole, and in blocks
        keys, values = (mx.split(x, cut, axis=2) for x in arrays[1:])
        masks = mx.split(mx.array(keep[:, 0, 0]), cut, axis=1)
        got = scaled_dot_product_attention(arrays[0], keys, values, scale=0.35, masks=masks).transpose(0, 2, 1, 3)
        np.testing.assert_allclose(np.array(got), exact_attention(q, k, v, 0.35, keep), atol=3e-5)
        full = scaled_dot_product_attention(arrays[0], keys, values, scale=0.35, masks=[None] * len(keys))
        full = full.transpose(0, 2, 1, 3)  # (B, H, U, Dh)
        np.testing.assert_allclose(np.array(full), exact_attention(q, k, v, 0.35, np.ones_like(keep)), atol=3e-5)


def test_a_power_of_two_is_exact_to_float32():
    """2e-7: the polynomial has 7.5e-8, float32 rounds twice. 1e-29: what a masked key may weigh.

    Multiples of 2^-12, so that the half that is added on the way is exact.
    """
    x = -(np.arange(0, 99 * 4096, 17) / 4096).astype(np.float32)[:, None]
    got = np.array(powers_of_two(mx.array(x), mx.zeros((1, 1))))
    np.testing.assert_allclose(got, 2.0 ** x.astype(np.float64), rtol=2e-7)
    far = np.array(powers_of_two(mx.array([[-200.0], [-4e5], [MASKED], [-1e9]], dtype=mx.float32), mx.zeros((1, 1))))
    assert np.abs(far).max() < 1e-29


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_attention_shows_what_is_not_finite(bad: float):
    """The bit arithmetic of the exponential would turn NaN into a number."""
    q, k, v = np.random.default_rng(0).standard_normal((3, 1, 1, 4, 8)).astype(np.float32)
    q[..., 0], k[0, 0, 2, 0] = 1.0, bad  # every query's score of that key is +inf or NaN
    got = scaled_dot_product_attention(mx.array(q), [mx.array(k)], [mx.array(v)], scale=1.0, masks=[None])
    assert not np.isfinite(np.array(got)).all(axis=-1).any()


@pytest.mark.parametrize("taps", [1, 2, 4, 11, 21])
def test_depthwise_convolution(taps: int):
    """Oracles: the definition in float64, and MLX's own grouped convolution."""
    rng = np.random.default_rng(taps)
    x, weight = rng.standard_normal((2, 40, 6)).astype(np.float32), rng.standard_normal((6, taps, 1)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), taps, axis=1)  # (B, T, D, K)
    expected = np.einsum("btdk,dk->btd", windows, weight[:, :, 0])
    got = depthwise_conv1d(mx.array(x), depthwise_taps(mx.array(weight)))
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


def test_argmax_is_mlxs_and_the_first_of_equal_ones():
    """Oracle: by hand, and MLX's own, of float32 and of what it leaves to MLX."""
    hand = mx.array([[1.0, 3.0, 3.0], [-math.inf, -math.inf, -2.0]])
    assert argmax(hand).tolist() == [1, 2]
    x = mx.random.normal((2, 5, 3001), key=mx.random.key(0))
    for each in (x, x.astype(mx.float16), x.transpose(0, 2, 1)):
        got = argmax(each)
        assert got.dtype == mx.uint32
        assert got.tolist() == each.argmax(axis=-1).tolist()
