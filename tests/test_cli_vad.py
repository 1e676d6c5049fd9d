"""`mlx-funasr vad` as scripts see it: exit codes, one-line errors, pipes, the fields of `--json`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

import convert
from parity.demo import MODEL, SPEECH
from tests import forked
from tests.conftest import ROOT, speech_like
from tests.mlx_model.vad_models import write_vad


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted random network and a recording of 4 s."""
    folder = tmp_path_factory.mktemp("vad-cli")
    convert.convert(write_vad(folder / "source"), folder / "model")
    soundfile.write(folder / "a.wav", speech_like(4.0), 16000, subtype="PCM_16")
    return folder


def run(*words: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [forked.python("command"), str(ROOT / "mlx_funasr.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, input=stdin)
    assert b"Traceback" not in done.stdout + done.stderr, done.stderr
    return done


def test_a_file_and_a_pipe_of_it_give_the_same(folder: Path):
    done = run("vad", folder / "model", folder / "a.wav", "--json", "--stream", "--chunk-ms", 100)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (result,) = document["results"]
    assert (document["schema"], result["path"], result["error"]) == ("vad/1", str(folder / "a.wav"), None)
    assert len(result["segments"]) > 2
    samples = np.asarray(soundfile.read(folder / "a.wav", dtype="int16")[0])
    piped = run("vad", folder / "model", "-", "--chunk-ms", 100, stdin=samples.tobytes())
    rows = [f"-\t{start}\t{end}" for start, end in result["segments"]]
    assert piped.stdout.decode().splitlines() == ["path\tstart_ms\tend_ms", *rows]


def test_bad_input_is_one_line_and_exit_code_2(folder: Path):
    header = (folder / "a.wav").read_bytes()
    for words, stdin, says in (
        ((folder / "nothing.wav",), b"", "not found"),
        (("-",), b"fLaC" + header, "FLAC header"),
        (("-", "--rate", "5"), b"", "--rate 5: expected 1000 to 768000"),
        ((folder / "a.wav", "--format", "srt"), b"", "unknown format 'srt'"),
        ((folder / "a.wav", "--stream", "--chunk-ms", "0"), b"", "--chunk-ms 0: expected 1 to 60000"),
    ):
        done = run("vad", folder / "model", *words, stdin=stdin)
        assert (done.returncode, done.stdout.count(b"\n") <= 1) == (2, True), words  # the table's header at most
        assert says in done.stderr.decode()
        assert len(done.stderr.decode().strip().splitlines()) == 1


def test_transcribe_with_vad_gives_times_and_subtitles(folder: Path, tmp_path: Path):
    convert.convert(MODEL, tmp_path / "asr")
    speech = sorted(SPEECH.rglob("*.wav"))[0]
    done = run("transcribe", tmp_path / "asr", speech, "--vad", folder / "model", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["results"]
    assert row["text"] == " ".join(part["text"] for part in row["segments"]) != ""
    assert all(part["start_ms"] < part["end_ms"] for part in row["segments"])
    done = run("transcribe", tmp_path / "asr", speech, "--vad", folder / "model", "--format", "srt")
    assert done.stdout.decode().startswith("1\n00:00:0")
    refused = run("transcribe", tmp_path / "asr", speech, "--vad", tmp_path / "asr")
    assert (refused.returncode, b"finds speech" in refused.stderr) == (2, True)


def test_each_command_refuses_the_other_s_model(folder: Path):
    done = run("transcribe", folder / "model", folder / "a.wav")
    assert done.returncode == 2
    assert "try mlx-funasr vad" in done.stderr.decode()
