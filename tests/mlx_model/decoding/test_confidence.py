"""How sure a network is. Oracles: softmax in float64 on the host, closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlx_model.decoding import confidence
from mlx_model.decoding.confidence import certainty
from mlx_model.machine.blas import mx


def truth(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log-probabilities and entropies in float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    p = np.exp(log_probs)
    return log_probs, -np.where(p > 0, p * log_probs, 0.0).sum(-1)


@pytest.fixture(params=[False, True], ids=["cpu", "gpu"], autouse=True)
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """What a GPU is given runs here too, on MLX's CPU."""
    monkeypatch.setattr(confidence, "on_gpu", lambda: request.param)
    return request.param


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_it_is_the_softmax_in_float64(scale: float):
    """Float32 sums of 5,000 terms stray by a few units of 6e-8 times their square root; 2e-5 is ten times that."""
    rng = np.random.default_rng(1)
    logits = (rng.standard_normal((3, 7, 5000)) * scale).astype(np.float32)
    tokens = logits.argmax(-1)
    found = certainty(mx.array(logits), mx.array(tokens), 4)
    log_probs, entropy = truth(logits)
    np.testing.assert_allclose(
        np.array(found.log_probs), np.take_along_axis(log_probs, tokens[..., None], -1)[..., 0], rtol=2e-5, atol=2e-6
    )
    np.testing.assert_allclose(np.array(found.entropy), entropy, rtol=2e-5, atol=2e-6)
    order = np.argsort(-log_probs, -1, kind="stable")[..., :4]
    np.testing.assert_array_equal(np.array(found.top_ids), order)
    best = np.take_along_axis(log_probs, order, -1)
    np.testing.assert_allclose(np.array(found.top_log_probs), best, rtol=2e-5, atol=2e-6)


def test_closed_forms_and_tokens_that_are_banned():
    """Even over 8: probability 1/8, entropy ln 8; of two left by a ban 1/2 and ln 2. Of one kind: 1, and no doubt."""
    even = np.zeros((1, 3, 8), np.float32)
    even[0, 1, 2:] = -np.inf
    even[0, 2, 1:] = -200.0
    found = certainty(mx.array(even), mx.zeros((1, 3), mx.uint32))
    np.testing.assert_allclose(np.array(found.log_probs)[0], [-math.log(8), -math.log(2), 0.0], atol=1e-6)
    np.testing.assert_allclose(np.array(found.entropy)[0], [math.log(8), math.log(2), 0.0], atol=1e-6)


def test_of_equal_tokens_the_first_is_the_best_one_as_argmax_has_it():
    logits = mx.array([[[0.0, 5.0, 5.0, 5.0, 1.0]]])
    assert np.array(certainty(logits, logits.argmax(-1), 3).top_ids).tolist() == [[[1, 2, 3]]]


def test_padding_is_left_out_and_half_precision_is_widened():
    logits = mx.array(np.random.default_rng(0).standard_normal((2, 4, 9)).astype(np.float16))
    found = certainty(logits, logits.argmax(-1), 99)
    assert found.log_probs.dtype in (mx.float32, np.float32)
    rows = found.rows([4, 1])
    assert [row.log_probs.shape for row in rows] == [(4,), (1,)]
    assert [row.top_ids.shape for row in rows] == [(4, 9), (1, 9)]
    alone = certainty(logits[1:, :1], logits[1:, :1].argmax(-1), 99).rows([1])[0]
    for left, right in zip(rows[1], alone, strict=True):
        np.testing.assert_array_equal(left, right)


def test_nothing_is_no_positions():
    (row,) = certainty(mx.zeros((1, 0, 5)), mx.zeros((1, 0), mx.uint32), 2).rows([0])
    assert (row.log_probs.shape, row.top_ids.shape) == ((0,), (0, 2))


def test_positions_that_nobody_asks_for_cost_nothing(both_ways: bool):
    logits = mx.array(np.random.default_rng(0).standard_normal((1, 3, 5)).astype(np.float32))
    best = logits.argmax(-1)
    found = np.array(certainty(logits, best, kept=mx.array([[True, False, True]])).log_probs)[0]
    every = np.array(certainty(logits, best).log_probs)[0]
    np.testing.assert_array_equal(found[[0, 2]], every[[0, 2]])
    assert both_ways or found[1] == 0.0
