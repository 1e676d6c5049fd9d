"""A random SeacoParaformer through parity, with hotwords enough for the filter: every tap, and faults of its own.

Oracle: FunASR in a process of its own; of a fault, where it was put. The margins of a ranking: by hand.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import convert
from mlx_model.errors import UsageError
from parity import families, record
from parity.cer.recognizers import said_of_hotwords
from parity.decisions.ranking import ranking_differences
from parity.layers.run import check
from parity.layers.selftest import judge
from parity.taps.trace import Trace
from tests.conftest import speech_like
from tests.mlx_model.models.test_seaco_paraformer import MANY, configuration, made_by_funasr

LOOKED_FOR = (
    "hotword_mean", "bias_layer_twice", "hotwords_without_sos", "states_before_norm", "attended_mean", "filter_layer_5",
    "filter_49", "filter_without_sos", "no_bias_off_by_one", "merge_inverted", "hotword_bias_lost",
)  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trace]:
    """A conversion, and FunASR's own run of one recording."""
    folder = tmp_path_factory.mktemp("seaco_parity")
    soundfile.write(folder / "a.wav", speech_like(1.2), 16000, subtype="PCM_16")
    made_by_funasr(folder, {"released": configuration("released")}, [], [])
    convert.convert(folder / "released", folder / "released.mlx")
    options = {"hotwords": [*MANY, "丁七 hello 丂"]}  # a phrase: FunASR is given a file
    trace = record(folder / "released", folder / "trace", [folder / "a.wav"], options=options)
    return folder / "released.mlx", trace


@pytest.mark.reference
@pytest.mark.slow
def test_every_tap_of_a_random_model(recorded: tuple[Path, Trace]):
    model, trace = recorded
    report = check(model, trace.directory, invariants=False)
    assert report.verdict == "pass", report.sentence
    names = {row.name for row in report.taps}
    assert {"bias_encoder.vectors", "filter.scores", "filter.kept", "attended.cif", "merge", "hotwords.ids"} <= names
    assert {"seaco_decoder.decoders.5", "predictor.us_peaks", "hotword_output_layer"} <= names
    assert all(found.differ == 0 for found in report.outcomes.values())
    assert report.outcomes["filter"].compared == 1
    assert (report.outcomes["bias"].compared or 0) > 3


@pytest.mark.reference
@pytest.mark.slow
def test_faults_of_its_own_are_caught_where_they_were_put(recorded: tuple[Path, Trace]):
    model, trace = recorded
    own = [fault for fault in families.by_name("seaco_paraformer").seeded() if fault.name in LOOKED_FOR]
    assert len(own) == len(LOOKED_FOR)
    report = judge(trace, model, faults=own)
    seen = [row for row in report.faults if row.visible]
    assert len({row.name for row in seen}) >= 10
    assert [(row.name, row.engine) for row in seen if not row.caught] == []
    assert [(row.name, row.address) for row in seen if not row.right_address] == []
    assert report.false_alarms == 0


@pytest.mark.reference
@pytest.mark.slow
def test_cer_says_which_hotwords_a_model_has_no_tokens_for(recorded: tuple[Path, Trace]):
    said = said_of_hotwords("mlx", str(recorded[0]), {"hotwords": ["丁七", "龘 龘"]})
    assert said == ["hotwords: 1 of 2 hold <unk>, as FunASR has them: 龘 龘"]
    assert said_of_hotwords("mlx", str(recorded[0]), {"hotwords": "丁七"}) == []
    assert said_of_hotwords("funasr", "nowhere", {"hotword": "龘"}) == []


def test_an_option_that_a_family_cannot_be_asked_is_refused():
    reference = object.__new__(families.by_name("seaco_paraformer").piece("reference"))
    reference.single = SimpleNamespace(model=object())
    reference.ask({"hotwords": "一"})
    assert reference.options == {"hotwords": "一"}
    with pytest.raises(UsageError, match="language: a object has no such option"):
        reference.ask({"language": "zh"})


def test_a_ranking_is_explained_by_its_edge():
    truth = np.array([5.0, 4.0, 3.0, 2.99, 1.0])
    kept = (np.array([0, 1, 2, 4]), np.array([0, 1, 3, 4]))  # the best three, and the last
    assert ranking_differences("filter", "a", truth, 1e-6, (kept[0], kept[0][::-1]), 3) == []
    (near,) = ranking_differences("filter", "a", truth, 0.02, kept, 3)
    assert (near.reference, near.candidate, near.explained) == ("keeps entry 2", "keeps entry 3", True)
    assert near.margin == pytest.approx(0.01)
    (far,) = ranking_differences("filter", "a", truth, 0.005, kept, 3)
    assert not far.explained
    (twice,) = ranking_differences("filter", "a", truth, 1.0, (np.array([0, 1, 4, 4]), kept[0]), 3)
    assert (twice.reference, twice.candidate) == ("keeps entry 4", "keeps entry 2")
    (another,) = ranking_differences("filter", "a", truth, 10.0, (kept[0], kept[0][:3]), 3)
    assert (another.explained, another.candidate) == (False, "3 entries")
