"""Temporary folders: gone with their block, or with the next run of anybody. Oracle: the file system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_model.errors import OutputError
from mlx_model.files.scratch import scratch, sweep
from tests.conftest import ROOT

HOLDING = """
import sys
from pathlib import Path
from mlx_model.files.scratch import scratch
with scratch("trace", Path(sys.argv[1])) as folder:
    (folder / "half").mkdir()
    print(folder.name, flush=True)
    sys.stdin.read()
"""


def test_it_goes_with_its_block(tmp_path: Path):
    with scratch("trace", tmp_path) as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith(f"mlx-funasr-{os.getpid()}-trace-")
        (folder / "deep").mkdir()
    assert os.listdir(tmp_path) == []
    with pytest.raises(KeyError), scratch("trace", tmp_path):
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_a_living_process_keeps_its_own_and_a_killed_ones_goes(tmp_path: Path):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    name = child.stdout.readline().strip()
    (tmp_path / "mlx-funasr-full-size").mkdir()  # a folder of that beginning which a user has made
    (tmp_path / "mlx-funasr-1-link-abc").symlink_to(tmp_path / "mlx-funasr-full-size")
    sweep(tmp_path)
    assert name in os.listdir(tmp_path)
    child.kill()
    child.communicate()
    sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["mlx-funasr-1-link-abc", "mlx-funasr-full-size"]


def test_no_place_and_no_room_are_one_line(tmp_path: Path):
    with pytest.raises(OutputError, match="set TMPDIR"), scratch("trace", tmp_path / "nowhere"):
        pass
    with pytest.raises(OutputError, match="No space left on device; set TMPDIR"), scratch("trace", tmp_path):
        raise OSError(28, "No space left on device")
    with pytest.raises(FileNotFoundError), scratch("trace", tmp_path):
        (tmp_path / "other").read_text("utf-8")
