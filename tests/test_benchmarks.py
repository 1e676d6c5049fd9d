"""Every benchmark starts: its imports and its options are those of the code it measures, which nothing else checks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import forked

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if 'if __name__ == "__main__"' in path.read_text("utf-8"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_explains_itself(script: str):
    command = [forked.python("command"), str(FOLDER / script), "--help"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"usage: {script}")
    assert f"`{script}" in (FOLDER / "README.md").read_text("utf-8")


def test_there_are_benchmarks():
    assert len(SCRIPTS) >= 15
