"""`convert` of a model.pt with one damaged byte ended with "verified", although the archive's own checksum shows it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import convert
from mlx_model.errors import CheckpointError
from tests.conftest import ROOT

MODEL = ROOT / "parity/demo/model"


def damaged(folder: Path, record: str) -> Path:
    """Copy the bundled checkpoint with a bit turned over in the middle of one of its records."""
    shutil.copytree(MODEL, folder)
    with zipfile.ZipFile(MODEL / "model.pt") as archive:
        entry = archive.getinfo(record)
        data = archive.read(entry)
    raw = bytearray((MODEL / "model.pt").read_bytes())
    begin = raw.index(data, entry.header_offset)
    raw[begin + len(data) // 2] ^= 1
    (folder / "model.pt").write_bytes(raw)
    return folder


# data/80 is a tensor that conversion drops; the last two hold no weights.
@pytest.mark.parametrize("record", ["data/0", "data/59", "data/80", "data/148", "data.pkl", "version"])
def test_a_damaged_byte_is_refused_and_nothing_is_written(tmp_path, record):
    source = damaged(tmp_path / "src", f"model/{record}")
    with pytest.raises(CheckpointError, match=rf"record '{record}' has the checksum"):
        convert.convert(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


def test_inspect_refuses_it_too(tmp_path):
    with pytest.raises(CheckpointError, match="record 'data/59' has the checksum"):
        convert.inspect(damaged(tmp_path / "src", "model/data/59"))


def test_the_bundled_checkpoint_is_converted_without_torch(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None; import convert; "
        "print(len(convert.convert(sys.argv[1], sys.argv[2]).tensors))"
    )
    command = [sys.executable, "-c", code, str(MODEL), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "150\n"), done.stderr
