"""The output directory appears whole or not at all. Oracle: the file system after kills, full disks and collisions."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import convert
from convert import pipeline
from mlx_model.errors import OutputError


def listing(path: Path) -> list[str]:
    return sorted(item.name for item in path.iterdir())


def test_an_existing_directory_is_left_alone(model_dir, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(OutputError, match="exists; choose another name"):
        convert.convert(model_dir, out)
    assert listing(out) == []


def test_overwrite_replaces_an_earlier_conversion(model_dir, tmp_path):
    out = tmp_path / "out"
    convert.convert(model_dir, out)
    (out / "left over.txt").touch()
    convert.convert(model_dir, out, overwrite=True, dtype="float16")
    assert "left over.txt" not in listing(out)
    assert listing(tmp_path) == ["out", "tiny"]


@pytest.mark.parametrize("name", ["notes.txt", "config.json", "conversion.json"])
def test_overwrite_never_replaces_what_we_did_not_write(model_dir, tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("{}", "utf-8")
    with pytest.raises(OutputError, match="did not write"):
        convert.convert(model_dir, out, overwrite=True)
    assert listing(out) == [name]


def test_overwrite_never_replaces_a_file_or_the_source(model_dir, tmp_path):
    (tmp_path / "file").write_text("x", "utf-8")
    with pytest.raises(OutputError, match="is not a directory"):
        convert.convert(model_dir, tmp_path / "file", overwrite=True)
    for out in (model_dir, tmp_path, model_dir / ".." / "tiny"):
        with pytest.raises(OutputError, match="is or contains the source"):
            convert.convert(model_dir, out, overwrite=True)
    assert (tmp_path / "file").read_text("utf-8") == "x"
    assert "model.safetensors" in listing(model_dir)


def test_an_earlier_conversion_survives_a_failing_one(model_dir, tmp_path, monkeypatch):
    out = tmp_path / "out"
    convert.convert(model_dir, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pipeline, "model_card", fail)
    monkeypatch.setattr(pipeline, "_write_sidecars", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        convert.convert(model_dir, out, overwrite=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert listing(tmp_path) == ["out", "tiny"]


def test_too_little_space_is_said_before_anything_is_written(model_dir, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match=r"has 0\.00 GB free, the conversion needs"):
        convert.convert(model_dir, tmp_path / "deep" / "out")
    assert listing(tmp_path) == ["tiny"]


LIMITED = """
import resource, signal, sys, convert
from mlx_model.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    convert.convert(sys.argv[1], sys.argv[2])
except OutputError as error:
    print(error)
"""


def test_a_write_that_the_kernel_refuses_half_way_leaves_nothing(model_dir, tmp_path):
    """A real failing write: the process may write no file larger than 5000 bytes."""
    out = tmp_path / "deep" / "out"
    found = subprocess.run(
        [sys.executable, "-c", LIMITED, str(model_dir), str(out)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert found.stdout == f"{out} cannot be written: File too large; make room there, or choose another place\n"
    assert listing(tmp_path) == ["tiny"]


SLOW = """
import sys, time, convert
from convert import pipeline
written = pipeline.write_weights
def slow(plan, stage):
    files = written(plan, stage)
    print("written", flush=True)
    time.sleep(60)
    return files
pipeline.write_weights = slow
convert.convert(sys.argv[1], sys.argv[2], overwrite=True)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_leaves_nothing_that_loads_and_the_next_one_clears_up(model_dir, tmp_path, how):
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, str(model_dir), str(out)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(how)
    left = [name for name in listing(tmp_path) if name.startswith(".out.partial-")]
    assert len(left) == 1
    assert not out.exists()
    assert "config.json" not in listing(tmp_path / left[0])
    convert.convert(model_dir, out)
    assert listing(tmp_path) == ["out", "tiny"]


def test_ctrl_c_leaves_nothing(model_dir, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "verify", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert.convert(model_dir, tmp_path / "deep" / "out")
    assert listing(tmp_path) == ["tiny"]


def test_a_read_only_place_is_an_output_error(model_dir, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file is a file; expected a folder"):
        convert.convert(model_dir, tmp_path / "file" / "out")


def test_written_files_have_ordinary_permissions(model_dir, tmp_path):
    mask = os.umask(0o022)
    try:
        convert.convert(model_dir, tmp_path / "out")
    finally:
        os.umask(mask)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755
