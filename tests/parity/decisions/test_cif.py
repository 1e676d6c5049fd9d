"""Discrete outcomes: what rounding explains and what it does not. Oracle: sums and margins made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.decisions.argmax import argmax_differences
from parity.decisions.cif import firing_differences, integrate, token_count_difference
from parity.decisions.decision import line

FLOAT32 = 5.0  # the reference's error once, the candidate's at four times it


def fires(alphas: np.ndarray) -> np.ndarray:
    total = np.floor(np.cumsum(alphas.astype(np.float64)).astype(np.float32))
    return total > np.concatenate([[0.0], total[:-1]])


def explained(rows: list) -> tuple[int, int]:
    return len(rows), sum(row.explained for row in rows)


def test_a_firing_on_the_edge_is_explained():
    truth = np.array([0.5, 0.5 - 1e-8, 0.3, 0.3])
    sides = np.array([0, 0, 1, 0], bool), np.array([0, 1, 0, 0], bool)
    rows = firing_differences("utt", truth, truth.astype(np.float32), *sides, FLOAT32)
    assert explained(rows) == (2, 2)
    assert (rows[0].reference, rows[0].candidate) == ("does not fire", "fires")
    assert rows[0].margin == pytest.approx(1e-8, rel=1e-6)
    assert line(rows[0]).endswith("explained by rounding")


def test_a_moved_firing_is_a_bug():
    truth = np.array([0.5, 0.6, 0.3, 0.3])
    moved = fires(np.array([0.5, 0.2, 0.3, 0.3]))
    rows = firing_differences("utt", truth, truth.astype(np.float32), fires(truth), moved, FLOAT32)
    assert explained(rows) == (2, 0)
    assert line(rows[0]).endswith("a bug")


def test_the_tail_frame_is_named():
    truth = np.array([0.5, 0.3, 0.45])
    rows = firing_differences("utt", truth, truth.astype(np.float32), fires(truth), np.zeros(3, bool), FLOAT32)
    assert rows[0].reference == "fires (the tail frame)"


def test_wrong_alphas_do_not_excuse_their_firings():
    """Alphas that are simply wrong stray far from the truth; that must not widen the floor that judges them."""
    truth = np.full(5, 0.43)
    rows = firing_differences("utt", truth, truth.astype(np.float32), fires(truth), fires(truth * 0.8), FLOAT32)
    assert rows
    assert explained(rows)[1] == 0


def test_token_counts_by_margin():
    truth = np.array([0.5, 0.5 - 1e-8])
    assert explained(token_count_difference("utt", truth, truth.astype(np.float32), (1, 0), FLOAT32)) == (1, 1)
    far = np.array([0.5, 0.3])
    assert explained(token_count_difference("utt", far, far.astype(np.float32), (0, 1), FLOAT32)) == (1, 0)
    assert explained(token_count_difference("utt", truth, truth.astype(np.float32), (1, 3), FLOAT32)) == (1, 0)
    assert token_count_difference("utt", truth, truth.astype(np.float32), (1, 1), FLOAT32) == []


def test_token_flips_by_margin():
    truth = np.array([[1.0, 1.0 + 1e-7, 0.0], [3.0, 1.0, 0.0]])
    reference = truth + np.array([[1e-7, -1e-7, 0.0], [1e-7, 0.0, 0.0]])
    rows = argmax_differences("utt", truth, reference, truth, FLOAT32, lambda token: "甲乙丙"[token])
    assert explained(rows) == (1, 1)
    assert (rows[0].position, rows[0].reference, rows[0].candidate) == (0, "甲", "乙")
    wrong = truth + np.array([[0.0, 0.0, 0.0], [-3.0, 0.0, 0.0]])
    assert explained(argmax_differences("utt", truth, truth + 1e-7, wrong, FLOAT32)) == (1, 0)


def test_more_allowance_explains_more():
    """A float16 candidate may flip where a float32 one may not."""
    truth = np.array([[1.0, 1.001, 0.0]])
    reference = truth + np.array([[1e-7, 0.0, 0.0]])
    other = np.array([[1.002, 1.001, 0.0]])
    assert explained(argmax_differences("utt", truth, reference, other, FLOAT32)) == (1, 0)
    assert explained(argmax_differences("utt", truth, reference, other, 1.0 + 4.0 * 8192.0)) == (1, 1)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60))
def test_the_oracle_shares_every_frame_out(values: list[float]):
    """Every complete token weighs one; a frame's shares are its alpha, the last, unfinished token aside."""
    alphas = np.array(values, dtype=np.float32)
    found = integrate(alphas)
    assert len(found.weights) == found.fires.sum()
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(found.running_sum, np.cumsum(alphas.astype(np.float64)), atol=1e-12)
    if found.fires.any():
        done = np.flatnonzero(found.fires)[-1]
        np.testing.assert_allclose(found.weights.sum(axis=0)[:done], alphas[:done], atol=1e-12)
