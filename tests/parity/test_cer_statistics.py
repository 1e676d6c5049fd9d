"""The bootstrap interval. Oracles: closed forms (equal utterances, the binomial's normal limit) and its own seed."""

import math

import numpy as np
import pytest

from parity.cer import statistics
from parity.cer.statistics import bootstrap_interval, corpus_rate


def test_the_same_seed_gives_the_same_interval_and_another_seed_another_one():
    errors, lengths = [0, 3, 1, 0, 7, 2, 0, 1], [10, 12, 9, 8, 11, 10, 7, 13]
    first = bootstrap_interval(errors, lengths)
    assert first == bootstrap_interval(errors, lengths)
    assert first != bootstrap_interval(errors, lengths, seed=1)
    assert first.low < sum(errors) / sum(lengths) < first.high


def test_the_interval_of_independent_utterances_is_the_binomials():
    # 2000 utterances of one character, 20 % wrong: standard error sqrt(0.2 * 0.8 / 2000). The quantile of 2000 draws is
    # itself uncertain by about 3 % of the half width (1 sigma); 10 % leaves three of them.
    errors = np.arange(2000) % 5 == 0
    interval = bootstrap_interval(errors.astype(int).tolist(), [1] * 2000)
    half = 1.96 * math.sqrt(0.2 * 0.8 / 2000)
    assert interval.low == pytest.approx(0.2 - half, abs=0.1 * half)
    assert interval.high == pytest.approx(0.2 + half, abs=0.1 * half)
    assert interval.resamples == 2000


def test_the_rate_of_a_drawn_set_is_over_its_own_length():
    # Two utterances, 0/1 and 9/9: drawn sets have 0/2 (1 in 4), 9/10 (2 in 4) or 18/18 (1 in 4), never 9/18.
    interval = bootstrap_interval([0, 9], [1, 9])
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_equal_utterances_leave_no_width():
    interval = bootstrap_interval([1] * 30, [4] * 30)
    assert (interval.low, interval.high) == (0.25, 0.25)


def test_one_utterance_has_its_rate_as_interval_and_says_so():
    interval = bootstrap_interval([1], [4])
    assert (interval.low, interval.high, interval.resamples) == (0.25, 0.25, 0)
    assert interval.note == "1 utterance: the interval is the rate itself, a bootstrap needs at least 2"


def test_drawn_sets_without_a_reference_character_have_no_rate():
    mixed = bootstrap_interval([2, 1], [0, 4])  # both empty: 1 in 4 draws, left out
    assert (mixed.low, mixed.high) == (0.25, 0.75)
    assert 1400 < mixed.resamples < 1600
    empty = bootstrap_interval([0, 0], [0, 0])
    assert (empty.low, empty.high, empty.note) == (0.0, 0.0, "no reference character: the interval is the rate itself")


def test_drawing_in_blocks_uses_every_resample(monkeypatch):
    monkeypatch.setattr(statistics, "_BLOCK_ELEMENTS", 100)
    errors, lengths = [0, 3, 1, 0, 7, 2, 0], [10, 12, 9, 8, 11, 10, 7]
    assert bootstrap_interval(errors, lengths, resamples=1001).resamples == 1001


def test_corpus_rate_without_reference_characters():
    assert [corpus_rate(1, 4), corpus_rate(0, 0), corpus_rate(3, 0)] == [0.25, 0.0, math.inf]
