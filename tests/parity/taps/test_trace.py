"""Traces on disk: packing, tampering, the bundled one. The last needs neither torch nor funasr."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.errors import OutputError
from parity.demo import TRACE
from parity.layers.run import check
from parity.taps.packing import Pair, _step, pack
from parity.taps.trace import Trace


@given(st.integers(0, 2**32 - 1), st.floats(-30, 30), st.floats(1e-9, 1e-2))
def test_packing_keeps_the_truth_and_the_references_distance_from_it(seed: int, exponent: float, error: float):
    """Oracle: the arrays themselves. The truth's rest is stored in 1/254 of a float32 step."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((1, 5, 7)) * 2.0**exponent
    reference = (truth * (1.0 + 1e-7 * rng.standard_normal(truth.shape))).astype(np.float32)
    again, single = Pair(pack(truth, reference))
    assert np.abs(again - truth).max() <= 3e-10 * np.abs(truth).max()
    assert np.abs(single.astype(np.float64) - reference).max() <= 1e-3 * np.abs(reference - truth).max()
    far = (truth * (1.0 + error)).astype(np.float32)
    assert np.abs(Pair(pack(truth, far))[1] - far).max() <= 1e-3 * np.abs(far - truth).max() + 1e-45


def test_the_references_errors_are_stored_and_those_of_its_exact_values():
    """Oracle: the two arrays as they are. float16 keeps a distance to 1e-3 only; its length per frame is exact."""
    rng = np.random.default_rng(3)
    truth = rng.standard_normal((1, 6, 9))
    reference = (truth + 1e-6 * rng.standard_normal(truth.shape)).astype(np.float32)
    exact = np.sqrt(((reference - truth) ** 2).sum((0, 2)) / (truth**2).sum() * 6)
    for pair in (Pair(pack(truth, reference)), Pair.of(truth, reference)):
        np.testing.assert_allclose(pair.floors(), exact, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_packing_says_nan_and_infinity(bad: float):
    truth = np.array([[1.0, bad]])
    again, single = Pair(pack(truth, truth.astype(np.float32)))
    np.testing.assert_array_equal(again, truth)
    np.testing.assert_array_equal(single, truth.astype(np.float32))


def test_packing_of_nothing_and_of_zeros():
    for truth in (np.zeros((1, 0, 4)), np.zeros((1, 3, 4))):
        again, single = Pair(pack(truth, truth.astype(np.float32)))
        np.testing.assert_array_equal(again, truth)
        np.testing.assert_array_equal(single, truth)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(TRACE, tmp_path / "trace")
    return tmp_path / "trace"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("no json", "no trace.json"),
        ("not json", "not JSON"),
        ("a list", "schema None"),
        ("old version", "trace/1"),
        ("changed text", "was changed after recording"),
        ("empty", "no utterances"),
        ("truncated arrays", "sha256 is not the recorded one"),
        ("exchanged arrays", "sha256 is not the recorded one"),
        ("no arrays", "cannot be read"),
    ],
)
def test_damaged_traces_are_refused(copied: Path, damage: str, says: str):
    from parity.taps.trace import _digest

    path, arrays = copied / "trace.json", copied / "00000.safetensors"
    document = json.loads(path.read_text("utf-8"))
    changes = {"old version": {"schema": "trace/1"}, "changed text": {"meta": {**document["meta"], "source": "mine"}}}
    if damage == "no json":
        path.unlink()
    elif damage in ("not json", "a list"):
        path.write_text("{" if damage == "not json" else "[]")
    elif damage == "empty":
        body = {"schema": document["schema"], "meta": document["meta"], "utterances": []}
        path.write_text(json.dumps({**body, "sha256": _digest(body)}))
    elif damage in changes:
        path.write_text(json.dumps({**document, **changes[damage]}))
    elif damage == "truncated arrays":
        arrays.write_bytes(arrays.read_bytes()[:5000])
    elif damage == "exchanged arrays":
        arrays.write_bytes(arrays.read_bytes()[:-1] + b"\x00")
    else:
        arrays.unlink()
    with pytest.raises(OutputError, match=says):
        read(copied)


def read(directory: Path) -> None:
    trace = Trace.open(directory)
    trace.arrays(trace.utterances[0])


def test_a_trace_cannot_name_files_outside_its_folder(copied: Path):
    from parity.taps.trace import _digest

    document = json.loads((copied / "trace.json").read_text("utf-8"))
    document.pop("sha256")
    document["utterances"][0]["file"] = "../secret.safetensors"
    (copied / "trace.json").write_text(json.dumps({**document, "sha256": _digest(document)}))
    with pytest.raises(OutputError, match="outside its folder"):
        Trace.open(copied)


def test_the_bundled_trace_checks_a_conversion_without_torch(tmp_path: Path):
    """What a Mac with nothing but MLX does; also what `demo` does there. torch only opens model.pt here."""
    import convert
    from parity.demo import MODEL

    convert.convert(MODEL, tmp_path / "model")
    report = check(tmp_path / "model", TRACE)
    assert (report.verdict, report.first_failure) == ("pass", None)
    assert report.tokens["compared"] == len(Trace.open(TRACE).utterances[0].token_ids) > 0
    assert report.environment["reference"]["versions"]["funasr"] == "1.4.16"


@pytest.mark.reference
def test_reading_ahead_gives_what_reading_gives(trace: Trace):
    """`read` prepares the next utterance on a thread of its own; `waveform` opens one array alone."""
    for (row, ahead), expected in zip(trace.read(), trace.utterances, strict=True):
        arrays = trace.arrays(expected)
        assert row is expected
        assert [*ahead.propagated] == [*arrays.propagated]
        for name, pair in arrays.propagated.items():
            assert all(map(np.array_equal, ahead.propagated[name], pair))
        np.testing.assert_array_equal(trace.waveform(row), arrays.plain["waveform"])
    assert trace.size_mb() > 0.1


@given(st.floats(-(2.0**120), 2.0**120, width=32).filter(lambda x: abs(x) > 2.0**-100))
def test_a_step_is_the_spacing_of_float32(value: float):
    """Oracle: numpy.spacing."""
    values = np.array([value, 0.0], np.float32)
    assert float(_step(values)[0]) == float(np.spacing(np.abs(values[0])))
    assert 0.0 < float(_step(values)[1]) < 1e-37
