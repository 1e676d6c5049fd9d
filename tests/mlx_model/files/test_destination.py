"""Destinations: claimed before the work, one writer at a time, nothing left half-written. Oracle: the file system."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mlx_model.errors import OutputError
from mlx_model.files import destination, locking
from mlx_model.files.destination import claimed, reserved, staged
from tests.conftest import ROOT

HOLDING = """
import sys
from mlx_model.files.destination import claimed, staged
{what}:
    print("held", flush=True)
    sys.stdin.read()
"""


class WorkFailedError(Exception):
    """What the work inside a block raises."""


def fail(*made: Path) -> None:
    """Write some files and fail."""
    for path in made:
        path.touch()
    raise WorkFailedError


def listing(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def holding(what: str) -> subprocess.Popen[str]:
    """Start a process that holds a destination until its stdin closes."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDING.format(what=what)], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def release(child: subprocess.Popen[str]) -> None:
    child.communicate()


@pytest.mark.parametrize("made", ["file", "fifo", "link to nothing", "below a file"])
def test_what_is_no_folder_is_named(tmp_path: Path, made: str):
    place = tmp_path / "here"
    {
        "file": place.touch,
        "below a file": place.touch,
        "fifo": lambda: os.mkfifo(place),
        "link to nothing": lambda: place.symlink_to(tmp_path / "gone"),
    }[made]()
    words = {
        "file": "here is a file; expected a folder",
        "below a file": "cannot be written: .*here is a file; expected a folder",
        "fifo": "here is a named pipe; expected",
        "link to nothing": "here is a symbolic link that leads nowhere; expected",
    }
    with (
        pytest.raises(OutputError, match=words[made]),
        claimed(place / "x" if made == "below a file" else place, ["r.json"]),
    ):
        raise AssertionError("the work has begun")
    assert listing(tmp_path) == ["here"]


@pytest.mark.parametrize("place", ["/proc/x", "/dev/null", "/dev/null/x", "n" * 300, "a/" + "n" * 300 + "/b", "nul\0"])
def test_what_the_system_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str):
    monkeypatch.chdir(tmp_path)
    for context in (lambda: claimed(place, ["r.json"]), lambda: staged(place, overwrite=False)):
        with pytest.raises(OutputError) as caught, context():
            raise AssertionError("the work has begun")
        assert "\n" not in str(caught.value)
    assert listing(tmp_path) == []


def test_what_was_made_for_a_claim_goes_where_the_work_fails_and_stays_where_it_wrote(tmp_path: Path):
    with pytest.raises(WorkFailedError), claimed(tmp_path / "a" / "b", ["r.json"]):
        fail()
    assert listing(tmp_path) == []
    with pytest.raises(WorkFailedError), claimed(tmp_path / "a" / "b", ["r.json"]):
        fail(tmp_path / "a" / "b" / "journal")
    assert listing(tmp_path / "a" / "b") == ["journal"]


def test_a_file_that_will_be_written_may_be_no_folder_and_exists_only_with_overwrite(tmp_path: Path):
    (tmp_path / "r.json").mkdir()
    with pytest.raises(OutputError, match=r"r\.json is a folder"), claimed(tmp_path, ["r.json"]):
        pass
    (tmp_path / "s.json").write_text("old", "utf-8")
    (tmp_path / "s.json.partial").touch()
    with pytest.raises(OutputError, match=r"s\.json exists; choose another --out, or add --overwrite"):
        claimed(tmp_path, ["s.json"], overwrite=False).__enter__()
    with claimed(tmp_path, ["s.json"]):
        assert listing(tmp_path) == ["r.json", "s.json"]  # what a killed run had begun is gone


def test_a_source_is_neither_written_into_nor_over(tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "ref.txt").touch()
    (tmp_path / "link").symlink_to(source)
    for place in (source, source / "deep" / "x", tmp_path / "link" / "x"):
        with pytest.raises(OutputError, match="is or lies in the source"), claimed(place, [], apart_from=[source]):
            pass
        with pytest.raises(OutputError, match="the source"), staged(place, overwrite=True, apart_from=[source]):
            pass
    with pytest.raises(OutputError, match=r"ref\.txt would be written over"):
        claimed(tmp_path, ["ref.txt"], apart_from=[tmp_path / "ref.txt"]).__enter__()
    with claimed(tmp_path / "beside", [], apart_from=[source, "iic/a_hub_id"]):
        pass
    assert listing(source) == []


@pytest.mark.parametrize("what", ["with claimed({0!r}, [])", "with staged({0!r}, overwrite=True)"])
def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path, what: str):
    out = str(tmp_path / "out")
    child = holding(what.format(out))
    mine = claimed(out, []) if "claimed" in what else staged(out, overwrite=True)
    who = f"process {child.pid}" if Path("/proc/locks").exists() else "another process"
    with pytest.raises(OutputError, match=f"out is being written by {who}; wait for it"), mine:
        raise AssertionError("both write")
    release(child)
    with claimed(out, []):
        pass
    assert listing(tmp_path / "out") == []


def test_another_thread_is_a_second_writer_and_the_same_one_is_not(tmp_path: Path):
    said: list[str] = []

    def other() -> None:
        try:
            claimed(tmp_path, []).__enter__()
        except OutputError as error:
            said.append(str(error))

    with claimed(tmp_path, []), claimed(tmp_path, []):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert said == [f"{tmp_path} is being written by this very process; wait for it, or choose another place"]
    with claimed(tmp_path, []):
        pass


def test_a_killed_writer_blocks_nobody_and_its_stage_goes(tmp_path: Path):
    out = tmp_path / "out"
    child = holding(f"with staged({str(out)!r}, overwrite=False) as stage, open(stage / 'half', 'w')")
    child.kill()
    release(child)
    assert listing(tmp_path) == [".out.partial-stage"]
    with staged(out, overwrite=False) as stage:
        assert listing(stage) == []
        (stage / "whole").touch()
    assert listing(tmp_path) == ["out"]
    assert listing(out) == ["whole"]


def test_a_directory_cannot_be_staged_twice_at_once(tmp_path: Path):
    out = tmp_path / "out"
    with staged(out, overwrite=False) as first:
        (first / "a").touch()
        with pytest.raises(OutputError, match="by this very process"), staged(out, overwrite=False):
            raise AssertionError("both write")
        assert listing(first) == ["a"]
    assert listing(out) == ["a"]


def test_a_reserved_name_is_staged_later_by_the_same_thread(tmp_path: Path):
    out = tmp_path / "deep" / "out"
    with reserved(out):
        assert listing(tmp_path / "deep") == [".out.partial-stage"]
        with staged(out, overwrite=False) as stage:
            (stage / "a").touch()
        (out / "more").touch()
    assert listing(tmp_path / "deep") == ["out"]
    assert listing(out) == ["a", "more"]
    with pytest.raises(WorkFailedError), reserved(tmp_path / "other" / "out"):
        fail()
    assert listing(tmp_path) == ["deep"]


def test_a_run_killed_between_two_renames_is_put_right(tmp_path: Path):
    out = tmp_path / "out"
    (tmp_path / ".out.replaced").mkdir()
    (tmp_path / ".out.replaced" / "old").touch()
    with pytest.raises(WorkFailedError), staged(out, overwrite=True):
        fail()
    assert listing(out) == ["old"]


def test_a_directory_that_appears_meanwhile_is_left_alone(tmp_path: Path):
    out = tmp_path / "out"
    with pytest.raises(OutputError, match="appeared while"), staged(out, overwrite=False):
        out.mkdir()
    assert listing(tmp_path) == ["out"]


def test_the_longest_name_and_one_that_is_no_text(tmp_path: Path):
    for name in ("n" * 255, os.fsdecode(b"bad\xff\xfe")):
        with staged(tmp_path / name, overwrite=False) as stage:
            (stage / "a").touch()
        assert listing(tmp_path / name) == ["a"]
    with pytest.raises(OutputError, match="is not a name"):
        staged("/", overwrite=True).__enter__()


def test_errors_about_other_files_are_not_the_destinations(tmp_path: Path):
    with pytest.raises(FileNotFoundError), claimed(tmp_path / "out", []):
        (tmp_path / "nowhere").read_text("utf-8")
    full = "out cannot be written: No space left on device; make room"
    with pytest.raises(OutputError, match=full), claimed(tmp_path / "out", []):
        raise OSError(28, "No space left on device")


def test_a_file_system_that_locks_no_directories_gets_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As NFS: flock on a directory that is open for reading is EBADF there."""
    real = fcntl.flock

    def flock(descriptor: int, how: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(9, "Bad file descriptor")
        real(descriptor, how)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc to tell what a descriptor is")
    monkeypatch.setattr(fcntl, "flock", flock)
    with claimed(tmp_path, []):
        assert listing(tmp_path) == [locking.FILE]
        with pytest.raises(BlockingIOError):
            locking.Locked(tmp_path)
    assert listing(tmp_path) == []
    assert destination._held == {}
