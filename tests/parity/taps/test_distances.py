"""The comparison itself: what must fail, fails. Oracle: arrays made by hand, with known distances."""

from __future__ import annotations

import numpy as np
import pytest

from parity.decisions.cif import add_cif
from parity.taps.distances import Comparison, added_up, rel_l2
from parity.taps.packing import Pair, frame_errors, pack
from parity.taps.tapset import load_tapset
from parity.taps.trace import Recorded

TAP = "encoder.after_norm"
RNG = np.random.default_rng(0)
TRUTH = RNG.standard_normal((1, 20, 8))
REFERENCE = TRUTH + 1e-7 * RNG.standard_normal(TRUTH.shape)


TAPSET = load_tapset("paraformer")


def comparison() -> Comparison:
    return Comparison(TAPSET, TAPSET.precisions["float32"])


def add(to: Comparison, utt_id: str, truth: np.ndarray, reference: np.ndarray, candidate: np.ndarray | None) -> None:
    taps = {} if candidate is None else {TAP: candidate}
    to.add_propagated(utt_id, Recorded(plain={}, propagated={TAP: Pair.of(truth, reference)}), taps, frozenset())


def verdict(candidate: np.ndarray, truth: np.ndarray = TRUTH, reference: np.ndarray = REFERENCE):
    found = comparison()
    add(found, "utt", truth, reference, candidate)
    (row,) = found.rows()
    return row


def test_rel_l2_by_hand():
    assert rel_l2(np.array([3.0, 4.0]), np.array([3.0, 4.5])) == pytest.approx(0.1)
    assert rel_l2(np.zeros(2), np.zeros(2)) == 0.0
    assert rel_l2(np.zeros(2), np.ones(2)) == float("inf")


def test_twice_the_floor_passes_and_twenty_times_fails():
    assert verdict(TRUTH + 2e-7 * RNG.standard_normal(TRUTH.shape)).status == "pass"
    row = verdict(TRUTH + 2e-6 * RNG.standard_normal(TRUTH.shape))
    assert row.status == "fail"
    assert 16 < row.ratio < 24
    assert "times the floor" in row.reason


@pytest.mark.parametrize("scale", [1e-18, 1.0, 1e12])
def test_distances_of_packed_pairs_are_those_of_the_arrays(scale: float):
    """Oracle: the same distances taken in float64 from the arrays themselves."""
    truth = TRUTH * scale
    reference = REFERENCE.astype(np.float32) * np.float32(scale)
    candidate = (truth + 3e-7 * scale * RNG.standard_normal(TRUTH.shape)).astype(np.float32)
    rows = []
    for pair in (Pair.of(truth, reference), Pair(pack(truth, reference))):
        found = comparison()
        found.add_propagated("utt", Recorded(plain={}, propagated={TAP: pair}), {TAP: candidate}, frozenset())
        rows += found.rows()
    plain, packed = rows
    for name in ("max_abs", "rel_l2", "floor_rel_l2", "ratio"):
        assert getattr(packed, name) == pytest.approx(getattr(plain, name), rel=1e-3)
    assert packed.worst["index"] == plain.worst["index"]
    assert packed.worst_frame["frame"] == plain.worst_frame["frame"]


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
    found = comparison()
    add(found, "utt", TRUTH, REFERENCE, None)
    assert found.rows()[0].status == "fail"


def test_one_bad_utterance_among_many_is_found():
    found = comparison()
    for number in range(30):
        error = 2e-6 if number == 17 else 1e-7
        add(found, f"utt{number}", TRUTH, REFERENCE, TRUTH + error * RNG.standard_normal(TRUTH.shape))
    assert found.rows()[0].status == "fail"


def test_one_lucky_floor_does_not_raise_an_alarm():
    """An utterance whose own float32 distance happens to be tiny is judged by the typical floor."""
    found = comparison()
    for number in range(10):
        floor = 1e-9 if number == 3 else 1e-7
        reference = TRUTH + floor * RNG.standard_normal(TRUTH.shape)
        add(found, f"utt{number}", TRUTH, reference, TRUTH + 2e-7 * RNG.standard_normal(TRUTH.shape))
    row = found.rows()[0]
    assert row.status == "pass"
    assert row.ratio < 4


def test_discrete_taps_count_entries():
    found = comparison()
    one, other = np.array([[True, False, True]]), np.array([[True, True, False]])
    recorded = Recorded(plain={"predictor.fires": one}, propagated={})
    found.add_propagated("utt", recorded, {"predictor.fires": other}, frozenset())
    row = found.rows()[0]
    assert (row.status, row.max_abs, row.ratio) == ("fail", 2, None)


def test_one_frame_out_of_line_is_found_and_named():
    """Diluted over the utterance it is 4 times the floor; alone it is 80 times."""
    truth = RNG.standard_normal((1, 400, 8))
    reference = truth + 1e-7 * RNG.standard_normal(truth.shape)
    candidate = reference.copy()
    candidate[0, 123] += 80e-7
    row = verdict(candidate, truth, reference)
    assert row.ratio < 10
    assert row.status == "fail"
    assert row.worst_frame["frame"] == 123
    assert "frame 123" in row.reason


def test_an_ill_conditioned_frame_is_not_an_alarm():
    """Where the float32 reference itself strays far in one frame, the candidate may too."""
    reference, candidate = REFERENCE.copy(), REFERENCE.copy()
    reference[0, 3] += 1e-4
    candidate[0, 3] -= 1e-4
    assert verdict(candidate, TRUTH, reference).status == "pass"


def test_frame_errors_average_to_rel_l2():
    errors = frame_errors(REFERENCE - TRUTH, float(np.linalg.norm(TRUTH)))
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(rel_l2(TRUTH, REFERENCE), rel=1e-12)


def test_a_module_may_not_introduce_what_it_may_pass_on():
    """Six times the floor: drift where it comes from before, a fault where the module itself adds it."""
    six = TRUTH + 6e-7 * RNG.standard_normal(TRUTH.shape)
    passed_on = comparison()
    add(passed_on, "utt", TRUTH, REFERENCE, six)
    passed_on.add_introduced("utt", {TAP: Pair.of(TRUTH, REFERENCE)}, {TAP: REFERENCE})
    assert passed_on.rows()[0].status == "pass"
    introduced = comparison()
    add(introduced, "utt", TRUTH, REFERENCE, six)
    introduced.add_introduced("utt", {TAP: Pair.of(TRUTH, REFERENCE)}, {TAP: six})
    (row,) = introduced.rows()
    assert (row.status, row.introduced.status) == ("fail", "fail")
    assert "introduced: " in row.reason


def test_introduced_error_is_told_from_propagated():
    """A block that passes on a fault it did not make fails as propagated, and passes alone."""
    found = comparison()
    wrong = TRUTH + 1e-5 * RNG.standard_normal(TRUTH.shape)
    add(found, "utt", TRUTH, REFERENCE, wrong)
    found.add_introduced("utt", {TAP: Pair.of(TRUTH, REFERENCE)}, {TAP: REFERENCE})
    (row,) = found.rows()
    assert (row.status, row.introduced.status) == ("fail", "pass")
    assert row.introduced.ratio == pytest.approx(1.0)


def test_cif_is_held_against_its_oracle():
    alphas = np.array([[0.6, 0.6, 0.3, 0.7]], dtype=np.float32)
    weights = np.array([[[0.6, 0.4, 0.0, 0.0], [0.0, 0.2, 0.3, 0.5]]], dtype=np.float32)
    good = {"predictor.alphas": alphas, "cif.running_sum": np.cumsum(alphas.astype(float), 1), "cif.weights": weights}
    found = comparison()
    add_cif(found, "utt", good)
    assert [row.status for row in found.rows()] == ["pass", "pass"]
    bad = comparison()
    add_cif(bad, "utt", {**good, "cif.running_sum": np.cumsum(alphas, 1, dtype=np.float32).astype(float) + 1e-7})
    assert [row.status for row in bad.rows()] == ["fail", "pass"]


def test_the_floor_of_running_sums_is_what_their_addends_errors_add_up_to():
    """By hand: independent errors of 1e-3 have the variance k 1e-6 after k of them; float32's is nothing here."""
    addends = np.full((1, 100), 0.01)
    sums = np.cumsum(addends, axis=1)
    floor = added_up(Pair.of(addends, addends + 1e-3), Pair.of(sums, sums))
    assert floor == pytest.approx(np.sqrt(1e-6 * np.arange(1, 101).sum()) / np.linalg.norm(sums), rel=1e-6)


def test_one_lucky_draw_of_the_reference_refuses_no_healthy_sum():
    """Errors of the same size cancel in the reference's sum and not in the candidate's: both are right."""
    tapset = load_tapset("monotonic_aligner")
    alphas, errors = np.full((1, 400), 0.02), np.tile([1e-8, -1e-8], 200)[None]
    sums = np.cumsum(alphas, axis=1) % 1.0 + 0.01
    walk = np.cumsum(np.random.default_rng(1).choice([1e-8, -1e-8], (1, 400)), axis=1)
    pairs = {
        "predictor.us_alphas": Pair.of(alphas, alphas + errors),
        "predictor.us_peaks": Pair.of(sums, sums + np.cumsum(errors, axis=1)),
    }
    for factor, status in ((1.0, "pass"), (1000.0, "fail")):
        found = Comparison(tapset, tapset.precisions["float32"])
        taps = {"predictor.us_alphas": alphas, "predictor.us_peaks": sums + factor * walk}
        found.add_propagated("utt", Recorded(plain={}, propagated=pairs), taps, frozenset())
        (row,) = [row for row in found.rows() if row.name == "predictor.us_peaks"]
        assert row.status == status, row.reason
