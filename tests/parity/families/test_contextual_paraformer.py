"""A random ContextualParaformer through parity, as a user runs it: every tap under every engine, and its own faults.

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
from tests.mlx_model.models.test_contextual_paraformer import BASE, WORDS, made_by_funasr

pytestmark = [pytest.mark.reference, pytest.mark.slow]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trace]:
    """A conversion, and FunASR's own run of one recording with hotwords, clas_scale not 1."""
    folder = tmp_path_factory.mktemp("contextual_parity")
    soundfile.write(folder / "a.wav", speech_like(1.5), 16000, subtype="PCM_16")
    made_by_funasr(folder, {"plain": BASE}, [], [])
    convert.convert(folder / "plain", folder / "plain.mlx")
    options = {"hotwords": WORDS, "clas_scale": 0.7}
    return folder / "plain.mlx", record(folder / "plain", folder / "trace", [folder / "a.wav"], options=options)


def test_every_tap_of_a_random_model(recorded: tuple[Path, Trace]):
    model, trace = recorded
    report = check(model, trace.directory, invariants=False)
    assert report.verdict == "pass", report.sentence
    names = {row.name for row in report.taps}
    assert {"bias_encoder.vectors", "decoder.bias_decoder", "decoder.halves", "decoder.biased"} <= names
    assert all(found.differ == 0 for found in report.outcomes.values())
    assert report.outcomes["token"].compared > 0


def test_faults_of_its_own_parts_are_caught_where_they_were_put(recorded: tuple[Path, Trace]):
    model, trace = recorded
    table = families.by_name("contextual_paraformer")
    own = [fault for fault in table.seeded() if "faults.contextual" in fault.seed.__module__]
    report = judge(trace, model, faults=own)
    assert len({row.name for row in report.faults if row.visible}) >= 20
    assert [(row.name, row.engine) for row in report.faults if not row.caught] == []
    assert [(row.name, row.engine) for row in report.faults if not row.right_address] == []
    assert report.false_alarms == 0
