"""No alarm on healthy models: the trained checkpoints of ../shared.

Random architectures of every option: mlx_model/models/test_paraformer.py. The demo: test_parity_run.py. Full size:
benchmarks/full_size_parity.py, whose exit code is the verdict.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from parity.layers.run import run

pytestmark = [pytest.mark.reference, pytest.mark.slow]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["paraformer_real_small", "paraformer_real_digits_tiny"])
def test_trained_checkpoints(shared: Path, tmp_path: Path, name: str):
    import convert

    source = shared / "checkpoints" / name
    convert.convert(source, tmp_path / "model")
    report = run(source, tmp_path / "model", [shared / "data/aishell_s0150/wav"], limit=8)
    assert (report.verdict, report.first_failure) == ("pass", None), report.sentence
    assert report.outcomes["token"].compared >= 40
