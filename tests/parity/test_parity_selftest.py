"""The harness on itself: every seeded fault is caught at the right address. Oracle: where each was put."""

from __future__ import annotations

from pathlib import Path

import pytest

from parity.layers.faults import FAULTS, Fault
from parity.layers.selftest import judge, selftest
from parity.layers.trace import Trace

pytestmark = [pytest.mark.reference, pytest.mark.slow]


@pytest.mark.timeout(900)
def test_every_fault_on_the_demo(converted: Path, trace: Trace):
    report = judge(trace, converted)
    missed = [row.name for row in report.faults if not row.caught]
    astray = [(row.name, row.module, row.address) for row in report.faults if not row.right_address]
    assert missed == []
    assert astray == []
    assert report.false_alarms == 0
    assert report.total == len(FAULTS) >= 60
    assert report.verdict == "pass"


@pytest.mark.shared
@pytest.mark.timeout(900)
def test_every_fault_on_a_trained_checkpoint(shared: Path, tmp_path: Path):
    """Real human speech, three utterances; a tenth of the faults may hide in audio that does not show them."""
    import convert

    source = shared / "checkpoints/paraformer_real_small"
    convert.convert(source, tmp_path / "model")
    report = selftest(source, tmp_path / "model", [shared / "data/aishell_s0150/wav"], out=tmp_path)
    assert (report.verdict, report.false_alarms) == ("pass", 0)
    assert report.caught == report.total
    assert report.right_address >= 0.95 * report.total
    assert (tmp_path / "selftest.json").is_file()


def test_a_fault_that_is_not_one_is_not_caught(converted: Path, trace: Trace):
    """The self-test can fail: a seed that changes nothing is reported as missed, and not visible on this audio."""
    nothing = Fault(name="nothing", module="encoder", description="", seed=lambda candidate, stack: None, needs="luck")
    report = judge(trace, converted, faults=[nothing])
    assert (report.verdict, report.caught) == ("fail", 0)
    assert (report.faults[0].visible, report.faults[0].needs) == (False, "luck")


def test_a_wrong_address_counts_as_wrong(converted: Path, trace: Trace):
    healthy = next(fault for fault in FAULTS if fault.name == "output_bias_lost")
    moved = Fault(name="moved", module="encoder", description="", seed=healthy.seed)
    report = judge(trace, converted, faults=[moved])
    assert (report.caught, report.right_address, report.verdict) == (1, 0, "fail")
    assert report.faults[0].address == "decoder.output_layer"


def test_names_are_unique_and_described():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert all(fault.description and fault.module for fault in FAULTS)
