"""Three WAV files in one, as chunked servers send them: the first is transcribed, exit code 0, and not a word of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import mlx_model
from mlx_model.pipelines.detect import detect
from mlx_model.pipelines.long_audio import transcribe_long
from tests import forked
from tests.conftest import ROOT, speech_like
from tests.mlx_model.asr_models import write_recogniser
from tests.mlx_model.audio_bytes import wav

ONE = wav((speech_like(1.0) * 32767).astype("i2"))
NOTE = (
    "holds 3 recordings in a row; the first is heard, as FunASR does, 2.00 s behind it are not: "
    "split the file to hear all"
)


def test_the_row_and_stderr_say_what_was_not_heard(tmp_path: Path):
    write_recogniser(tmp_path / "model")
    (tmp_path / "three.wav").write_bytes(3 * ONE)
    (tmp_path / "one.wav").write_bytes(ONE)
    words = ["transcribe", tmp_path / "model", tmp_path / "three.wav", tmp_path / "one.wav", "--json"]
    command = [forked.python("command"), str(ROOT / "mlx_funasr.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    three, one = json.loads(done.stdout)["results"]
    assert (three["text"], three["duration_s"]) == (one["text"], 1.0)
    assert (three["notes"], one["notes"]) == ([NOTE], [])
    assert f"note: {tmp_path / 'three.wav'}: {NOTE}" in done.stderr.splitlines()


def test_detections_and_long_recordings_carry_the_note(tmp_path: Path):
    import convert
    from tests.mlx_model.vad_models import write_vad

    convert.convert(write_vad(tmp_path / "source"), tmp_path / "vad")
    detector, recogniser = mlx_model.load(tmp_path / "vad"), mlx_model.load(write_recogniser(tmp_path / "model"))
    (tmp_path / "three.wav").write_bytes(3 * ONE)
    (found,) = detect(detector, tmp_path / "three.wav")
    assert (found.notes, found.duration_s) == ([NOTE], 1.0)
    (transcript,) = transcribe_long(recogniser, detector, tmp_path / "three.wav")
    assert (transcript.notes, transcript.duration_s) == ([NOTE], 1.0)
