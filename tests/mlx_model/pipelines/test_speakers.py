"""Embeddings of files, verification's cosine, and who spoke when: with an embedder and a detector that are known.

Oracle: by hand. FunASR's own networks and clusters: models/test_campplus.py, decoding/test_clustering.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from mlx_model.errors import UsageError
from mlx_model.pipelines import speakers
from mlx_model.text.results import Times


class Voices:
    """An embedder that hears how loud the positive half of a window is, and two directions of it."""

    config: Any = SimpleNamespace(frontend=SimpleNamespace(fs=16000, frame_shift=10.0))
    frontend = SimpleNamespace(min_samples=720)
    threshold = 0.5

    def features_of(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def embed(self, waveforms: Any) -> np.ndarray:
        rng = np.random.default_rng(len(waveforms))
        levels = np.array([wave.mean() for wave in waveforms])
        return (np.stack([levels, -levels], 1) + 1e-3 * rng.standard_normal((len(levels), 2))).astype(np.float32)


@dataclass(frozen=True)
class NoOptions:
    """A detector without any."""


class Stretches:
    """A detector that knows where speech is."""

    config = Voices.config
    Options = NoOptions

    def __init__(self, times: Times):
        self.times = times

    def stream(self, **_: Any) -> Any:
        feed = lambda samples, is_final=False: self.times if is_final else []  # noqa: E731
        return SimpleNamespace(speech=None, feed=feed)


def meeting() -> np.ndarray:
    """30 s: somebody above zero, somebody below, each 9 s at a time, 1 s of silence behind each."""
    wave = np.zeros(16000 * 30, np.float32)
    for start, level in ((0, 0.5), (10, -0.5), (20, 0.5)):
        wave[start * 16000 : (start + 9) * 16000] = level
    return wave


TIMES = [[0, 9000], [10_000, 19_000], [20_000, 29_000]]


@pytest.mark.parametrize("as_funasr", [False, True])
@pytest.mark.parametrize("number", [None, 2])
def test_who_spoke_when(as_funasr: bool, number: int | None):
    detector: Any = Stretches(TIMES)
    (found,) = speakers.diarize(Voices(), detector, meeting(), speakers=number, as_funasr=as_funasr)
    assert found.turns == [(0.0, 9.0, 0), (10.0, 19.0, 1), (20.0, 29.0, 0)]
    assert found.centers is not None
    assert found.centers.shape == (2, 2)
    assert (found.error, found.notes, found.speakers) == (None, [], 2)


def test_more_speakers_asked_for_than_there_are_is_said():
    detector: Any = Stretches([[0, 3000]])  # three windows
    (found,) = speakers.diarize(Voices(), detector, meeting(), speakers=50)
    assert found.notes == [f"50 speakers were asked for, {found.speakers} found in 3 windows of speech"]


def test_no_speech_and_twenty_milliseconds_of_it():
    nobody, short = Stretches([]), Stretches([[100, 120]])
    detector: Any = nobody
    assert speakers.diarize(Voices(), detector, meeting())[0].turns == []
    detector = short
    assert speakers.diarize(Voices(), detector, meeting())[0].turns == [(0.1, 0.1 + 320 / 16000, 0)]


def test_models_of_two_rates_are_refused():
    detector: Any = SimpleNamespace(config=SimpleNamespace(frontend=SimpleNamespace(fs=8000)))
    with pytest.raises(UsageError, match="the embedder takes 16000 Hz and the detector 8000 Hz"):
        speakers.diarize(Voices(), detector, meeting())
    detector = Stretches([])
    with pytest.raises(UsageError, match="0 speakers"):
        speakers.diarize(Voices(), detector, meeting(), speakers=0)


def test_files_of_other_rates_are_heard_and_bad_ones_keep_their_place(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", np.full(8000, 0.25), 8000)
    soundfile.write(tmp_path / "short.wav", np.full(600, 0.25), 16000)
    names = [tmp_path / name for name in ("a.wav", "short.wav", "none.wav")]
    found = speakers.embed(Voices(), names)
    assert found[0].embedding is not None
    assert found[0].embedding[0] == pytest.approx(0.25, abs=0.01)  # 1e-3 of noise, and the resampler's edges
    assert found[0].duration_s == 1.0
    assert "600 samples; one frame needs 720" in str(found[1].error)
    assert "not found" in str(found[2].error)
    document = speakers.embeddings_document(found)
    assert [row["embedding"] is None for row in document["results"]] == [False, True, True]


def test_cosines():
    assert speakers.cosine(np.array([3.0, 4.0]), np.array([4.0, 3.0])) == pytest.approx(0.96)
    assert speakers.cosine(np.zeros(2), np.ones(2)) == 0.0


def test_formats():
    detector: Any = Stretches(TIMES)
    found = speakers.diarize(Voices(), detector, meeting())
    assert json.loads(speakers.FORMATS["json"](found))["results"][0]["segments"] == [
        [0.0, 9.0, 0], [10.0, 19.0, 1], [20.0, 29.0, 0]
    ]  # fmt: skip
    assert speakers.FORMATS["tsv"](found).splitlines()[2] == "\t10.000\t19.000\t1"
    with pytest.raises(UsageError, match="unknown format 'srt'"):
        speakers.check_format("srt")
