"""Recordings and pipes to segments, and how they are written down. Oracles: `Model.segments`, formats by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import convert
import mlx_model
from mlx_model.audio import files as audio
from mlx_model.errors import AudioError, UsageError
from mlx_model.models.fsmn_vad_streaming import Model, VadOptions
from mlx_model.pipelines.detect import FORMATS, check_format
from mlx_model.text.results import Detection
from tests.conftest import speech_like
from tests.mlx_model.vad_models import write_vad


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("vad")
    convert.convert(write_vad(folder / "source"), folder / "model")
    return mlx_model.load(folder / "model")


def test_files_arrays_and_errors_in_order(model: Model, tmp_path: Path):
    waveform = speech_like(4.0)
    soundfile.write(tmp_path / "a.wav", waveform, 16000, subtype="FLOAT")
    (tmp_path / "b.wav").write_bytes(b"RIFF nonsense")
    done: list[float] = []
    found = model.detect([tmp_path / "a.wav", tmp_path / "b.wav", waveform], progress=done.append)
    expected = model.segments(waveform)
    assert expected
    assert [item.segments for item in found] == [expected, [], expected]
    assert [item.duration_s for item in found] == [4.0, 0.0, 4.0]
    assert [item.error is None for item in found] == [True, False, True]
    assert str(tmp_path / "b.wav") in str(found[1].error)
    assert done == [1.0, 1.0, 1.0]


def test_a_recording_is_read_in_pieces_and_means_the_same(model: Model, tmp_path: Path, monkeypatch):
    waveform = speech_like(4.0)
    soundfile.write(tmp_path / "a.flac", waveform, 16000)
    expected = model.detect(tmp_path / "a.flac")
    monkeypatch.setattr(audio, "BLOCK", 7777)
    assert max(map(len, audio.blocks(tmp_path / "a.flac"))) == 7777
    assert model.detect(tmp_path / "a.flac") == expected
    np.testing.assert_array_equal(
        np.concatenate(list(audio.blocks(tmp_path / "a.flac"))), audio.load_audio(tmp_path / "a.flac")
    )


def test_pieces_of_another_rate_are_those_of_load_audio(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", speech_like(1.0, rate=8000), 8000)
    whole = audio.load_audio(tmp_path / "a.wav")
    np.testing.assert_array_equal(np.concatenate(list(audio.blocks(tmp_path / "a.wav"))), whole)


@pytest.mark.parametrize(("samples", "says"), [(399, "too short"), (0, "empty audio")])
def test_pieces_of_too_short_a_file(tmp_path: Path, samples: int, says: str):
    soundfile.write(tmp_path / "a.wav", np.zeros(samples), 16000)
    with pytest.raises(AudioError, match=says):
        list(audio.blocks(tmp_path / "a.wav"))


def test_nan_in_a_later_piece_is_named_by_its_place(model: Model, tmp_path: Path, monkeypatch):
    waveform = speech_like(1.0)
    waveform[12345] = np.nan
    soundfile.write(tmp_path / "a.wav", waveform, 16000, subtype="FLOAT")
    monkeypatch.setattr(audio, "BLOCK", 1000)
    (found,) = model.detect(tmp_path / "a.wav")
    assert "the first at sample 12345" in str(found.error)


def test_live_rows_come_while_the_recording_is_read(model: Model):
    rows: list[str] = []
    (found,) = model.detect(speech_like(4.0), chunk_ms=100, live=rows.append)
    assert rows[0] == "path\tstart_ms\tend_ms"
    assert [[int(time) for time in row.split("\t")[1:]] for row in "\n".join(rows[1:]).splitlines()] == found.segments


def test_json_and_tsv():
    results = [
        Detection(path="a.wav", segments=[[70, 2340], [2620, 6200]], duration_s=7.5),
        Detection(path="b", error="x"),
    ]
    document = json.loads(FORMATS["json"](results))
    assert document["schema"] == "vad/1"
    assert document["results"][0] == {
        "path": "a.wav", "segments": [[70, 2340], [2620, 6200]], "duration_s": 7.5, "error": None,
        "notes": [],
    }  # fmt: skip
    assert FORMATS["tsv"](results).splitlines() == ["path\tstart_ms\tend_ms", "a.wav\t70\t2340", "a.wav\t2620\t6200"]


def test_a_textgrid_covers_the_recording_without_a_gap():
    grid = FORMATS["textgrid"]([Detection(path="a", segments=[[0, 1500], [2000, 36_000_130]], duration_s=36_001.0)])
    lines = [line.strip() for line in grid.splitlines()]
    assert lines[0] == 'File type = "ooTextFile"'
    edges = [line.split(" = ")[1] for line in lines if line.startswith(("xmin", "xmax"))][4:]
    assert edges == ["0", "1.5", "1.5", "2", "2", "36000.13", "36000.13", "36001"]
    assert [line for line in lines if line.startswith("text")] == ['text = "speech"', 'text = ""'] * 2
    assert "intervals: size = 4" in lines
    empty = FORMATS["textgrid"]([Detection(path="a", duration_s=2.0)])
    assert "intervals: size = 1" in empty
    assert FORMATS["textgrid"]([Detection(path="a", error="a: not found")]) == ""


def test_formats_that_cannot_be_given():
    with pytest.raises(UsageError, match="holds one recording, not 2"):
        check_format("textgrid", 2)
    with pytest.raises(UsageError, match="unknown format 'srt'"):
        check_format("srt", 1)


def test_options_change_the_decision(model: Model):
    waveform = speech_like(4.0)
    short, long = (model.segments(waveform, VadOptions(max_end_silence_time=ms)) for ms in (100, 3000))
    assert len(short) > len(long)
    assert model.segments(waveform, VadOptions(speech_noise_thres=1.1)) == []
