"""The bootstraps. Oracles: closed forms, every possible draw of a small set, kaldialign, and simulated sets whose true
rate is known. All seeds are fixed, so no result varies from run to run.
"""

import itertools
import math
import tracemalloc

import kaldialign
import numpy as np
import pytest

from parity.cer import statistics
from parity.cer.statistics import bootstrap_interval, corpus_rate, paired_bootstrap

SMALL = np.array([[0, 1, 10], [3, 1, 12], [1, 1, 9], [0, 2, 8], [7, 4, 11]])  # errors of A, errors of B, length


def simulated(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors and lengths of utterances of 5 to 25 characters, each with a rate of its own; the true rate is 1/16."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(5, 26, size)
    return generator.binomial(lengths, generator.beta(1, 15, size)), lengths


def simulated_speakers(seed: int, speakers: int, each: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors, lengths and speakers; a speaker's rate is gamma distributed, 0.06 in the mean and half as much spread."""
    generator = np.random.default_rng(seed)
    rates = np.repeat(generator.gamma(4, 0.015, speakers).clip(max=1), each)
    lengths = generator.integers(5, 26, speakers * each)
    return generator.binomial(lengths, rates), lengths, np.repeat(np.arange(speakers), each)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another_one():
    errors, lengths = [0, 3, 1, 0, 7, 2, 0, 1], [10, 12, 9, 8, 11, 10, 7, 13]
    first = bootstrap_interval(errors, lengths)
    assert first == bootstrap_interval(errors, lengths)
    assert first != bootstrap_interval(errors, lengths, seed=1)
    assert first.low < sum(errors) / sum(lengths) < first.high
    assert (first.resamples, first.seed, first.note) == (10_000, 0, "")


@pytest.mark.parametrize("size", [50, 5000])  # drawn one by one; drawn by how often each distinct one occurs
def test_the_order_of_the_utterances_does_not_matter(size):
    errors, lengths = simulated(0, size)
    order = np.random.default_rng(1).permutation(size)
    assert bootstrap_interval(errors, lengths) == bootstrap_interval(errors[order], lengths[order])
    labels = order % 25
    assert bootstrap_interval(errors, lengths, groups=labels) == bootstrap_interval(
        errors[order], lengths[order], groups=[f"S{label}" for label in labels[order]]
    )


def test_the_interval_of_independent_utterances_is_the_binomials():
    # 2000 utterances of one character, 20 % wrong: standard error sqrt(0.2 * 0.8 / 2000). The quantile of 10,000 draws
    # is itself uncertain by 1.4 % of the half width (1 sigma), and rates come in steps of 1/2000, 2.9 % of it.
    errors = np.arange(2000) % 5 == 0
    interval = bootstrap_interval(errors.astype(int).tolist(), [1] * 2000)
    half = 1.96 * math.sqrt(0.2 * 0.8 / 2000)
    assert interval.low == pytest.approx(0.2 - half, abs=0.06 * half)
    assert interval.high == pytest.approx(0.2 + half, abs=0.06 * half)
    assert interval.resamples == 10_000


def test_the_rate_of_a_drawn_set_is_over_its_own_length():
    # Two utterances, 0/1 and 9/9: drawn sets have 0/2 (1 in 4), 9/10 (2 in 4) or 18/18 (1 in 4), never 9/18.
    interval = bootstrap_interval([0, 9], [1, 9])
    assert (interval.low, interval.high) == (0.0, 1.0)


@pytest.mark.parametrize("cost", [0, math.inf])  # as if the one way to draw cost nothing, and the other way round
def test_both_ways_of_drawing_have_the_distribution_of_all_possible_draws(monkeypatch, cost):
    # All 5^5 sets, equally likely. A share p of 40,000 draws has the standard error sqrt(p (1 - p) / 40000) <= 0.0025;
    # 0.01 leaves four of them, for the distribution function at every rate as for the probabilities.
    monkeypatch.setattr(statistics, "_BINOMIAL_COST", cost)
    sets = SMALL[np.array(list(itertools.product(range(5), repeat=5)))].sum(axis=1)
    drawn = statistics._sums(SMALL, 40_000, np.random.default_rng(0))
    for column in (0, 1):
        exact, found = (np.sort(sums[:, column] / sums[:, 2]) for sums in (sets, drawn))
        places = np.unique(exact) + 1e-12
        shares = [np.searchsorted(values, places) / len(values) for values in (exact, found)]
        assert np.abs(shares[0] - shares[1]).max() < 0.01
    result = paired_bootstrap(*SMALL.T, resamples=40_000)
    assert result.probability_of_improvement == pytest.approx((sets[:, 1] < sets[:, 0]).mean(), abs=0.01)
    assert result.probability_of_tie == pytest.approx((sets[:, 1] == sets[:, 0]).mean(), abs=0.01)
    assert result.difference == (9 - 11) / 50


def test_equal_utterances_leave_no_width():
    interval = bootstrap_interval([1] * 30, [4] * 30)
    assert (interval.low, interval.high) == (0.25, 0.25)


def test_one_utterance_has_its_rate_as_interval_and_says_so():
    interval = bootstrap_interval([1], [4])
    assert (interval.low, interval.high, interval.resamples) == (0.25, 0.25, 0)
    assert interval.note == "1 utterance: the interval is the rate itself, a bootstrap needs at least 2"
    interval = bootstrap_interval([], [])
    assert (interval.low, interval.high, interval.resamples) == (0.0, 0.0, 0)


def test_drawn_sets_without_a_reference_character_have_no_rate():
    mixed = bootstrap_interval([2, 1], [0, 4])  # both empty: 1 in 4 draws, left out
    assert (mixed.low, mixed.high) == (0.25, 0.75)
    assert mixed.resamples == pytest.approx(7500, abs=200)  # standard error sqrt(10000 * 3/16) = 43
    empty = bootstrap_interval([0, 0], [0, 0])
    assert (empty.low, empty.high, empty.note) == (0.0, 0.0, "no reference character: the interval is the rate itself")
    assert bootstrap_interval([1, 0], [0, 0]).high == math.inf


def test_drawing_in_blocks_changes_nothing(monkeypatch):
    whole = [bootstrap_interval(*simulated(0, size), resamples=1001) for size in (50, 5000)]
    monkeypatch.setattr(statistics, "_BLOCK_ELEMENTS", 700)
    assert [bootstrap_interval(*simulated(0, size), resamples=1001) for size in (50, 5000)] == whole
    assert whole[0].resamples == 1001


def test_memory_does_not_grow_with_the_resamples():
    errors, lengths = np.arange(5000) % 7, 1000 + np.arange(5000)  # no two alike: 400 MB of numbers are drawn
    tracemalloc.start()
    bootstrap_interval(errors, lengths)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12e6  # three arrays of one block, 2 MB each, and the sums


def test_corpus_rate_without_reference_characters():
    assert [corpus_rate(1, 4), corpus_rate(0, 0), corpus_rate(3, 0)] == [0.25, 0.0, math.inf]
    assert corpus_rate(-3, 0) == -math.inf


@pytest.mark.parametrize(
    ("arguments", "groups", "message"),
    [
        (([1, 2], [3]), None, r"the lists hold \[2, 1\]"),
        (([1, 2], [3, 4]), ["a"], r"the lists hold \[2, 2, 1\]"),
        (([1, 2], [3, 4]), ["a", None], "an utterance has no speaker"),
    ],
)
def test_lists_that_do_not_belong_together_are_refused(arguments, groups, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(*arguments, groups=groups)
    with pytest.raises(ValueError, match="at least one set must be drawn, not 0"):
        bootstrap_interval([1, 2], [3, 4], resamples=0)


def test_speakers_are_drawn_whole():
    # Two speakers, 0/10 and 5/10, of five utterances each: only these two and the mean of both can be drawn.
    labels = ["S1"] * 5 + ["S2"] * 5
    interval = bootstrap_interval([0] * 5 + [1] * 5, [2] * 10, groups=labels)
    assert (interval.low, interval.high, interval.resamples) == (0.0, 0.5, 10_000)
    assert interval.note == "only 2 speakers: an interval over so few is too narrow"
    assert bootstrap_interval([0] * 5 + [1] * 5, [2] * 10, groups=np.repeat([7, 3], 5)) == interval
    alone = bootstrap_interval([0, 1], [2, 2], groups=["S1", "S1"])
    assert (alone.low, alone.high) == (0.25, 0.25)
    assert alone.note == "1 speaker: the interval is the rate itself, a bootstrap needs at least 2"
    many = np.arange(40) // 2
    assert bootstrap_interval([0, 1] * 20, [2] * 40, groups=many).note == ""


def test_utterances_as_their_own_speakers_are_utterances():
    errors, lengths = simulated(0, 60)
    assert bootstrap_interval(errors, lengths, groups=range(60)) == bootstrap_interval(errors, lengths)


def test_the_interval_holds_the_true_rate_in_about_95_percent_of_simulated_sets():
    # 200 utterances each: 0.938 of 1,000 sets in a longer run (a percentile interval of a skewed rate holds a little
    # less than 95 %); the share of 400 sets has a standard error of 0.012, of which the bounds leave three.
    held = 0
    for seed in range(400):
        interval = bootstrap_interval(*simulated(seed, 200), resamples=500, seed=seed)
        held += interval.low <= 1 / 16 <= interval.high
    assert 0.90 < held / 400 < 0.975


def test_speakers_give_a_wider_interval_that_holds_where_utterances_do_not():
    # 40 speakers with 25 utterances each. The true variance of the rate is that of the speakers plus that of the
    # utterances, so drawing utterances holds far less than it claims.
    held, widths = np.zeros(2), np.zeros(2)
    for seed in range(200):
        errors, lengths, speakers = simulated_speakers(seed, 40, 25)
        for place, groups in enumerate((None, speakers)):
            interval = bootstrap_interval(errors, lengths, groups=groups, resamples=500, seed=seed)
            held[place] += interval.low <= 0.06 <= interval.high
            widths[place] += interval.high - interval.low
    assert 2 < widths[1] / widths[0] < 3
    assert held[0] / 200 < 0.7
    assert 0.89 < held[1] / 200 < 0.98  # 0.945 +- three standard errors of 0.016


def test_it_agrees_with_kaldialign():
    # kaldialign's half width is 1.96 standard deviations of its drawn rates. Standard errors of 10,000 draws: 0.7 % of
    # a standard deviation, 1.4 % of a quantile's distance, both sides together below 2 % of the half width; and at
    # most sqrt(2) * 0.005 of a probability. Three of each; the skew of the rates adds what is left.
    errors_a, lengths = simulated(3, 400)
    generator = np.random.default_rng(5)
    errors_b = generator.binomial(lengths, errors_a.sum() / lengths.sum())  # the same rate: neither is clearly better
    references = [[0] * length for length in lengths]
    hypotheses = [
        [[1] * wrong + [0] * (length - wrong) for wrong, length in zip(errors, lengths, strict=True)]
        for errors in (errors_a, errors_b)
    ]
    theirs = kaldialign.bootstrap_wer_ci(references, *hypotheses)
    for errors, name in ((errors_a, "system1"), (errors_b, "system2")):
        interval = bootstrap_interval(errors, lengths)
        assert (interval.high - interval.low) / 2 == pytest.approx(theirs[name]["ci95"], rel=0.07)
        assert (interval.high + interval.low) / 2 == pytest.approx(theirs[name]["wer"], rel=0.02)
    ours = paired_bootstrap(errors_a, errors_b, lengths)
    assert 0.02 < ours.probability_of_improvement < 0.98
    assert ours.probability_of_improvement == pytest.approx(theirs["p_s2_improv_over_s1"], abs=0.022)


def test_identical_systems_have_no_difference_and_only_ties():
    errors, lengths = simulated(0, 100)
    result = paired_bootstrap(errors, errors, lengths)
    assert (result.difference, result.low, result.high) == (0.0, 0.0, 0.0)
    assert (result.probability_of_improvement, result.probability_of_tie) == (0.0, 1.0)


def test_swapping_the_systems_turns_the_result_round():
    errors_a, lengths = simulated(0, 300)
    errors_b, _ = simulated(1, 300)
    one, other = paired_bootstrap(errors_a, errors_b, lengths), paired_bootstrap(errors_b, errors_a, lengths)
    assert other.difference == -one.difference
    total = one.probability_of_improvement + other.probability_of_improvement
    # Two independent estimates: each has a standard error of at most 0.005, their sum 0.0071.
    assert total == pytest.approx(1 - one.probability_of_tie, abs=0.025)
    assert other.low == pytest.approx(-one.high, abs=0.04 * (one.high - one.low))


def test_both_systems_are_scored_on_the_same_drawn_sets():
    # B makes one error more in every utterance of length 10: whatever is drawn, the difference is 0.1 exactly.
    errors, _ = simulated(0, 200)
    result = paired_bootstrap(errors, errors + 1, np.full(200, 10))
    assert (result.low, result.high) == (pytest.approx(0.1, abs=1e-12), pytest.approx(0.1, abs=1e-12))
    assert (result.probability_of_improvement, result.probability_of_tie) == (0.0, 0.0)
    apart = bootstrap_interval(errors, np.full(200, 10))
    assert apart.high - apart.low > 0.02  # what both share


def test_the_paired_interval_holds_the_true_difference_and_is_wider_over_speakers():
    # A speaker's rates of both systems differ by an amount of their own, 0 in the mean.
    held, widths = np.zeros(2), np.zeros(2)
    for seed in range(200):
        generator = np.random.default_rng(seed)
        speakers, lengths = np.repeat(np.arange(40), 25), np.full(1000, 15)
        gain = np.repeat(generator.uniform(-0.04, 0.04, 40), 25)
        errors_a, errors_b = generator.binomial(lengths, 0.08 + gain), generator.binomial(lengths, 0.08 - gain)
        for place, groups in enumerate((None, speakers)):
            result = paired_bootstrap(errors_a, errors_b, lengths, groups=groups, resamples=500, seed=seed)
            held[place] += result.low <= 0 <= result.high
            widths[place] += result.high - result.low
    assert widths[1] / widths[0] > 1.5
    assert held[0] / 200 < 0.8
    assert 0.89 < held[1] / 200 < 0.985


def test_a_pair_of_which_nothing_can_be_drawn_says_so():
    one = paired_bootstrap([2], [1], [4])
    assert (one.difference, one.low, one.high, one.resamples) == (-0.25, -0.25, -0.25, 0)
    assert (one.probability_of_improvement, one.probability_of_tie) == (1.0, 0.0)
    assert one.note == "1 utterance: the interval is the difference itself, a bootstrap needs at least 2"
    empty = paired_bootstrap([0, 1], [0, 2], [0, 0])
    assert (empty.difference, empty.low, empty.probability_of_improvement) == (math.inf, math.inf, 0.0)
    assert empty.note == "no reference character: the interval is the difference itself"
    nothing = paired_bootstrap([], [], [])
    assert (nothing.difference, nothing.probability_of_tie, nothing.resamples) == (0.0, 1.0, 0)
