"""Batching, order, and bad input of `transcribe`. Oracle: one recording at a time, and by hand."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import mlx_model
from mlx_model import ops_cpu as cpu_kernels
from mlx_model.audio import reading
from mlx_model.audio.batching import batches
from mlx_model.engines import lanes
from mlx_model.errors import CheckpointError, ConfigError, UsageError
from mlx_model.machine import device as machine
from mlx_model.machine.blas import mx
from mlx_model.models.paraformer import Model
from mlx_model.pipelines import transcribe as transcribing
from mlx_model.text.formats import FORMATS, check_format, to_document
from tests.conftest import speech_like
from tests.mlx_model.asr_models import write_recogniser


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recogniser(tmp_path_factory.mktemp("model"))


@pytest.fixture
def model(directory: Path) -> Model:
    return mlx_model.load(directory)


@given(st.lists(st.floats(0.1, 70.0), max_size=40), st.one_of(st.none(), st.integers(1, 5)), st.floats(1.0, 60.0))
def test_batches_hold_everything_once_and_stay_within_bounds(lengths: list[float], size: int | None, seconds: float):
    plan = batches(lengths, size, seconds)
    assert sorted(index for group in plan for index in group) == list(range(len(lengths)))
    for group in plan:
        padded = len(group) * max(lengths[index] for index in group)
        assert len(group) == 1 or padded <= seconds
        assert size is None or len(group) <= size


def test_input_order_is_kept_and_batching_is_invisible(model: Model):
    waveforms = [speech_like(seconds, seed) for seed, seconds in enumerate((2.0, 0.5, 3.3, 1.1))]
    alone = [model.transcribe(waveform)[0] for waveform in waveforms]
    assert len({result.text for result in alone}) > 1
    for options in ({}, {"batch_size": 1}, {"batch_size": 3}, {"batch_seconds": 4.0}):
        assert model.transcribe(waveforms, **options) == alone


@pytest.mark.parametrize("count", [None, 1, 2])
def test_another_thread_gives_the_same(directory: Path, count: int | None):
    """A server loads a model in one thread and calls it from whichever is free; MLX ties what is not computed yet, and
    every stream, to a thread. The model's first call comes from another thread, its second from a third."""
    waveforms = [speech_like(seconds, seed) for seed, seconds in enumerate((3.0, 2.5))]
    fresh = mlx_model.load(directory)
    mx.eval(fresh.parameters())  # the CPU engine does not read weights; whoever is made to compute without it must
    cpu_kernels._ones.cache_clear()
    with contextlib.nullcontext() if count is None else lanes.exactly(count):
        there = []
        for _ in range(2):
            with ThreadPoolExecutor(max_workers=1) as pool:
                there.append(pool.submit(fresh.transcribe, waveforms, batch_size=1).result())
        assert there == [fresh.transcribe(waveforms, batch_size=1)] * 2


@pytest.mark.parametrize("quick_s", [0.0, 1e-9, 10.0])
def test_durations_in_this_thread_or_in_others(tmp_path: Path, quick_s: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "QUICK_S", quick_s)
    items: list[Path | np.ndarray] = [tmp_path / "absent.wav", np.zeros(800, np.float32)]
    for number in range(40):
        items.append(tmp_path / f"{number}.{'wav' if number % 3 else 'flac'}")
        soundfile.write(items[-1], np.zeros(1600 + 16 * number, np.int16), 16000)
    found = reading.durations_s(items, 16000)
    assert reading.durations_s([], 16000) == []
    assert found == pytest.approx([0.0, 0.05, *(0.1 + 0.001 * number for number in range(40))])


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_the_next_batches_are_made_ready_beside_the_network(
    model: Model, device: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
):
    """A CPU has the features of batch n + 1 begun before batch n goes through the network. A GPU gets the encoder of
    batch n + 1 before the tokens of batch n are waited for, and the decoder of n + 1 before the text of n is made."""
    happened: list[tuple[str, float]] = []
    if device == "gpu":
        for module in (machine, transcribing):
            monkeypatch.setattr(module, "on_gpu", lambda: True)

    def noted(event: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def note(batch: Any) -> Any:
            result = function(batch)
            happened.append((event, batch.found[0] / 16000))
            return result

        return note

    def plan() -> Iterator[list[np.ndarray]]:
        for number in range(4):
            happened.append(("asked", 1.0 + number))
            yield [speech_like(1.0 + number)]

    for event in ("start_features", "begin", "finish", "transcripts"):
        monkeypatch.setattr(transcribing.Batch, event, noted(event, getattr(transcribing.Batch, event)))
    durations = [batch[0].duration_s for batch in transcribing.in_batches(model, plan())]
    assert durations == [1.0, 2.0, 3.0, 4.0]
    place = {event: number for number, event in enumerate(happened)}
    for second in (1.0, 2.0, 3.0):
        assert (place["start_features", second + 1] < place["begin", second]) == (device == "cpu")
        assert (place["begin", second + 1] < place["finish", second]) == (device == "gpu")
        assert (place["finish", second + 1] < place["transcripts", second]) == (device == "gpu")


def test_one_bad_file_does_not_stop_the_others(model: Model, tmp_path: Path):
    good, short, junk = tmp_path / "good.wav", tmp_path / "short.wav", tmp_path / "junk.wav"
    soundfile.write(good, speech_like(1.0), 16000)
    soundfile.write(short, np.zeros(399, np.float32), 16000)
    junk.write_bytes(b"this is not audio at all" * 10)
    seen: list[float] = []
    results = model.transcribe([junk, good, tmp_path / "absent.wav", short], progress=seen.append)
    assert [result.path for result in results] == [str(junk), str(good), str(tmp_path / "absent.wav"), str(short)]
    assert [result.error is None for result in results] == [False, True, False, False]
    assert "\n" not in "".join(result.error or "" for result in results)
    assert results[1].text == model.transcribe(good)[0].text != ""
    assert results[1].duration_s == 1.0
    assert len(seen) >= 1


@pytest.mark.parametrize(
    "waveform", [np.zeros((2, 16000), np.float32), np.zeros(16000, np.int16), np.full(16000, np.nan, np.float32)]
)
def test_unusable_waveforms_are_refused(model: Model, waveform: np.ndarray):
    assert model.transcribe(waveform)[0].error is not None


def test_a_recording_too_long_for_one_pass_is_refused(model: Model):
    error = model.transcribe(np.zeros(16000 * 901, np.float32))[0].error
    assert error is not None
    assert "too long" in error


UNASKED = {"confidence", "confidences", "entropies", "alternatives"}


def test_formats(model: Model, tmp_path: Path):
    path = tmp_path / "a.wav"
    soundfile.write(path, speech_like(1.0), 16000)
    results = model.transcribe([path, tmp_path / "absent.wav"])
    document = json.loads(FORMATS["json"](results))
    assert document == to_document(results)
    fields = {"path", "text", "token_ids", "duration_s", "error", "notes", "words", "sentences", "segments", "language"}
    assert set(document["results"][0]) == fields | {"emotion", "events", "flags", *UNASKED}
    nothing = ("words", "sentences", "segments", "language", "emotion", "events", *UNASKED)
    assert [document["results"][0][name] for name in nothing] == [None] * len(nothing)
    assert FORMATS["text"](results) == f"{results[0].text}\n"
    lines = FORMATS["tsv"](results).split("\n")
    assert lines[0] == "path\tduration_s\ttext\terror"
    assert lines[1].split("\t")[:3] == [str(path), "1.000", results[0].text]
    with pytest.raises(UsageError, match="docx"):
        check_format("docx", 1)


def test_bad_batch_sizes(model: Model):
    with pytest.raises(UsageError):
        model.transcribe(np.zeros(16000, np.float32), batch_size=0)
    with pytest.raises(UsageError):
        model.transcribe(np.zeros(16000, np.float32), batch_seconds=0.0)


def test_loading_a_second_time_still_works(directory: Path):
    """`mlx_model.load` must stay a function after its module was imported (a file called load.py would shadow it)."""
    assert mlx_model.load(directory) is not mlx_model.load(directory)


def _without(directory: Path, tmp_path: Path, **changes: bytes | None) -> Path:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    for name, content in changes.items():
        path = copy / name.replace("__", ".")
        path.unlink() if content is None else path.write_bytes(content)
    return copy


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"config__json": None}, ConfigError, "no config.json"),
        ({"config__json": b"{"}, ConfigError, "not JSON"),
        ({"config__json": b'{"model_type": "whisper"}'}, ConfigError, "whisper"),
        ({"config__json": b'{"model_type": "paraformer", "vocabsize": 3}'}, ConfigError, "vocab_size"),
        ({"model__safetensors": None}, CheckpointError, "missing"),
        ({"model__safetensors": b"\x00" * 50}, CheckpointError, "safetensors"),
    ],
)
def test_broken_directories(directory: Path, tmp_path: Path, changes: dict, error: type, words: str):
    with pytest.raises(error, match=words):
        mlx_model.load(_without(directory, tmp_path, **changes))


def test_wrong_weights_are_named(directory: Path, tmp_path: Path):
    copy = _without(directory, tmp_path)
    weights = dict(mx.load(str(copy / "model.safetensors")))
    weights["encoder.after_norm.weight"] = mx.zeros((5,))
    mx.save_safetensors(str(copy / "model.safetensors"), weights)
    with pytest.raises(CheckpointError, match=r"after_norm.weight has shape \(5,\)"):
        mlx_model.load(copy)
    del weights["encoder.after_norm.weight"]
    mx.save_safetensors(str(copy / "model.safetensors"), weights)
    with pytest.raises(CheckpointError, match=r"missing.*after_norm.weight"):
        mlx_model.load(copy)


def test_no_such_directory(tmp_path: Path):
    with pytest.raises(ConfigError, match="no such directory"):
        mlx_model.load(tmp_path / "nothing")
    (tmp_path / "config.yaml").write_text("model: Paraformer")
    with pytest.raises(ConfigError, match="convert it first"):
        mlx_model.load(tmp_path)
