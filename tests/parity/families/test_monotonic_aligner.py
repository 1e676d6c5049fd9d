"""A random MonotonicAligner through parity, as a user runs it: every tap under every engine, and its own faults.

Oracle: FunASR in a process of its own; of a fault, where it was put.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

import convert
from parity import families, record
from parity.layers.run import check
from parity.layers.selftest import judge
from parity.taps.trace import Trace
from tests.conftest import speech_like
from tests.mlx_model.models.test_monotonic_aligner import BASE, made_by_funasr

pytestmark = [pytest.mark.reference, pytest.mark.slow]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trace]:
    """A conversion, and FunASR's own run of two recordings, one with a text beside it, one given its text."""
    folder = tmp_path_factory.mktemp("monotonic_aligner_parity")
    (folder / "audio").mkdir()
    soundfile.write(folder / "audio/a.wav", speech_like(1.5), 16000, subtype="PCM_16")
    soundfile.write(folder / "audio/b.wav", speech_like(1.1, seed=3), 16000, subtype="PCM_16")
    (folder / "audio/a.txt").write_text("你好 A龘，b", "utf-8")
    made_by_funasr(folder, {"plain": BASE}, [])
    convert.convert(folder / "plain", folder / "plain.mlx")
    options = {"text": {str(folder / "audio/b.wav"): "世界  天 b"}}
    return folder / "plain.mlx", record(folder / "plain", folder / "trace", [folder / "audio"], options=options)


def test_every_tap_of_a_random_model(recorded: tuple[Path, Trace]):
    model, trace = recorded
    assert [row.more["aligned"] for row in trace.utterances] == ["你好 A龘，b", "世界 天 b"]
    report = check(model, trace.directory)
    assert report.verdict == "pass", report.sentence
    names = {row.name for row in report.taps}
    assert {"predictor.alphas", "predictor.us_alphas", "predictor.us_peaks", "predictor.blstm", "times"} <= names
    assert {"end_to_end.times", "end_to_end.words", "tokenizer"} <= names
    assert all(found.differ == 0 for found in report.outcomes.values())
    assert report.outcomes["time"].compared == len(trace.utterances[0].token_ids) + len(trace.utterances[1].token_ids)


def test_faults_of_its_own_parts_are_caught_where_they_were_put(recorded: tuple[Path, Trace]):
    model, trace = recorded
    table = families.by_name("monotonic_aligner")
    own = [fault for fault in table.seeded() if "faults.forced_alignment" in fault.seed.__module__]
    report = judge(trace, model, faults=own)
    seen = [row for row in report.faults if row.visible]
    assert len(seen) == len(report.faults) == len(own) >= 16
    assert [(row.name, row.engine) for row in seen if not row.caught] == []
    assert [(row.name, row.address) for row in seen if not row.right_address] == []
    assert report.false_alarms == 0
