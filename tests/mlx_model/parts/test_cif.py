"""CIF. Oracle: a float64 loop over the same alphas, frame by frame, as the definition reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.config.parts import CifPredictorConfig
from mlx_model.machine import device
from mlx_model.machine.blas import mx
from mlx_model.parts.cif import CifPredictor, CifPredictorBase, CifPredictorV2, MixingConv1d, cif_weights, running_sum


def integrate_and_fire(alphas: np.ndarray, hidden: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Return firing frames and token vectors of one utterance, in float64, one frame after another."""
    integral, token, fires, tokens = 0.0, np.zeros(hidden.shape[1]), [], []
    for frame, (alpha, vector) in enumerate(zip(alphas.astype(np.float64), hidden.astype(np.float64), strict=True)):
        if integral + alpha < 1.0:
            integral, token = integral + alpha, token + alpha * vector
            continue
        needed = 1.0 - integral
        tokens.append(token + needed * vector)
        fires.append(frame)
        integral = alpha - needed
        token = integral * vector
    return fires, np.array(tokens).reshape(-1, hidden.shape[1])


def predictor(cls: type[CifPredictorBase] = CifPredictorV2, **options) -> Any:
    return cls(CifPredictorConfig(idim=8, l_order=1, r_order=1, **options))


@given(st.integers(0, 10_000), st.integers(1, 120))
@settings(max_examples=60, deadline=None)
def test_one_product_equals_the_loop(seed: int, frames: int):
    rng = np.random.default_rng(seed)
    alphas = rng.random((1, frames)).astype(np.float32) ** 3
    hidden = rng.standard_normal((1, frames, 8)).astype(np.float32)
    output = predictor(tail_threshold=0.45).integrate(mx.array(hidden), mx.array(alphas))
    fires, tokens = integrate_and_fire(alphas[0], hidden[0])
    assert np.flatnonzero(np.array(output.fires[0])).tolist() == fires
    assert int(output.token_num[0]) == len(fires)
    # float32 weights and products of at most 120 frames of size 1: a few units in the last place
    np.testing.assert_allclose(np.array(output.acoustic_embeds[0]), tokens, atol=3e-6)


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_weights_of_a_complete_token_sum_to_one(seed: int):
    alphas = np.random.default_rng(seed).random((2, 60)).astype(np.float32)
    c = np.array(running_sum(mx.array(alphas)))
    whole, part = np.floor(c).astype(np.int32), (c - np.floor(c)).astype(np.float32)
    weights = np.array(cif_weights(mx.array(whole), mx.array(part), int(c[:, -1].min())))
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-5)
    assert (weights >= 0).all()


def test_long_sums_keep_their_precision():
    """At sums near 1500 a float32 running sum is off by 1e-4; the weights here stay at float32's own rounding."""
    rng = np.random.default_rng(1)
    alphas = (0.25 + 0.1 * rng.random((1, 5000))).astype(np.float32)
    hidden = rng.standard_normal((1, 5000, 8)).astype(np.float32)
    output = predictor(tail_threshold=0.45).integrate(mx.array(hidden), mx.array(alphas))
    fires, tokens = integrate_and_fire(alphas[0], hidden[0])
    assert np.flatnonzero(np.array(output.fires[0])).tolist() == fires
    np.testing.assert_allclose(np.array(output.acoustic_embeds[0]), tokens, atol=3e-6)


def alone_and_padded(hidden: np.ndarray, model) -> tuple:
    """The same utterance at batch size one, and beside a longer one with noise in its padding."""
    length = hidden.shape[1]
    padded = np.concatenate([hidden, np.full((1, 5, 8), 7.0, np.float32)], axis=1)
    other = np.ones_like(padded)
    mask = mx.array([[True] * length + [False] * 5, [True] * (length + 5)])
    together = model(mx.array(np.concatenate([padded, other])), mx.array([length, length + 5]), mask)
    return model(mx.array(hidden), mx.array([length])), together


@pytest.mark.parametrize("cls", [CifPredictor, CifPredictorV2])
def test_padding_does_not_leak_into_the_convolution_or_the_tail(cls):
    """FunASR's own predictor fails this (known_porting_faults 13): the encoder's padding reaches the last alphas."""
    rng = np.random.default_rng(5)
    model = predictor(cls, tail_threshold=0.45)
    model.cif_conv1d.weight = mx.array(rng.standard_normal(model.cif_conv1d.weight.shape).astype(np.float32))
    model.cif_output.weight = mx.array(rng.standard_normal((1, 8)).astype(np.float32))
    single, batch = alone_and_padded(rng.standard_normal((1, 31, 8)).astype(np.float32), model)
    count = int(single.token_num[0])
    assert count > 2
    assert int(batch.token_num[0]) == count
    np.testing.assert_allclose(np.array(batch.alphas[0, :32]), np.array(single.alphas[0]), atol=1e-6)
    np.testing.assert_allclose(
        np.array(batch.acoustic_embeds[0, :count]), np.array(single.acoustic_embeds[0]), atol=1e-5
    )


@pytest.mark.parametrize(
    ("total", "tail", "expected"), [(2.54, 0.45, 2), (2.56, 0.45, 3), (2.49, 0.0, 2), (2.51, 0.0, 3), (2.5, 0.0, 2)]
)
def test_token_count_rule(total: float, tail: float, expected: int):
    """By hand: with a tail, floor(sum + 0.45); without one, the sum rounded half to even, as torch.round does."""
    model = predictor(tail_threshold=tail)
    alphas = mx.array([[total / 4] * 4])
    hidden = mx.ones((1, 4, 8))
    if tail:
        alphas, hidden = model.append_tail(alphas, mx.array([4])), mx.pad(hidden, [(0, 0), (0, 1), (0, 0)])
    output = model.integrate(hidden, alphas)
    assert int(output.token_num[0]) == expected
    if not tail and expected == 3:  # counted but never fired: FunASR gives a zero vector
        assert not np.array(output.acoustic_embeds[0, 2]).any()


def test_silence_has_no_tokens():
    output = predictor(tail_threshold=0.45).integrate(mx.ones((2, 6, 8)), mx.zeros((2, 6)))
    assert output.token_num.tolist() == [0, 0]
    assert output.acoustic_embeds.shape == (2, 0, 8)


def test_default_tail_is_that_of_the_version():
    assert predictor(CifPredictor).tail_threshold == 0.45
    assert predictor(CifPredictorV2).tail_threshold == 0.0


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16])
def test_on_a_gpu_the_convolution_is_a_product(dtype: mx.Dtype, monkeypatch: pytest.MonkeyPatch):
    """Oracle: the sum over taps in float64. The module is called, as parity watches it."""
    rng = np.random.default_rng(0)
    model = predictor()
    weight, bias, hidden = (rng.standard_normal(shape) for shape in ((8, 3, 8), (8,), (2, 5, 8)))
    model.cif_conv1d.weight, model.cif_conv1d.bias = mx.array(weight).astype(dtype), mx.array(bias).astype(dtype)
    calls: list[tuple[int, ...]] = []

    class Watched(MixingConv1d):
        def __call__(self, x: mx.array) -> mx.array:
            calls.append(x.shape)
            return super().__call__(x)

    model.cif_conv1d.__class__ = Watched
    monkeypatch.setattr(device, "on_gpu", lambda: True)
    found = np.array(model.convolve(mx.array(hidden).astype(dtype)).astype(mx.float32))
    padded = np.pad(hidden, [(0, 0), (1, 1), (0, 0)])
    exact = sum(padded[:, tap : tap + 5] @ weight[:, tap].T for tap in range(3)) + bias
    assert calls == [(2, 7, 8)]
    np.testing.assert_allclose(found, np.maximum(exact, 0), atol=2e-5 if dtype == mx.float32 else 3e-2)
