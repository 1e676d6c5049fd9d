"""`mlx-funasr transcribe MODEL a.wav <&-` ends in "not a whole safetensors file; convert the source again"."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import soundfile

from tests.conftest import ROOT, speech_like
from tests.mlx_model.asr_models import write_recogniser


def closed(*words: object) -> subprocess.CompletedProcess[str]:
    command = ["/bin/sh", "-c", 'exec "$@" <&-', "sh", sys.executable, str(ROOT / "mlx_funasr.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_closed_stdin_changes_nothing(tmp_path: Path):
    write_recogniser(tmp_path / "model")
    soundfile.write(tmp_path / "a.wav", speech_like(1.0), 16000)
    done = closed("transcribe", tmp_path / "model", tmp_path / "a.wav")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


REPORT = """
import os
from reports import streams
streams.fill()
print(os.open(os.devnull, os.O_RDONLY) > 2, [os.path.samestat(os.fstat(n), os.stat(os.devnull)) for n in (0, 2)])
"""


def test_no_file_is_opened_under_the_number_of_a_closed_stream():
    line = ["bash", "-c", '"$0" -c "$1" <&- 2>&-', sys.executable, REPORT]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True [True, True]\n"


def test_a_closed_stdin_has_no_samples(tmp_path: Path):
    import convert
    from tests.mlx_model.vad_models import write_vad

    convert.convert(write_vad(tmp_path / "source"), tmp_path / "vad")
    done = closed("vad", tmp_path / "vad", "-")
    assert done.returncode == 2
    assert done.stderr == "not heard: standard input is closed; - reads samples from a pipe\n"
