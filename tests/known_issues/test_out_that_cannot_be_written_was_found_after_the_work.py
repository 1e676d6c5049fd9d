"""`--out` that is a file, or on a read-only or full file system: a traceback, after all the work."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import ROOT

NEVER_LOADED = "/nowhere/model"  # whoever looks at it first has begun to work
COMMANDS = {
    "convert": ("convert", NEVER_LOADED, "OUT"),
    "parity run": ("parity", "run", NEVER_LOADED, "--model", NEVER_LOADED, "--audio", "/nowhere.wav", "--out", "OUT"),
    "parity record": ("parity", "record", NEVER_LOADED, "OUT", "--audio", "/nowhere.wav"),
    "parity check": ("parity", "check", NEVER_LOADED, "/nowhere/trace", "--out", "OUT"),
    "parity selftest": ("parity", "selftest", NEVER_LOADED, "--audio", "/nowhere.wav", "--out", "OUT"),
    "cer": ("cer", NEVER_LOADED, "/nowhere/data", "--out", "OUT", "--overwrite"),
    "cer score": ("cer", "score", "/nowhere/ref", "/nowhere/hyp", "--out", "OUT", "--overwrite"),
    "cer compare": ("cer", "compare", "/nowhere/a", "/nowhere/b", "--out", "OUT"),
    "bench": ("bench", NEVER_LOADED, "--out", "OUT"),
    "bench --exports": ("bench", NEVER_LOADED, "--exports", "OUT"),
    "demo": ("demo", "--out", "OUT", "--overwrite"),
}


def refused(words: tuple[str, ...], out: str) -> str:
    """Return the one line with which a command refuses a destination."""
    words = tuple(out if word == "OUT" else word for word in words)
    command = [forked.python("command"), str(ROOT / "mlx_funasr.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_in_the_way_is_said_before_anything_else(tmp_path: Path, name: str):
    (tmp_path / "file").touch()
    assert "file is a file; expected a folder" in refused(COMMANDS[name], f"{tmp_path}/file/x")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("out", ["", "/dev/null", "/proc/x", "n" * 300])
def test_other_places_that_are_none(out: str):
    assert "error: " in refused(COMMANDS["cer score"], out)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("file systems may not be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_fills_leaves_nothing_half_written(tiny_disk: Path, tmp_path: Path):
    lines = "".join(f"utt{number} {'文' * 30}\n" for number in range(2000))
    for name in ("ref", "hyp"):
        (tmp_path / name).write_text(lines, "utf-8")
    words = ("cer", "score", str(tmp_path / "ref"), str(tmp_path / "hyp"), "--out", "OUT")
    assert "No space left on device; make room there" in refused(words, str(tiny_disk / "out"))
    assert os.listdir(tiny_disk) == []


def test_a_read_only_disk(tiny_disk: Path):
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    assert "Read-only file system" in refused(COMMANDS["bench"], str(tiny_disk / "out"))


def test_scoring_does_not_write_over_what_it_scores(tmp_path: Path):
    """`cer score ref.txt hyp.txt --out . --overwrite` wrote its own ref.txt and hyp.txt over the user's."""
    for name in ("ref.txt", "hyp.txt"):
        (tmp_path / name).write_text("a 好的\n", "utf-8")
    words = ("cer", "score", str(tmp_path / "ref.txt"), str(tmp_path / "hyp.txt"), "--out", "OUT", "--overwrite")
    assert "would be written over" in refused(words, str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["hyp.txt", "ref.txt"]
