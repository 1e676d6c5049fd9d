"""Streams: whatever samples come in, whoever else is there, copied or saved: the same. And what is refused.

Oracle: the stream that is fed at once. A network with random weights; FunASR is asked in models/.
"""

from __future__ import annotations

import gc
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_model.errors import AudioError, UsageError
from mlx_model.pipelines.streams import Partial, Streams, TextStream
from tests.conftest import speech_like
from tests.mlx_model.streaming_models import LOOK_BACK, load_streaming

NOTHING = np.empty(0, np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_streaming(tmp_path_factory.mktemp("streaming") / "model")


def ids(partials: list[Partial]) -> list[list[int]]:
    return [partial.token_ids for partial in partials]


def fed(stream: TextStream, samples: np.ndarray, size: int) -> list[Partial]:
    found = [partial for at in range(0, len(samples), size) for partial in stream.feed(samples[at : at + size])]
    return found + stream.feed(NOTHING, is_final=True)


@pytest.mark.parametrize("size", [700, 9600, 25_000])
def test_results_do_not_depend_on_the_calls(model: Any, size: int):
    samples, whole = speech_like(2.5), model.stream(**LOOK_BACK)
    at_once = whole.feed(samples, is_final=True)
    stream = model.stream(**LOOK_BACK)
    partials = fed(stream, samples, size)
    assert sum(map(len, ids(partials))) > 5  # else there is nothing to compare
    assert ids(partials) == ids(at_once)
    assert "".join(partial.text for partial in partials) == stream.text == whole.text
    assert [partial.is_final for partial in partials] == [*[False] * (len(partials) - 1), True]
    assert [partial.end_ms for partial in at_once] == [300, 900, 1500, 2100, 2520]  # 41.5 frames; 5 are looked ahead at
    assert all(one.start_ms == before.end_ms for before, one in itertools.pairwise(partials))
    starts = [ms for partial in partials for ms in partial.token_starts_ms]
    assert starts == sorted(starts)
    assert 0 <= starts[0] <= starts[-1] <= 2520


def test_a_copy_goes_on_by_itself_and_a_saved_one_elsewhere(model: Any, tmp_path: Path):
    samples, stream = speech_like(2.5), model.stream(**LOOK_BACK)
    stream.feed(samples[:20_123])
    fork = stream.fork()
    np.savez(tmp_path / "state.npz", **stream.state())
    rest = stream.feed(samples[20_123:], is_final=True)
    assert ids(fork.feed(samples[20_123:], is_final=True)) == ids(rest)
    saved = model.stream(**LOOK_BACK).restore(dict(np.load(tmp_path / "state.npz")))
    assert ids(saved.feed(samples[20_123:], is_final=True)) == ids(rest)
    assert saved.text == fork.text == stream.text
    with pytest.raises(UsageError, match="cannot go on as"):
        model.stream().restore(dict(np.load(tmp_path / "state.npz")))
    with pytest.raises(UsageError, match="not the state of a stream"):
        model.stream().restore({})


@pytest.mark.parametrize("settings", [LOOK_BACK, {"chunk_size": (5, 10, 5), "encoder_chunk_look_back": -1}])
def test_many_at_once_are_each_as_alone(model: Any, settings: dict[str, Any]):
    given = [speech_like(0.5 + 0.37 * seed, seed) for seed in range(6)]
    many = Streams(model)
    streams = [many.open(**settings) for _ in given]
    found: dict[int, list[Partial]] = {id(stream): [] for stream in streams}
    for round_ in range(60):
        for row, (stream, samples) in enumerate(zip(streams, given, strict=True)):
            at = round_ * 1600 * (row + 1)  # each at its own pace
            if at < len(samples):
                stream.push(samples[at : at + 1600 * (row + 1)], is_final=at + 1600 * (row + 1) >= len(samples))
        for stream, partial in many.step():
            found[id(stream)].append(partial)
    while waiting := many.step():
        for stream, partial in waiting:
            found[id(stream)].append(partial)
    assert many.streams == []
    for stream, samples in zip(streams, given, strict=True):
        alone = model.stream(**settings).feed(samples, is_final=True)
        assert ids(found[id(stream)]) == ids(alone)
        assert [one.text for one in found[id(stream)]] == [one.text for one in alone]


def test_recordings_are_streams_that_are_given_whole(model: Any):
    given = [speech_like(0.5 + 0.7 * seed, seed) for seed in range(4)]
    for transcript, samples in zip(model.transcribe(given, times=True, **LOOK_BACK), given, strict=True):
        stream = model.stream(**LOOK_BACK)
        partials = stream.feed(samples, is_final=True)
        assert transcript.token_ids == [one for part in ids(partials) for one in part]
        assert transcript.text == stream.text
        assert transcript.token_starts_ms == [ms for partial in partials for ms in partial.token_starts_ms]


def test_the_last_60_ms_are_funasrs_to_lose(model: Any):
    """Oracle: 1.5 of the facts: with 400 to 959 samples left FunASR drops one frame; with fewer there is none."""
    for left, ends in ((399, (600, 600)), (400, (660, 600)), (959, (660, 600)), (960, (660, 660))):
        samples = speech_like(1.0)[: 9600 + left]
        right, funasr = (model.stream(as_funasr=as_funasr) for as_funasr in (False, True))
        last = right.feed(samples, is_final=True)[-1].end_ms, funasr.feed(samples, is_final=True)[-1].end_ms
        assert last == ends


def test_a_stream_without_a_frame_says_nothing_where_funasr_reads_zeros(model: Any):
    for samples in (NOTHING, speech_like(0.1)[:399]):
        stream = model.stream()
        (partial,) = stream.feed(samples, is_final=True)
        assert (partial.text, partial.token_ids, partial.is_final, stream.text) == ("", [], True, "")
        (partial,) = model.stream(as_funasr=True).feed(samples, is_final=True)
        assert partial.is_final
        assert partial.end_ms == 0


def test_int16_and_float64_are_the_same_samples(model: Any):
    samples = np.round(speech_like(1.5) * 32768).astype(np.int16)
    as_float = model.stream().feed(samples.astype(np.float32) / 32768, is_final=True)
    assert ids(model.stream().feed(samples, is_final=True)) == ids(as_float)
    assert ids(model.stream().feed(samples / 32768.0, is_final=True)) == ids(as_float)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.array([0.0, np.nan], np.float32), "NaN"),
        (np.array([0.0, np.inf], np.float32), "NaN or infinite"),
        (np.zeros((2, 100), np.float32), "one-dimensional"),
        (np.zeros(100, np.int32), "int32"),
        (np.zeros(100, bool), "bool"),
    ],
)
def test_what_is_refused_is_not_taken_in(model: Any, samples: np.ndarray, said: str):
    good = speech_like(1.5)
    stream = model.stream()
    found = stream.feed(good[:12_345])
    with pytest.raises(AudioError, match=said):
        stream.feed(samples)
    found += stream.feed(good[12_345:], is_final=True)
    assert ids(found) == ids(model.stream().feed(good, is_final=True))


def test_a_stream_that_has_ended_takes_no_more(model: Any):
    stream = model.stream()
    stream.feed(NOTHING, is_final=True)
    for is_final in (False, True):
        with pytest.raises(UsageError, match="the stream has ended"):
            stream.feed(NOTHING, is_final=is_final)


def test_other_rates_and_options_are_refused(model: Any):
    with pytest.raises(AudioError, match="8000 Hz: this model takes 16000 Hz"):
        model.stream(sample_rate=8000)
    assert model.stream(sample_rate=16000).text == ""
    with pytest.raises(UsageError, match="right"):
        model.stream(chunk_size=(0, 10, 0))
    with pytest.raises(UsageError, match="has no such option; it has chunk_size"):
        model.stream(look_back=4)


def test_memory_does_not_grow(model: Any):
    """Oracle: the objects that there are after 25 windows and after 125, and the shapes of what is kept."""
    stream, samples = model.stream(keep_text=False, **LOOK_BACK), speech_like(1.2)
    held = []
    for feeds in (12, 50):
        for _ in range(feeds):
            stream.feed(samples)
        gc.collect()
        held.append(len(gc.get_objects()))
    assert held[1] - held[0] < 20
    assert {name: array.shape for name, array in model.saved(stream.caches[1]).items()} == {
        "feats": (5, 560), "keys.k": (2, 20, 16), "keys.v": (2, 20, 16), "inputs": (2, 4, 16),
        "memory.k": (1, 10, 16), "memory.v": (1, 10, 16), "alpha": (), "hidden": (16,), "counts": (2,),
    }  # fmt: skip
    assert stream.text == "" or len(stream.text) < 5  # only what is held back
