"""The candidate's one run in place of three: what it gives is what the three give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from parity import families
from parity.demo import TRACE
from parity.sides.batches import Beside
from parity.sides.candidate import Candidate
from parity.taps.trace import Recorded, Trace


@pytest.fixture(scope="module")
def candidate(converted: Path) -> Candidate:
    return families.candidate(converted)


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    """The bundled trace: needs neither torch nor funasr."""
    trace = Trace.open(TRACE)
    return trace.arrays(trace.utterances[0])


def separately(candidate: Candidate, feats: np.ndarray, own: np.ndarray, inputs):
    return candidate.network(feats), candidate.network(own)["token_ids"], candidate.introduced(inputs, steps=True)


@pytest.mark.parametrize("frames", [0, 1], ids=["same length", "one frame more"])
def test_one_run_gives_what_three_give(
    candidate: Candidate, recorded: Recorded, frames: int, monkeypatch: pytest.MonkeyPatch
):
    """Only the order of summation differs, with the number of rows; where lengths differ, nothing is padded."""
    feats = recorded.plain["feats"]
    separate: list[str] = []
    run = candidate.introduced
    monkeypatch.setattr(candidate, "introduced", lambda inputs, **how: (separate.extend(inputs), run(inputs, **how))[1])
    own = np.concatenate([feats[:, :frames], feats], axis=1) + np.float32(1e-4)
    taps, heard, alone, _ = candidate.run({"feats": feats}, {"feats": own}, recorded.inputs, steps=True)
    assert separate == (list(recorded.inputs) if frames else ["predictor"])
    wanted, ids, isolated = separately(candidate, feats, own, recorded.inputs)
    assert heard == ids.tolist()
    assert taps.keys() == wanted.keys()
    assert alone.keys() == isolated.keys()
    assert any(name.endswith("w_1") for name in alone)
    for found, expected in ((taps, wanted), (alone, isolated)):
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=2e-5 * float(np.abs(value).max(initial=1.0)), rtol=0)


def test_a_truth_with_another_number_of_tokens_is_run_alone(candidate: Candidate, recorded: Recorded):
    feats = recorded.plain["feats"]
    cut = {
        module: {number: value[:, 1:] if module.startswith("decoder.") else value for number, value in given.items()}
        for module, given in recorded.inputs.items()
    }
    alone = candidate.run({"feats": feats}, {"feats": feats}, cut, steps=False).introduced
    expected = candidate.introduced(cut, steps=False)
    assert alone.keys() == expected.keys()
    tokens = recorded.plain["predictor.token_num"].max()
    assert alone["decoder.output_layer"].shape[1] == tokens - 1
    np.testing.assert_array_equal(alone["decoder.output_layer"], expected["decoder.output_layer"])


def test_beside_leaves_a_module_alone_that_is_given_a_mask(candidate: Candidate):
    import mlx.core as mx

    beside = Beside(["0", "-"], {"0": np.ones((1, 2, 3), np.float32)}, mx.float32)
    seen = []
    beside(lambda *args: seen.append(args) or mx.zeros((1, 2, 3)), mx.ones((1, 2, 3)), mx.ones((1, 2)))
    assert not beside.given
    assert seen[0][0].shape == (1, 2, 3)
