"""Partials, end points and second passes of one stream. Oracles: each model alone on the same samples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import pytest

import convert
import mlx_model
from mlx_model.errors import AudioError, UsageError
from mlx_model.pipelines.live import PIECE, Live
from mlx_model.pipelines.streams import Partial
from mlx_model.pipelines.two_pass import TwoPass
from mlx_model.text.results import Punctuated, Segment
from tests.conftest import speech_like
from tests.mlx_model.asr_models import write_recogniser
from tests.mlx_model.streaming_models import write_streaming
from tests.mlx_model.vad_models import write_vad

WINDOWS = {"chunk_size": [0, 4, 2], "encoder_chunk_look_back": 1, "decoder_chunk_look_back": 1}


class Models(NamedTuple):
    streaming: Any
    vad: Any
    second: Any


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("two-pass")
    convert.convert(write_vad(folder / "source"), folder / "vad")
    streaming, second = write_streaming(folder / "streaming"), write_recogniser(folder / "second")
    return Models(*map(mlx_model.load, (streaming, folder / "vad", second)))


@pytest.fixture(scope="module")
def waveform() -> np.ndarray:
    quiet = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 1e-4
    return np.concatenate([quiet, speech_like(4.0), quiet])


def fed(stream: Any, waveform: np.ndarray, size: int) -> list[Partial | Segment]:
    """Everything that a stream gives, of pieces of one size."""
    found = [one for at in range(0, len(waveform), size) for one in stream.feed(waveform[at : at + size])]
    return [*found, *stream.feed(np.empty(0, np.float32), is_final=True)]


def said(found: list[Partial | Segment]) -> list[tuple[str, list[int]]]:
    return [(one.text, one.token_ids) for one in found if isinstance(one, Partial)]


def test_partials_and_finals_are_what_each_model_says_alone(models: Models, waveform: np.ndarray):
    asked = {"stream_options": WINDOWS, "second_options": {"confidence": True, "times": True}}
    found = fed(TwoPass(*models, chunk_ms=100, **asked), waveform, 999)
    segments = [one for one in found if isinstance(one, Segment)]
    expected = models.vad.stream(chunk_ms=100, live=False).feed(waveform, is_final=True)
    assert [[one.start_ms, one.end_ms] for one in segments] == expected
    assert len(expected) > 2
    for segment in segments:
        own = waveform[segment.start_ms * 16 : segment.end_ms * 16]
        (alone,) = models.second.transcribe(own, confidence=True, times=True)
        assert (segment.text, segment.token_ids) == (alone.text, alone.token_ids)
        assert segment.confidences == alone.confidences
        assert segment.words is not None
        assert all(segment.start_ms <= word.start_ms <= word.end_ms <= segment.end_ms for word in segment.words)
        partials, found = found[: found.index(segment)], found[found.index(segment) + 1 :]
        stream = models.streaming.stream(**WINDOWS)
        rest = stream.feed(waveform[segment.start_ms * 16 :])
        assert said(partials) == said(rest)[: len(partials)]
        assert [one.start_ms for one in partials if isinstance(one, Partial)] == [
            one.start_ms + segment.start_ms for one in rest[: len(partials)]
        ]
    assert any(segment.text for segment in segments)


def test_results_do_not_depend_on_how_samples_arrive(models: Models, waveform: np.ndarray):
    first, *others = (fed(TwoPass(*models, stream_options=WINDOWS), waveform, size) for size in (160, 3200, 10**6))
    assert len(said(first)) > 3
    assert all(other == first for other in others)


def test_without_a_second_pass_the_segment_is_what_the_streaming_model_said(models: Models, waveform: np.ndarray):
    found = fed(TwoPass(models.streaming, models.vad, stream_options=WINDOWS), waveform, 1600)
    texts, ids = [""], [[]]
    for one in found:
        if isinstance(one, Segment):
            assert (one.text, one.token_ids) == (texts.pop(), ids.pop())
            texts, ids = [""], [[]]
        else:
            texts, ids = [texts[-1] + one.text], [[*ids[-1], *one.token_ids]]
    assert texts == [""]


def test_memory_is_that_of_a_segment_and_not_of_the_stream(models: Models, waveform: np.ndarray):
    stream = TwoPass(*models, stream_options=WINDOWS)
    kept: list[int] = []
    longest = 0
    for at in range(0, 10 * len(waveform), 1600):
        piece = np.take(waveform, np.arange(at, at + 1600), mode="wrap")
        for one in stream.feed(piece):
            longest = max(longest, one.end_ms - one.start_ms) if isinstance(one, Segment) else longest
        kept.append(len(stream.kept))
    assert max(kept) <= 16 * (longest + 1000)  # a segment, and what its end is known later
    assert min(kept[100:]) < 16 * 500  # of silence only what the VAD may still look back at
    assert len(stream.token_ids) < 100


def test_a_stream_that_ends_within_a_segment_ends_it(models: Models):
    stream = TwoPass(*models, stream_options=WINDOWS)
    found = fed(stream, speech_like(0.9), 1600)
    assert isinstance(found[-1], Segment)
    with pytest.raises(UsageError, match="has ended"):
        list(stream.feed(speech_like(0.5)))


def test_what_models_refuse_is_refused_at_once(models: Models):
    with pytest.raises(UsageError, match="chunk_size"):
        TwoPass(*models, stream_options={"chunk_size": [0, 10, 0]})
    with pytest.raises(UsageError, match="no such option"):
        TwoPass(*models, second_options={"colour": 3})
    with pytest.raises(UsageError, match="at least 1 ms"):
        TwoPass(*models, chunk_ms=0)


def test_whatever_ends_the_pieces_the_stream_is_ended_first(models: Models):
    waveform = speech_like(2.0)
    whole = "".join(one.text for one in models.streaming.stream(**WINDOWS).feed(waveform, is_final=True))

    def pieces(error: BaseException):
        yield waveform
        raise error

    for error in (KeyboardInterrupt(), AudioError("NaN")):
        live = Live(models.streaming.stream(**WINDOWS), pieces(error))
        texts: list[str] = []
        with pytest.raises(type(error)):
            texts.extend(one.text for one in live.heard())
        assert "".join(texts) == whole != ""
        assert live.samples == len(waveform) > PIECE
    with pytest.raises(AudioError, match="no samples came"):
        list(Live(models.streaming.stream(), iter([])).heard())


class Marking:
    """A Punctuator that tells what it was given, and how."""

    def punctuate(self, texts: list[str], options: Any = None, *, as_funasr: bool = False) -> list[Punctuated]:
        return [Punctuated(text=f"{text}{'!' if as_funasr else '.'}", words=[], punctuation=[]) for text in texts]


@pytest.mark.parametrize(("passes", "as_funasr"), [(1, False), (2, False), (2, True)])
def test_each_segment_gets_marks_of_its_own_and_keeps_its_words(
    models: Models, waveform: np.ndarray, passes: int, as_funasr: bool
):
    """Oracle: the same without a punctuator; partial text has no marks."""
    names = models[: passes + 1]
    asked = {"stream_options": WINDOWS | {"as_funasr": as_funasr}, "second_options": {"times": True}}
    plain = fed(TwoPass(*names, chunk_ms=100, **asked), waveform, 1600)
    marked = fed(TwoPass(*names, punctuator=cast("Any", Marking()), chunk_ms=100, **asked), waveform, 1600)
    assert said(marked) == said(plain)
    ends = [(one, two) for one, two in zip(plain, marked, strict=True) if isinstance(one, Segment)]
    assert any(one.text for one, _ in ends)
    for one, two in ends:
        assert replace(one, text=one.text and one.text + ("!" if as_funasr else ".")) == two
