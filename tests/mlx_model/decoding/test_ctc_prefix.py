"""CTC's n-best. Oracle: all paths, collapsed and summed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.decoding.ctc_prefix import n_best
from mlx_model.decoding.greedy import runs


def brute(log_probs: np.ndarray, blank_id: int) -> list[tuple[tuple[int, ...], float]]:
    """Return every reading of (T, V) log-probabilities with its probability, the likeliest first."""
    total: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        read = tuple(run.token_id for run in runs(np.array(path), blank_id))
        total[read] = total.get(read, 0.0) + float(np.exp(sum(log_probs[t, v] for t, v in enumerate(path))))
    return sorted(total.items(), key=lambda item: -item[1])


@given(st.integers(1, 5), st.integers(2, 4), st.integers(0, 999), st.integers(0, 1))
def test_with_all_candidates_and_a_wide_beam_it_is_exact(frames: int, tokens: int, seed: int, blank_id: int):
    raw = np.random.default_rng(seed).standard_normal((frames, tokens))
    log_probs = raw - np.log(np.exp(raw).sum(-1, keepdims=True))
    every = brute(log_probs, blank_id)
    ids = np.broadcast_to(np.arange(tokens), log_probs.shape)
    found = n_best(ids, log_probs, blank_id, 6, beam=10_000)
    assert [tuple(read) for read, _ in found] == [read for read, _ in every[:6]]
    np.testing.assert_allclose(np.exp([score for _, score in found]), [p for _, p in every[:6]], rtol=1e-9)


def test_by_hand():
    """Two frames, blank 0.6, token 0.4 each: nothing 0.36, the token 0.4 * 0.6 * 2 + 0.16 = 0.64 although the best
    path is two blanks."""
    log_probs = np.log(np.array([[0.6, 0.4]] * 2))
    found = n_best(np.array([[0, 9]] * 2), log_probs, 0, 5)
    assert [read for read, _ in found] == [[9], []]
    assert np.exp([score for _, score in found]) == pytest.approx([0.64, 0.36])


def test_no_frames_read_nothing():
    assert n_best(np.zeros((0, 2), int), np.zeros((0, 2)), 0, 3) == [([], 0.0)]
