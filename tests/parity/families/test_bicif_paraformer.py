"""A random BiCifParaformer through parity, as a user runs it: every tap under every engine, and its own faults.

Oracle: FunASR in a process of its own; of a fault, where it was put.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import convert
from parity import families, record
from parity.decisions.times import Sums, time_differences, why_other
from parity.layers.run import check
from parity.layers.selftest import judge
from parity.taps.trace import Trace
from tests.conftest import speech_like
from tests.mlx_model.models.test_bicif_paraformer import configuration, made_by_funasr

SEEDED = ("cif_v3", "lstm", "peak_times")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trace]:
    """A conversion, and FunASR's own run of one recording."""
    folder = tmp_path_factory.mktemp("bicif_parity")
    soundfile.write(folder / "a.wav", speech_like(1.5), 16000, subtype="PCM_16")
    made_by_funasr(folder, {"released": configuration("released")}, [])
    convert.convert(folder / "released", folder / "released.mlx")
    return folder / "released.mlx", record(folder / "released", folder / "trace", [folder / "a.wav"])


@pytest.mark.reference
@pytest.mark.slow
def test_every_tap_of_a_random_model(recorded: tuple[Path, Trace]):
    model, trace = recorded
    report = check(model, trace.directory)
    assert report.verdict == "pass", report.sentence
    second = {f"predictor.{name}" for name in ("upsample_cnn", "blstm", "cif_output2", "us_alphas", "us_peaks")}
    assert second <= {row.name for row in report.taps}
    assert all(found.differ == 0 for found in report.outcomes.values())
    assert report.outcomes["time"].compared > 0
    assert "times by default are not FunASR's" in report.utterances[0].explanation  # a random model has no end mark


@pytest.mark.reference
@pytest.mark.slow
def test_faults_of_its_own_parts_are_caught_where_they_were_put(recorded: tuple[Path, Trace]):
    model, trace = recorded
    table = families.by_name("bicif_paraformer")
    own = [fault for fault in table.seeded() if any(f"faults.{part}" in fault.seed.__module__ for part in SEEDED)]
    report = judge(trace, model, faults=own)
    seen = [row for row in report.faults if row.visible]
    assert len({row.name for row in seen}) >= 15
    made_up = {fault.name for fault in own if "peak_times" in fault.seed.__module__}
    made_up |= {"peaks_from_1", "first_head_exact"}
    assert {row.name for row in report.faults if not row.visible} & made_up == set()
    assert [(row.name, row.engine) for row in seen if not row.caught] == []
    assert [row.name for row in seen if not row.right_address] == []
    assert report.false_alarms == 0


def sums() -> Sums:
    """Return sums of four tokens of which the second one's peak, at frame 19, is an edge: 2 less 1e-8."""
    alphas = np.full(40, 0.1)
    alphas[19] -= 1e-8 + 2e-4
    return Sums(alphas, alphas.astype(np.float32), 5.0)


def test_a_time_is_explained_only_where_a_peak_stands_on_an_edge():
    """Times begin 1.5 frames of 20 ms before a peak: 350 or 370 ms are frame 19 or 20, 170 and 190 frame 10 and 11."""
    near = time_differences("a", sums(), [[170, 350]], [[170, 370]], [])
    assert (near[0].kind, near[0].explained) == ("time", True)
    far = time_differences("a", sums(), [[230, 330]], [[250, 330]], [])
    assert not far[0].explained
    assert not time_differences("a", sums(), [[170, 350]], None, [])[0].explained
    assert time_differences("a", sums(), [[170, 350]], [[170, 350]], []) == []


def test_why_times_by_default_are_others():
    assert why_other([[170, 270]], [[170, 270]], ["你"], 1) == ""
    assert "before the recording" in why_other([[-30, 90]], [[0, 90]], ["你"], 1)
    assert "not printed" in why_other([[170, 270]], [[270, 370]], ["<unk>", "好"], 1)
    assert "rescales where 0" in why_other([[170, 290]], [[170, 270]], ["你"], 0)
    assert "IndexError" in why_other(None, [[170, 270]], ["你"], 1)
