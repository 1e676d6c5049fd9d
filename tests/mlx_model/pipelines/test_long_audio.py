"""Long recordings to text. Oracles: FunASR's AutoModel with a vad_model, `transcribe` on parts cut by hand, hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import convert
import mlx_model
from mlx_model.audio.files import load_audio
from mlx_model.errors import UsageError
from mlx_model.models.fsmn_vad_streaming import VadOptions
from mlx_model.pipelines import long_audio
from mlx_model.pipelines.long_audio import cut, merged, transcribe_long
from mlx_model.text.formats import FORMATS, check_format, to_document
from mlx_model.text.results import Segment, Transcript
from mlx_model.text.subtitles import clock
from parity.demo import MODEL, SPEECH
from tests.mlx_model.vad_models import write_vad
from tests.mlx_model.vad_reference import ask

FIXED = VadOptions()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The demo recogniser and a random detector."""
    folder = tmp_path_factory.mktemp("long")
    convert.convert(MODEL, folder / "asr")
    convert.convert(write_vad(folder / "source"), folder / "vad")
    return mlx_model.load(folder / "asr"), mlx_model.load(folder / "vad")


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Six demo utterances with half a second of faint noise between them."""
    rng = np.random.default_rng(0)
    files = sorted(SPEECH.rglob("*.wav"))[:6]
    parts = [part for path in files for part in (load_audio(path), rng.standard_normal(8000) * 3e-4)]
    return np.concatenate(parts).astype(np.float32)


def test_every_segment_is_what_transcribe_says_of_it(models, speech: np.ndarray):
    recogniser, detector = models
    (found,) = transcribe_long(recogniser, detector, speech, vad_options=FIXED)
    times = detector.segments(speech, FIXED)
    assert len(times) > 5
    assert [[part.start_ms, part.end_ms] for part in found.segments] == times
    alone = recogniser.transcribe([speech[16 * start : 16 * end] for start, end in times], batch_size=1)
    assert [part.text for part in found.segments] == [one.text for one in alone]
    assert found.text == " ".join(one.text for one in alone)
    assert found.token_ids == [token for one in alone for token in one.token_ids]


def test_windows_and_pieces_make_no_difference(models, speech: np.ndarray, tmp_path: Path, monkeypatch):
    recogniser, detector = models
    soundfile.write(tmp_path / "a.wav", speech, 16000, subtype="FLOAT")
    (whole,) = transcribe_long(recogniser, detector, tmp_path / "a.wav", vad_options=FIXED)
    monkeypatch.setattr(long_audio, "WINDOW_S", 2.0)
    monkeypatch.setattr("mlx_model.audio.files.BLOCK", 12_345)
    done: list[float] = []
    (pieces,) = transcribe_long(recogniser, detector, tmp_path / "a.wav", vad_options=FIXED, progress=done.append)
    assert pieces == whole
    assert sum(done) == pytest.approx(len(speech) / 16000)
    assert len(done) > 3


def test_silence_says_nothing_and_a_bad_file_says_why(models, tmp_path: Path):
    recogniser, detector = models
    options = VadOptions(speech_noise_thres=1.1)  # nothing is speech
    silent, bad = transcribe_long(
        recogniser, detector, [np.zeros(16000, np.float32), tmp_path / "no.wav"], vad_options=options
    )
    assert (silent.text, silent.segments, silent.error) == ("", [], None)
    assert (bad.text, bad.segments) == ("", [])
    assert "not found" in str(bad.error)
    with pytest.raises(UsageError, match="above 0 s"):
        transcribe_long(recogniser, detector, [], merge_s=0)


def test_cut_gives_the_samples_of_each_segment_and_keeps_nothing_else():
    samples = np.arange(16_000, dtype=np.float32)
    times = [[100, 200], [200, 350], [900, 1200]]  # adjacent ones; the last beyond the end
    for size in (1, 333, 16_000):
        pieces = iter(np.split(samples, range(size, len(samples), size)))
        found = list(cut(pieces, times, 16000))
        assert [(part[0], part[-1], len(part)) for part in found] == [
            (1600, 3199, 1600), (3200, 5599, 2400), (14400, 15999, 1600),
        ]  # fmt: skip


def test_merging_by_hand():
    """FunASR's rule: from 0 on, an edge is an end where the next one would make more than the limit."""
    times = [[1000, 4000], [5000, 9000], [9500, 16000], [16000, 17000]]
    assert merged(times, 10_000) == [[0, 9500], [9500, 17000]]
    assert merged([[1000, 4000]], 1000) == [[1000, 4000]]
    assert merged([], 1000) == []


def test_subtitles_by_hand():
    segments = [
        Segment(start_ms=1500, end_ms=3000, text="你好", token_ids=[3]),
        Segment(start_ms=3000, end_ms=4000, text="", token_ids=[]),
        Segment(start_ms=3_600_250, end_ms=3_604_007, text="a <b> & c", token_ids=[4]),
    ]
    results = [Transcript(path="a", text="", token_ids=[], duration_s=4000.0, segments=segments)]
    assert FORMATS["srt"](results) == (
        "1\n00:00:01,500 --> 00:00:03,000\n你好\n\n2\n01:00:00,250 --> 01:00:04,007\na <b> & c\n"
    )
    assert FORMATS["vtt"](results) == (
        "WEBVTT\n\n00:00:01.500 --> 00:00:03.000\n你好\n\n01:00:00.250 --> 01:00:04.007\na &lt;b&gt; &amp; c\n"
    )
    assert clock(359_999_999, ",") == "99:59:59,999"
    row = to_document(results)["results"][0]["segments"][0]
    said = {"start_ms": 1500, "end_ms": 3000, "text": "你好", "token_ids": [3], "error": None}
    unknown = ("words", "language", "emotion", "events", "confidence", "confidences", "entropies", "alternatives")
    assert row == {**said, **dict.fromkeys(unknown), "flags": []}


def test_subtitles_are_of_one_recording():
    with pytest.raises(UsageError, match="one recording, not 2"):
        check_format("vtt", 2)
    check_format("srt", 1)


@pytest.mark.reference
def test_the_text_is_automodel_s(models, speech: np.ndarray, tmp_path: Path):
    """AutoModel(model=..., vad_model=...): by default, with fixed thresholds, and with merged segments."""
    source = write_vad(tmp_path / "vad", tensors="model.pt")
    arrays = {"speech": speech, "silence": np.zeros(16000, np.float32)}
    options = ({}, {"dynamic_silence": False}, {"dynamic_silence": False, "merge_vad": True})
    cases: list[dict[str, Any]] = [
        {"asr": str(MODEL), "made_with": {"merge_length_s": 4}, "audio": name, "options": given}
        for name in arrays for given in options
    ]  # fmt: skip
    (expected,) = ask({source: cases}, arrays)
    found = [
        transcribe_long(
            *models, arrays[case["audio"]], merge_s=4 if "merge_vad" in case["options"] else None,
            vad_options=VadOptions(dynamic_silence=case["options"].get("dynamic_silence", True)),
        )[0].text
        for case in cases
    ]  # fmt: skip
    assert found == expected
    assert len(set(expected[:3])) == 3  # three ways of cutting, three texts
