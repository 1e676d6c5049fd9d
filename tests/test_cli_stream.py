"""`mlx-funasr transcribe --stream` as scripts see it: pipes, terminals, Ctrl-C, exit codes. Oracle: the model."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import convert
import mlx_model
from tests import forked
from tests.conftest import ROOT, speech_like
from tests.mlx_model.asr_models import write_recogniser
from tests.mlx_model.streaming_models import write_streaming
from tests.mlx_model.vad_models import write_vad

WINDOWS = ("--chunk", "0,4,2", "--look-back", "1,1")
SAME: dict[str, Any] = {"chunk_size": [0, 4, 2], "encoder_chunk_look_back": 1, "decoder_chunk_look_back": 1}
SAMPLES = (speech_like(3.0) * 32767).astype("<i2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three random networks and a recording of 3 s."""
    folder = tmp_path_factory.mktemp("stream-cli")
    write_streaming(folder / "streaming")
    write_recogniser(folder / "offline")
    convert.convert(write_vad(folder / "source"), folder / "vad")
    soundfile.write(folder / "a.wav", SAMPLES, 16000, subtype="PCM_16")
    return folder


@pytest.fixture(scope="module")
def expected(folder: Path) -> str:
    """What the model says of the recording, all of it at once."""
    stream = mlx_model.load(folder / "streaming").stream(**SAME)
    stream.feed(SAMPLES.astype(np.float32) / 32768, is_final=True)
    assert len(stream.text) > 5
    return stream.text


def command(*words: object) -> list[str]:
    return [forked.python("command"), str(ROOT / "mlx_funasr.py"), "transcribe", *map(str, words)]


def run(*words: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(command(*words), capture_output=True, input=stdin)
    assert b"Traceback" not in done.stdout + done.stderr, done.stderr
    return done


def test_a_pipe_a_wav_in_a_pipe_and_a_file_give_the_same_text(folder: Path, expected: str):
    for audio, stdin in (("-", SAMPLES.tobytes()), ("-", (folder / "a.wav").read_bytes()), (folder / "a.wav", b"")):
        done = run(folder / "streaming", audio, "--stream", *WINDOWS, stdin=stdin)
        assert (done.returncode, done.stdout.decode(), done.stderr) == (0, f"{expected}\n", b"")


def test_json_lines_put_together_are_the_text(folder: Path, expected: str):
    done = run(folder / "streaming", folder / "a.wav", "--stream", *WINDOWS, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["kind"] for row in rows[-2:]] == ["final", "end"]
    assert "".join(row["text"] for row in rows[:-2]) == rows[-2]["text"] == expected
    heard = [row["heard_ms"] for row in rows[:-2]]
    assert heard == sorted(heard)
    assert all(row["end_ms"] <= row["heard_ms"] for row in rows[:-3])  # 1.5 frames of the last are no whole one
    assert (rows[-1]["error"], rows[-1]["duration_s"], rows[-1]["numerics"]["device"]) == (None, 3.0, "cpu")


def test_two_passes_print_the_second_model_s_lines(folder: Path):
    both = ("--vad", folder / "vad", "--second-pass", folder / "offline")
    done = run(folder / "streaming", "-", "--stream", *WINDOWS, *both, "--json", stdin=SAMPLES.tobytes())
    finals = [row for row in map(json.loads, done.stdout.splitlines()) if row["kind"] == "final"]
    assert len(finals) > 1
    assert all(row["start_ms"] < row["end_ms"] and row["confidence"] is not None for row in finals if row["text"])
    lines = run(folder / "streaming", "-", "--stream", *WINDOWS, *both, stdin=SAMPLES.tobytes())
    assert lines.stdout.decode().splitlines() == [row["text"] for row in finals if row["text"]]


def test_a_terminal_s_line_is_rewritten(folder: Path):
    master, slave = pty.openpty()
    words = (folder / "streaming", folder / "a.wav", "--stream", *WINDOWS, "--vad", folder / "vad")
    with subprocess.Popen(command(*words), stdout=slave, stderr=subprocess.PIPE) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                shown += os.read(master, 4096)
            except OSError:  # the other side has closed
                break
    os.close(master)
    assert process.returncode == 0
    lines = shown.decode().split("\r\n")
    finals = [line.split("\r\x1b[K")[-1] for line in lines[:-1]]
    piped = run(*words)
    assert finals == piped.stdout.decode().splitlines() != []
    assert lines[0].count("\r\x1b[K") > 2


@pytest.mark.parametrize("format", ["text", "json"])  # a process of its own: a signal is to reach it
def test_ctrl_c_prints_the_text_so_far(folder: Path, expected: str, format: str):
    listening = "import signal, mlx_funasr; signal.signal(signal.SIGINT, signal.default_int_handler); mlx_funasr.main()"
    words = [sys.executable, "-c", listening, *command(folder / "streaming", "-", *WINDOWS, "--format", format)[2:]]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(SAMPLES.tobytes())
        process.stdin.flush()
        first = os.read(process.stdout.fileno(), 4096)  # text has come: it is listening
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate()
    assert process.returncode == 130
    assert errors.decode().startswith("interrupted")
    printed = (first + rest).decode()
    if format == "text":
        assert printed.endswith("\n")
        assert expected.startswith(printed[:-1])
        assert len(printed) > 3
    else:
        last = [json.loads(line) for line in printed.splitlines()[-2:]]
        assert [(line["kind"], line["error"]) for line in last] == [("final", "interrupted"), ("end", "interrupted")]


def test_bad_input_is_one_line_and_exit_code_2(folder: Path):
    model, offline = folder / "streaming", folder / "offline"
    bad = np.array([0.0, np.nan], "<f4")
    soundfile.write(folder / "nan.wav", bad, 16000, subtype="FLOAT")
    for words, stdin, says in (
        ((model, "-"), b"", "no samples came"),
        ((model, "-"), (folder / "nan.wav").read_bytes(), "the first at sample 1"),
        ((model, folder / "none.wav", "--stream"), b"", "not found"),
        ((model, "-", "--chunk", "1,2"), b"", "--chunk 1,2: expected 3 whole numbers"),
        ((model, "-", "--chunk", "0,10,0"), b"", "at least 1 frame to the right"),
        ((model, "-", "--language", "zh"), b"", "no such option"),
        ((offline, "-"), b"", "--second-pass"),
        ((offline, folder / "a.wav", "--chunk", "0,10,5"), b"", "--chunk: a paraformer has no such option"),
    ):
        done = run(*words, stdin=stdin)
        assert (done.returncode, done.stdout) == (2, b""), (words, done)
        assert says in done.stderr.decode(), (words, done.stderr)
        assert len(done.stderr.decode().strip().splitlines()) == 1
