"""CIF's peaks as FunASR marks them, as values. Oracles: by hand, and a loop over the frames (decisions/cif.py)."""

from __future__ import annotations

import numpy as np
import pytest

from parity.families.paraformer.candidate import peaks
from parity.taps.distances import Comparison
from parity.taps.packing import Pair
from parity.taps.tapset import load_tapset
from parity.taps.trace import Recorded

TAPSET = load_tapset("paraformer")


def test_a_peak_is_the_remainder_and_one_more_where_a_token_fires():
    """0.4 + 0.7 is a token and 0.1 of the next; the last frame completes two of them at once, and marks one."""
    sums = np.cumsum(np.array([[0.4, 0.7, 0.3, 0.85, 2.0]]), axis=1)
    np.testing.assert_allclose(peaks(sums), [[0.4, 1.1, 0.4, 1.25, 1.25]], atol=1e-12)


def test_peaks_are_funasrs_loop():
    """Mirrors cif_predictor.py::cif, which keeps the integral before it takes 1 off."""
    alphas = np.random.default_rng(0).random((1, 200)) * 0.8
    integral, expected = 0.0, []
    for alpha in alphas[0]:
        integral += alpha
        expected.append(integral)
        integral -= 1.0 if integral >= 1.0 else 0.0
    np.testing.assert_allclose(peaks(np.cumsum(alphas, axis=1))[0], expected, atol=1e-9)


@pytest.mark.parametrize(("moved", "status"), [(3e-7, "pass"), (1e-4, "fail")])
def test_a_peak_of_the_wrong_height_fails_though_all_fire_where_they_should(moved: float, status: str):
    truth = peaks(np.cumsum(np.full((1, 50), 0.31), axis=1))
    single = (truth + 1e-7 * np.random.default_rng(1).standard_normal(truth.shape)).astype(np.float32)
    comparison = Comparison(TAPSET, TAPSET.precisions["float32"])
    recorded = Recorded(plain={}, propagated={"predictor.peaks": Pair.of(truth, single)})
    comparison.add_propagated("utt", recorded, {"predictor.peaks": truth + moved}, frozenset())
    (row,) = comparison.rows()
    assert ((truth + moved >= 1.0) == (truth >= 1.0)).all()
    assert (row.name, row.status, row.tolerance_ratio) == ("predictor.peaks", status, 10.0)
