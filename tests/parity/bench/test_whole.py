"""A whole process as the bench runs it: its wall time, its peak memory, what it printed, why it failed."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest

from parity.bench import whole
from parity.bench.sides import SideError


def test_whole_processes(tmp_path: Path):
    answer = whole.run("peer", [sys.executable, "-c", "print('talk'); print('text: 你好')"], 1, tmp_path / "log")
    assert answer["printed"] == "text: 你好"
    own_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * whole.UNIT / 1e6
    assert 5 < answer["peak_mb"] < 200 + own_mb  # an interpreter, forked from this one
    assert 0 < answer["seconds"]["cold_start"] < 60
    with pytest.raises(SideError, match="its command failed: ValueError: bad"):
        whole.run("peer", [sys.executable, "-c", "raise ValueError('bad')"], 1, tmp_path / "log")
