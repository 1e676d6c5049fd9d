"""No alarm on healthy models: random architectures of every option, made by FunASR; the trained ones in ../shared."""

from __future__ import annotations

from pathlib import Path

import pytest

from parity.layers.run import run
from tests.conftest import ARCHITECTURES

pytestmark = [pytest.mark.reference, pytest.mark.slow]


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_random_architectures(checkpoints: dict[str, Path], recordings: list[Path], tmp_path: Path, name: str):
    import convert

    convert.convert(checkpoints[name], tmp_path / "model")
    report = run(checkpoints[name], tmp_path / "model", recordings)
    assert (report.verdict, report.first_failure) == ("pass", None), report.sentence
    assert len([row for row in report.taps if row.ratio is not None]) > 40


@pytest.mark.shared
@pytest.mark.parametrize("name", ["paraformer_real_small", "paraformer_real_digits_tiny"])
def test_trained_checkpoints(shared: Path, tmp_path: Path, name: str):
    import convert

    source = shared / "checkpoints" / name
    convert.convert(source, tmp_path / "model")
    report = run(source, tmp_path / "model", [shared / "data/aishell_s0150/wav"], limit=8)
    assert (report.verdict, report.first_failure) == ("pass", None), report.sentence
    assert report.tokens["compared"] >= 40
