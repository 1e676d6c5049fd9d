"""Random speaker models through parity: every tap, embeddings, labels of windows, and their own faults.

Oracle: FunASR in a process of its own; of a fault, where it was put.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from parity import families, record
from parity.families.campplus.layout import of_ours, of_torch, to_ours
from parity.layers.run import check
from parity.layers.selftest import judge
from parity.taps.trace import Trace
from tests.conftest import speech_like
from tests.parity.families.small import made, speaker_config

pytestmark = [pytest.mark.reference, pytest.mark.slow]
CLASSES = {"campplus": "CAMPPlus", "eres2net_v2": "ERes2NetV2"}
OWN = ("speaker_frontend", "fcm", "tdnn", "eres2net", "windows", "batch_norm")


@pytest.fixture(scope="module", params=CLASSES)
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trace]:
    """A conversion, and FunASR's own run of two recordings."""
    folder = tmp_path_factory.mktemp(request.param)
    made(folder, {"model": speaker_config(CLASSES[request.param])})
    for number, seconds in enumerate((0.5, 2.3)):
        samples = np.concatenate([speech_like(seconds, seed=number), np.zeros(3000, np.float32)])
        soundfile.write(folder / f"{number}.wav", samples, 16000, subtype="PCM_16")
    audio = [folder / "0.wav", folder / "1.wav"]
    return folder / "model.mlx", record(folder / "model", folder / "trace", audio)


def test_every_tap_and_outcome_of_a_random_model(recorded: tuple[Path, Trace]):
    model, trace = recorded
    report = check(model, trace.directory)
    assert report.verdict == "pass", report.sentence
    names = {row.name for row in report.taps}
    assert {"fbank", "feats", "windows.embedding", "windows.similarity", "end_to_end.labels"} <= names
    assert names & {"xvector.dense", "model.seg_1"}
    assert all(found.differ == 0 for found in report.outcomes.values())
    assert report.outcomes["same"].compared == 1


def test_own_faults_are_caught_where_they_were_put(recorded: tuple[Path, Trace]):
    model, trace = recorded
    table = families.by_name(trace.meta["family"])
    own = [fault for fault in table.seeded() if fault.seed.__module__.rpartition(".")[2] in OWN]
    report = judge(trace, model, faults=own[::4])  # all of them are the self-test's
    seen = [row for row in report.faults if row.visible]
    assert [(row.name, row.engine) for row in seen if not row.caught] == []
    wrong = [(row.name, row.address) for row in seen if not row.right_address]
    assert report.right_address >= 0.95 * report.caught, wrong
    assert len(seen) >= 8
    assert report.false_alarms == 0


def test_layouts_meet():
    torch = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)  # (B, C, F, T)
    ours = torch.transpose(0, 2, 3, 1)  # (B, F, T, C)
    np.testing.assert_array_equal(of_torch(torch), of_ours(ours))
    assert of_torch(torch).shape == (2, 5, 4, 3)
    np.testing.assert_array_equal(to_ours("head.layer1.0", of_torch(torch)), ours)
    assert of_torch(np.zeros((1, 6))).shape == (1, 1, 6)
