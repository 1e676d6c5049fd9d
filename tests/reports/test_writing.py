"""Files that appear whole or not at all. Oracle: the file system, and json.loads."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from reports.writing import replacing, write_json, write_text


def full(path: Path) -> None:
    path.touch()
    raise OSError(28, "No space left on device")


def test_an_error_leaves_the_earlier_file_and_nothing_else(tmp_path: Path):
    write_text(tmp_path / "a", "old")
    with pytest.raises(OSError, match="No space") as caught, replacing(tmp_path / "a") as temporary:
        full(temporary)
    assert caught.value.filename == str(tmp_path / "a")  # write() itself names no file
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text("utf-8") == "old"


def test_names_that_are_no_text_are_json_escapes(tmp_path: Path):
    document = {"path": os.fsdecode(b"bad\xff.wav"), "text": "好"}
    written = write_json(tmp_path / "a.json", document).read_bytes()
    assert json.loads(written.decode("utf-8")) == document
    assert "好".encode() in written
