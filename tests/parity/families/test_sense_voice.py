"""A random SenseVoiceSmall through parity, as a user runs it: every tap under every engine, and some of its own faults.

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
from tests.mlx_model.models.test_sense_voice import BASE, made_by_funasr

pytestmark = [pytest.mark.reference, pytest.mark.slow]
SEEDED = ("ctc", "queries", "tp_encoder")
MADE_UP = {"blank_dropped_first", "queries_cut_off_first", "times_of_probabilities"}  # cases.py shows them


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trace]:
    """A conversion, and FunASR's own run of one recording."""
    folder = tmp_path_factory.mktemp("sense_voice_parity")
    soundfile.write(folder / "a.wav", speech_like(1.5), 16000, subtype="PCM_16")
    made_by_funasr(folder, {"plain": BASE}, [], [])
    convert.convert(folder / "plain", folder / "plain.mlx")
    return folder / "plain.mlx", record(folder / "plain", folder / "trace", [folder / "a.wav"])


def test_every_tap_of_a_random_model(recorded: tuple[Path, Trace]):
    model, trace = recorded
    report = check(model, trace.directory)
    assert report.verdict == "pass", report.sentence
    assert {"encoder.tp_norm", "ctc.ctc_lo"} <= {row.name for row in report.taps}
    assert all(found.differ == 0 for found in report.outcomes.values())
    assert sum(found.compared for found in report.outcomes.values()) > 0


def test_faults_of_its_own_parts_are_caught_where_they_were_put(recorded: tuple[Path, Trace]):
    model, trace = recorded
    table = families.by_name("sense_voice")
    own = [fault for fault in table.seeded() if any(f"faults.{part}" in fault.seed.__module__ for part in SEEDED)]
    report = judge(trace, model, faults=own)
    seen = [row for row in report.faults if row.visible]
    assert len(seen) >= 5
    assert [(row.name, row.engine) for row in seen if not row.caught] == []
    assert report.right_address >= 0.95 * report.caught
    assert {row.name for row in report.faults if row.right_address} >= MADE_UP
    assert report.false_alarms == 0
