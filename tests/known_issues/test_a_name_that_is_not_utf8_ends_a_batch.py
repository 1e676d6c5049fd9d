"""One recording called b"bad\\xff\\xfe.flac", and a whole batch of `transcribe` or `vad` ends in UnicodeEncodeError."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests.conftest import ROOT, speech_like
from tests.mlx_model.asr_models import write_recogniser

NAMES = [
    b"bad\xff\xfe.wav",
    b"bad\xff\xfe.flac",
    b"\xff.mp3",
    b"new\nline.wav",
    b" trailing .wav ",
    "😀.wav".encode(),
    b"-x.wav",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of which all but the last can be read, and a model of random weights."""
    folder = tmp_path_factory.mktemp("names")
    write_recogniser(folder / "model")
    for name in NAMES:
        kind = os.path.splitext(name.decode("latin-1").strip())[1][1:].upper()
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            soundfile.write(file, speech_like(1.0), 16000, format=kind)
    (folder / ("y" * 255)).write_bytes(b"no audio" * 99)
    return folder


def test_every_name_is_opened_and_one_bad_input_has_its_own_row(folder: Path):
    command = [sys.executable, str(ROOT / "mlx_funasr.py"), "transcribe", "model", "--json", "--", *NAMES, b"y" * 255]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(command, cwd=folder, capture_output=True, env=environment)
    assert done.returncode == 1, done.stderr
    rows = json.loads(done.stdout)["results"]
    assert [row["path"] for row in rows] == [name.decode("utf-8", "backslashreplace") for name in NAMES] + ["y" * 255]
    assert [row["error"] is None for row in rows] == [True] * len(NAMES) + [False]
    texts = {row["text"] for row in rows[:2]}
    assert texts == {rows[0]["text"]} != {""}
    (line,) = done.stderr.decode("utf-8").splitlines()
    assert line == f"not transcribed: {'y' * 255}: is text, not audio; name a recording"


def test_a_bad_one_alone_is_one_line_and_exit_code_2(folder: Path):
    command = [sys.executable, str(ROOT / "mlx_funasr.py"), "transcribe", "model", b"gone\xff\n.wav"]
    done = subprocess.run(command, cwd=folder, capture_output=True)
    assert (done.returncode, done.stderr.decode("utf-8")) == (2, "not transcribed: 'gone\\xff\\n.wav': not found\n")
