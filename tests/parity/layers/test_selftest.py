"""The harness on itself: every seeded fault is caught at the right address. Oracle: where each was put."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlx_model.engines import cpu_engine
from parity.demo import MODEL, SPEECH
from parity.families.paraformer import FAMILY
from parity.faults import Fault
from parity.layers.selftest import judge
from parity.taps.trace import Trace
from tests import forked
from tests.conftest import ROOT

pytestmark = [pytest.mark.reference, pytest.mark.slow]


FAULTS = FAMILY.seeded()


def selftest_command(source: Path, audio: Path, out: Path) -> dict[str, Any]:
    """Return what `parity selftest --json` says: as a user runs it, without this process's checks of every shape."""
    words = ["parity", "selftest", str(source), "--audio", str(audio), "--out", str(out), "--json"]
    command = [forked.python("command"), str(ROOT / "mlx_funasr.py"), *words]
    # Lanes are in force on two cores; beside other test processes every one has but one (tests/conftest.py).
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **threads})
    assert done.returncode == 0, done.stderr[-2000:]
    assert (out / "selftest.html").is_file()
    return json.loads(done.stdout)


@pytest.mark.timeout(900)
def test_every_fault_on_the_demo(tmp_path: Path):
    """One recording of 2.7 s, and what the self-test makes of it: enough for every fault to show."""
    report = selftest_command(MODEL, SPEECH / "wav/test/D0001/DEMOD0001W0002.wav", tmp_path)
    missed = [row["name"] for row in report["faults"] if not row["caught"]]
    astray = [(row["name"], row["module"], row["address"]) for row in report["faults"] if not row["right_address"]]
    assert (missed, astray, report["false_alarms"]) == ([], [], 0)
    assert report["total"] == report["caught"] == report["right_address"]
    engines = {row["engine"] for row in report["faults"]}
    plain = {row["name"] for row in report["faults"] if row["engine"] == "plain"}
    assert plain == {fault.name for fault in FAULTS if not fault.engine}
    assert len(plain) >= 60
    assert engines == ({"plain", "CPU engine", "lanes"} if cpu_engine.available() else {"plain", "lanes"})
    assert report["verdict"] == "pass"


def test_a_fault_that_is_not_one_is_not_caught(converted: Path, trace: Trace):
    """The self-test can fail: a seed that changes nothing is reported as missed, and not visible on this audio."""
    nothing = Fault(name="nothing", module="encoder", description="", seed=lambda candidate, stack: None, needs="luck")
    report = judge(trace, converted, faults=[nothing])
    assert (report.verdict, report.caught) == ("fail", 0)
    assert (report.faults[0].visible, report.faults[0].needs) == (False, "luck")


def test_a_fault_of_batches_that_changes_no_number_is_not_called_missed(converted: Path, trace: Trace):
    nothing = Fault(name="nothing", module="invariance", description="", seed=lambda candidate, stack: None, batch=True)
    assert not judge(trace, converted, faults=[nothing]).faults[0].visible


def test_a_wrong_address_counts_as_wrong(converted: Path, trace: Trace):
    healthy = next(fault for fault in FAULTS if fault.name == "output_bias_lost")
    moved = Fault(name="moved", module="encoder", description="", seed=healthy.seed)
    report = judge(trace, converted, faults=[moved])
    assert (report.caught, report.right_address, report.verdict) == (report.total, 0, "fail")
    assert {row.address for row in report.faults} == {"decoder.output_layer"}


def test_names_are_unique_and_described():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert all(fault.description and fault.module for fault in FAULTS)
