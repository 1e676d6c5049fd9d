"""The comparison itself: what must fail, fails. Oracle: arrays made by hand, with known distances."""

from __future__ import annotations

import numpy as np
import pytest

from parity.layers.cif import firing_differences, token_differences
from parity.layers.compare import Comparison, rel_l2
from parity.layers.tapset import load_tapset

TAP = "encoder.after_norm"
RNG = np.random.default_rng(0)
TRUTH = RNG.standard_normal((1, 20, 8))
REFERENCE = TRUTH + 1e-7 * RNG.standard_normal(TRUTH.shape)


def verdict(candidate: np.ndarray, truth: np.ndarray = TRUTH, reference: np.ndarray = REFERENCE):
    comparison = Comparison(load_tapset("paraformer"))
    comparison.add_network("utt", {TAP: truth}, {TAP: reference}, {TAP: candidate})
    (row,) = comparison.rows()
    return row


def test_rel_l2_by_hand():
    assert rel_l2(np.array([3.0, 4.0]), np.array([3.0, 4.5])) == pytest.approx(0.1)
    assert rel_l2(np.zeros(2), np.zeros(2)) == 0.0
    assert rel_l2(np.zeros(2), np.ones(2)) == float("inf")


def test_twice_the_floor_passes_and_ten_times_fails():
    assert verdict(TRUTH + 2e-7 * RNG.standard_normal(TRUTH.shape)).status == "pass"
    row = verdict(TRUTH + 1e-6 * RNG.standard_normal(TRUTH.shape))
    assert row.status == "fail"
    assert 8 < row.ratio < 12
    assert "times the floor" in row.reason


def test_the_worst_element_is_named():
    candidate = REFERENCE.copy()
    candidate[0, 7, 3] += 0.5
    row = verdict(candidate)
    assert row.worst["index"] == [0, 7, 3]
    assert row.max_abs == pytest.approx(0.5, rel=1e-5)
    assert row.worst["candidate"] == candidate[0, 7, 3]


@pytest.mark.parametrize(
    "candidate",
    [
        np.full_like(TRUTH, np.nan),
        TRUTH[:, :19],
        TRUTH[:, :0],
        np.zeros_like(TRUTH),
        np.where(TRUTH > 2, np.inf, TRUTH),
    ],
)
def test_never_passes(candidate: np.ndarray):
    """NaN, another shape, nothing, zeros, infinity (known_porting_faults 30)."""
    assert verdict(candidate).status == "fail"


def test_nan_on_both_sides_is_not_agreement():
    bad = np.full_like(TRUTH, np.nan)
    assert verdict(bad, bad, bad).status == "fail"


def test_a_tap_on_one_side_only_fails():
    comparison = Comparison(load_tapset("paraformer"))
    comparison.add_network("utt", {TAP: TRUTH}, {TAP: REFERENCE}, {})
    assert comparison.rows()[0].status == "fail"


def test_one_bad_utterance_among_many_is_found():
    comparison = Comparison(load_tapset("paraformer"))
    for number in range(30):
        error = 1e-6 if number == 17 else 1e-7
        comparison.add_network(
            f"utt{number}", {TAP: TRUTH}, {TAP: REFERENCE}, {TAP: TRUTH + error * RNG.standard_normal(TRUTH.shape)}
        )
    assert comparison.rows()[0].status == "fail"


def test_one_lucky_floor_does_not_raise_an_alarm():
    """An utterance whose own float32 distance happens to be tiny is judged by the typical floor."""
    comparison = Comparison(load_tapset("paraformer"))
    for number in range(10):
        floor = 1e-9 if number == 3 else 1e-7
        comparison.add_network(
            f"utt{number}", {TAP: TRUTH}, {TAP: TRUTH + floor * RNG.standard_normal(TRUTH.shape)},
            {TAP: TRUTH + 2e-7 * RNG.standard_normal(TRUTH.shape)},
        )  # fmt: skip
    row = comparison.rows()[0]
    assert row.status == "pass"
    assert row.ratio < 4


def test_discrete_taps_count_entries():
    comparison = Comparison(load_tapset("paraformer"))
    one, other = np.array([[True, False, True]]), np.array([[True, True, False]])
    comparison.add_network("utt", {"predictor.fires": one}, {"predictor.fires": one}, {"predictor.fires": other})
    row = comparison.rows()[0]
    assert (row.status, row.max_abs, row.ratio) == ("fail", 2, None)


def fires(alphas: np.ndarray) -> np.ndarray:
    total = np.floor(np.cumsum(alphas.astype(np.float64)).astype(np.float32))
    return total > np.concatenate([[0.0], total[:-1]])


def test_a_firing_on_the_edge_is_explained_and_a_moved_one_is_not():
    truth = np.array([0.5, 0.5 - 1e-8, 0.3, 0.3])
    found = firing_differences(
        truth, truth.astype(np.float32), np.array([0, 0, 1, 0], bool), np.array([0, 1, 0, 0], bool)
    )
    assert (found.count, found.explained) == (2, 2)
    moved = np.array([0.5, 0.2, 0.3, 0.3])
    found = firing_differences(
        np.array([0.5, 0.6, 0.3, 0.3]), np.array([0.5, 0.6, 0.3, 0.3], np.float32),
        fires(np.array([0.5, 0.6, 0.3, 0.3])), fires(moved),
    )  # fmt: skip
    assert found.count == 2
    assert found.explained == 0


def test_wrong_alphas_do_not_excuse_their_firings():
    """Alphas that are simply wrong stray far from the truth; that must not widen the floor that judges them."""
    truth = np.array([0.43, 0.43, 0.43, 0.43, 0.43])
    wrong = truth * 0.8
    found = firing_differences(truth, truth.astype(np.float32), fires(truth), fires(wrong))
    assert found.count > 0
    assert found.explained == 0


def test_token_flips_by_margin():
    truth = np.array([[1.0, 1.0 + 1e-7, 0.0], [3.0, 1.0, 0.0]])
    reference = truth + np.array([[1e-7, -1e-7, 0.0], [1e-7, 0.0, 0.0]])
    found = token_differences(truth, reference, truth)
    assert (found.count, found.explained) == (1, 1)
    wrong = truth + np.array([[0.0, 0.0, 0.0], [-3.0, 0.0, 0.0]])
    found = token_differences(truth, truth + 1e-7, wrong)
    assert (found.count, found.explained) == (1, 0)
    assert token_differences(truth, reference, truth[:1]).explained == 0
