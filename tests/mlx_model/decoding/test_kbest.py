"""The best sequences of independent positions. Oracle: all sequences, sorted."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.decoding.kbest import alternatives, choices


def scores_of(positions: int, tokens: int, seed: int, *, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return every position's tokens and log-probabilities, the likeliest first."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 3, (positions, tokens)) if ties else rng.standard_normal((positions, tokens))
    log_probs = raw - np.log(np.exp(raw).sum(-1, keepdims=True))
    ids = np.argsort(-log_probs, -1, kind="stable")
    return ids, np.take_along_axis(log_probs, ids, -1)


def brute(ids: np.ndarray, log_probs: np.ndarray, silent: tuple[int, ...]) -> dict[tuple[int, ...], float]:
    """Return what every sequence prints, with the score of the best one that prints it."""
    best: dict[tuple[int, ...], float] = {}
    for ranks in itertools.product(range(ids.shape[1]), repeat=len(ids)):
        chosen = [ids[place, rank] for place, rank in enumerate(ranks)]
        score = sum(log_probs[place, rank] for place, rank in enumerate(ranks))
        printed = tuple(int(token) for token in chosen if token not in silent)
        best[printed] = max(best.get(printed, -np.inf), score)
    return best


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 999), st.booleans())
def test_every_sequence_comes_once_and_in_order(positions: int, tokens: int, seed: int, ties: bool):
    _, log_probs = scores_of(positions, tokens, seed, ties=ties)
    found = list(choices(log_probs))
    assert len({tuple(ranks) for _, ranks in found}) == len(found) == tokens**positions
    scores = [score for score, _ in found]
    assert all(left >= right - 1e-9 for left, right in itertools.pairwise(scores))
    for score, ranks in found:
        assert score == pytest.approx(sum(log_probs[place, rank] for place, rank in enumerate(ranks)))


@given(st.integers(1, 4), st.integers(1, 12), st.integers(0, 999))
def test_the_best_that_print_something_else(positions: int, number: int, seed: int):
    """Six tokens, of which 0 and 2 print nothing; each position gives its number + 2 likeliest ones."""
    ids, log_probs = scores_of(positions, 6, seed, ties=False)
    every = sorted(brute(ids, log_probs, (0, 2)).items(), key=lambda item: -item[1])
    kept = min(number + 2, 6)
    found = alternatives(ids[:, :kept], log_probs[:, :kept], (0, 2), number)
    assert [tuple(tokens) for tokens, _ in found] == [printed for printed, _ in every[:number]]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in every[:number]], atol=1e-9)


def test_by_hand():
    """0.9 and 0.1, 0.6 and 0.4: 0.54, 0.36, 0.06, 0.04."""
    ids, log_probs = np.array([[7, 8], [5, 6]]), np.log([[0.9, 0.1], [0.6, 0.4]])
    found = alternatives(ids, log_probs, (), 9)
    assert [tokens for tokens, _ in found] == [[7, 5], [7, 6], [8, 5], [8, 6]]
    np.testing.assert_allclose(np.exp([score for _, score in found]), [0.54, 0.36, 0.06, 0.04])


def test_nothing_has_one_reading():
    assert alternatives(np.zeros((0, 3), int), np.zeros((0, 3)), (), 5) == [([], 0.0)]
