"""kill -9 of a run with the real FunASR in it: nobody is alive 2 s later, and the next run finds nothing to trip over.

benchmarks/kill_moments.py does the same at 50 random moments. Oracle: /proc, by a mark in the environment.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from parity.demo import MODEL, SPEECH
from tests.conftest import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.reference,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found through /proc"),
]


@pytest.mark.parametrize("moment_s", [1.0, 4.0])
def test_cer_by_funasr_is_killed_and_goes_on(tmp_path: Path, moment_s: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("kill_moments", ROOT / "benchmarks/kill_moments.py")
    assert spec is not None
    assert spec.loader is not None
    kill_moments = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kill_moments)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    environment.pop("MLX_FUNASR_REFERENCE_PYTHON", None)  # a process of the run's own, not a fork of the tests'
    words = ["cer", str(MODEL), str(SPEECH), "--engine", "funasr", "--out", str(tmp_path / "out")]
    alive, left = kill_moments.killed(words, environment, moment_s, f"test-{os.getpid()}-{moment_s}", temporary)
    assert (alive, left) == ([], [])
    assert not list(tmp_path.rglob("*.partial*"))
