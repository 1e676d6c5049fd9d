"""The harness on itself, on a trained checkpoint and real speech; a file of its own, for it takes minutes.

Oracle: where each fault was put.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.layers.test_selftest import selftest_command

pytestmark = [pytest.mark.reference, pytest.mark.slow, pytest.mark.shared]


@pytest.mark.timeout(900)
def test_every_fault_on_a_trained_checkpoint(shared: Path, tmp_path: Path):
    """Real human speech, three utterances."""
    report = selftest_command(shared / "checkpoints/paraformer_real_small", shared / "data/aishell_s0150/wav", tmp_path)
    assert (report["verdict"], report["false_alarms"]) == ("pass", 0)
    assert report["caught"] == report["total"] >= 60
    assert report["right_address"] >= 0.95 * report["total"]
