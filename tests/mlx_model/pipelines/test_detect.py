"""FSMN-VAD end to end. Oracles: FunASR itself in a process of its own (vad_reference.py), its published segments."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convert
import mlx_model
from mlx_model.audio.files import load_audio
from mlx_model.decoding.vad_decision import State
from mlx_model.errors import AudioError, UsageError
from mlx_model.models.fsmn_vad_streaming import Model, Stream, VadOptions
from tests.conftest import SHARED, speech_like
from tests.mlx_model.vad_models import VARIANTS, write_vad
from tests.mlx_model.vad_reference import ask

REAL = SHARED / "checkpoints" / "fsmn_vad"
EXAMPLE = SHARED / "data" / "speech_misc" / "vad_example"
DYNAMIC = {"dynamic_silence": True}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A small random network, converted without torch."""
    folder = tmp_path_factory.mktemp("vad")
    convert.convert(write_vad(folder / "source"), folder / "model")
    return mlx_model.load(folder / "model")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Model:
    out = tmp_path_factory.mktemp("real") / "model"
    convert.convert(REAL, out)
    return mlx_model.load(out)


def ours(model: Model, case: dict[str, Any], arrays: dict[str, np.ndarray]) -> list[Any]:
    """Answer a case of vad_reference.py as it is answered there."""
    audio, options = arrays[case["audio"]], VadOptions(**case.get("options", {}))
    if case.get("chunk_ms") is None:
        return [model.segments(audio, options)]
    stream, feed = model.stream(chunk_ms=case["chunk_ms"], options=options), case["feed"]
    stops = [*range(feed, len(audio), feed), len(audio)] if isinstance(feed, int) else feed
    return [
        stream.feed(audio[start:stop], is_final=stop == stops[-1])
        for start, stop in zip([0, *stops], stops, strict=False)
    ]


def ours_on_scores(model: Model, case: dict[str, Any], arrays: dict[str, np.ndarray]) -> list[Any]:
    """The decision alone, on given scores, in given pieces."""
    opts = dataclasses.replace(model.config.vad_opts, **case["opts"])
    model = Model(dataclasses.replace(model.config, vad_opts=opts))
    silence, audio = arrays[case["scores"]].astype(np.float64), arrays[case["audio"]]
    stream = Stream(model, chunk_ms=10, sample_rate=None, live=case["live"], options=VadOptions())
    found, first = [], 0
    for number, count in enumerate(case["pieces"]):
        is_final = number == len(case["pieces"]) - 1
        if stream.decision.state is not State.ENDED:
            covered = audio[first * 160 : (first + count - 1) * 160 + 400]
            stream._decide(silence[first : first + count], covered, is_final)
        found.append(stream._report(is_final))
        first += count
    return found


def made_scores(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Stretches of likely and unlikely silence, some at the threshold, some noisy."""
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < frames:
        size = int(rng.integers(1, rng.choice([10, 60, 300])))
        middle = rng.choice([0.02, 0.1, 0.19999, 0.2, 0.21, 0.5, 0.9, 0.99])
        parts.append(np.clip(middle + rng.normal(0, rng.choice([0, 0.1, 0.3]), size), 1e-6, 0.999999))
    return np.concatenate(parts)[:frames].astype(np.float32)


def made_case(seed: int, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Scores, levels, pieces and, two times in three, other options than the released ones."""
    rng = np.random.default_rng(seed)
    frames = int(rng.integers(1, 1500))
    loudness = np.repeat(10.0 ** rng.uniform(-6, -1, frames // 50 + 2), 50 * 160)[: (frames - 1) * 160 + 400]
    arrays[f"scores{seed}"] = made_scores(rng, frames)
    arrays[f"audio{seed}"] = (rng.standard_normal(len(loudness)) * loudness).astype(np.float32)
    choices: dict[str, list[Any]] = {
        "detect_mode": [0, 1], "max_end_silence_time": [155, 300, 800, 2000], "max_start_silence_time": [0, 500, 3000],
        "window_size_ms": [10, 50, 200, 300], "sil_to_speech_time_thres": [10, 50, 150],
        "speech_to_sil_time_thres": [0, 50, 150, 155], "do_extend": [0, 1], "lookback_time_start_point": [0, 105, 200],
        "lookahead_time_end_point": [0, 100, 300], "max_single_segment_time": [100, 1000, 2005, 60000],
        "snr_thres": [-100.0, 0.0, 6.0], "decibel_thres": [-100.0, -30.0, -10.0],
        "noise_frame_num_used_for_snr": [1, 10, 100], "speech_noise_thres": [0.6, 0.2, 0.9],
        "speech_2_noise_ratio": [1.0, 0.5, 2.0],
    }  # fmt: skip
    opts = {name: rng.choice(values).item() for name, values in choices.items()} if seed % 3 else {}
    pieces: list[int] = []
    while (left := frames - sum(pieces)) > 0:
        pieces.append(min(left, int(rng.integers(1, rng.choice([10, 100, 2000])))))
    live = bool(rng.integers(0, 2))
    return {"scores": f"scores{seed}", "audio": f"audio{seed}", "pieces": pieces, "live": live, "opts": opts}


FIXED: dict[str, Any] = {"dynamic_silence": False}
ODD = [0, 1, 3, 3, 1604, 1605]  # no samples, one, an odd number: where the calls' samples end


@pytest.mark.reference
def test_random_networks_decide_as_in_funasr(tmp_path: Path):
    """Networks of four shapes, front end and decision, whole and in chunks; and 60 decisions on given scores."""
    arrays = {f"speech{seed}": speech_like(3.0, seed=seed) for seed in range(2)}
    arrays |= {"short": speech_like(1.0)[:399], "frame": speech_like(1.0)[:400], "zeros": np.zeros(8000, np.float32)}
    made = [made_case(seed, arrays) for seed in range(60)]
    cases: dict[str, list[dict[str, Any]]] = {}
    for variant in VARIANTS:
        # FunASR's cache of a single tap (`stacked`) would keep the whole past: it fails with the second chunk.
        many = ((60, 960), (100, [*ODD, 48000]), (200, 5000), (1000, 7777))
        chunks = () if variant == "stacked" else many
        cases[variant] = [{"audio": name, "options": options} for options in (FIXED, DYNAMIC)
                          for name in ("speech0", "speech1", "short", "frame", "zeros")]  # fmt: skip
        cases[variant] += [{"audio": name, "chunk_ms": chunk, "feed": feed, "options": options}
                           for name in ("speech1", "zeros") for chunk, feed in chunks
                           for options in (FIXED, DYNAMIC)]  # fmt: skip
    sources = {name: write_vad(tmp_path / name, name, tensors="model.pt") for name in VARIANTS}
    answers = ask({sources[name]: cases[name] + (made if name == "plain" else []) for name in VARIANTS}, arrays)
    for (name, source), expected in zip(sources.items(), answers, strict=True):
        convert.convert(source, tmp_path / f"{name}-mlx")
        model: Model = mlx_model.load(tmp_path / f"{name}-mlx")
        assert [ours(model, case, arrays) for case in cases[name]] == expected[: len(cases[name])], name
        assert sum(len(part) for answer in expected for part in answer) > 10  # not a comparison of nothing
        if name == "plain":
            assert [ours_on_scores(model, case, arrays) for case in made] == expected[len(cases[name]) :]


def events(times: list[list[int]]) -> list[int]:
    """All starts and ends in order."""
    return [time for pair in times for time in pair if time != -1]


def test_how_samples_arrive_makes_no_difference(model: Model):
    waveform = speech_like(3.0)
    rng = np.random.default_rng(0)
    expected = model.stream(chunk_ms=100).feed(waveform, is_final=True)
    assert len(events(expected)) >= 4
    for cuts in ([1, 2, 3, 5], [0, 0, 1601, 1601], sorted(rng.integers(0, len(waveform), 40).tolist())):
        stream, found = model.stream(chunk_ms=100), []
        for part in np.split(waveform, cuts):
            found += stream.feed(part)
        found += stream.feed(np.empty(0, np.float32), is_final=True)
        assert events(found) == events(expected)


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_less_than_a_frame_has_no_segment(model: Model, samples: int):
    waveform = speech_like(1.0)[:samples]
    assert model.segments(waveform) == []
    assert model.stream().feed(waveform, is_final=True) == []


def test_an_abrupt_end_closes_what_is_open(model: Model):
    waveform = speech_like(3.0)
    stream = model.stream(chunk_ms=100)
    found = [pair for at in range(0, 30000, 1600) for pair in stream.feed(waveform[at : at + 1600])]
    is_open = len(events(found)) % 2 == 1
    last = stream.feed(np.empty(0, np.float32), is_final=True)
    assert is_open == bool(last)
    assert len(events(found + last)) % 2 == 0
    with pytest.raises(UsageError, match="has ended"):
        stream.feed(waveform)


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (np.array([0.0, np.nan, 0.1], np.float32), "the first at 1"),
        (np.array([np.inf]), "NaN or infinite samples, the first at 0"),
        (np.zeros(100, np.int16), "one-dimensional float"),
        (np.zeros((2, 100), np.float32), "one-dimensional float"),
    ],
)
def test_bad_samples_are_refused_and_the_stream_goes_on(model: Model, samples: np.ndarray, says: str):
    waveform = speech_like(2.0)
    stream = model.stream(chunk_ms=100)
    found = stream.feed(waveform[:16000])
    with pytest.raises(AudioError, match=says):
        stream.feed(samples)
    found += stream.feed(waveform[16000:], is_final=True)
    assert found == model.stream(chunk_ms=100).feed(waveform, is_final=True)


def test_a_stream_of_another_rate_or_no_length_is_refused(model: Model):
    with pytest.raises(AudioError, match="8000 Hz: this model takes 16000 Hz"):
        model.stream(sample_rate=8000)
    with pytest.raises(UsageError, match="at least 1 ms"):
        model.stream(chunk_ms=0)
    assert model.stream(sample_rate=16000).feed(np.zeros(10, np.float32)) == []


def test_a_stream_keeps_nothing_of_the_past(model: Model):
    """What a stream holds after 25 seconds is what it holds after five."""
    stream, sizes = model.stream(chunk_ms=100), []
    for second in range(25):
        stream.feed(speech_like(1.0, seed=second % 7))
        held = [stream.rest, stream.frontend_cache.waveform, *stream.encoder_cache.values()]
        sizes.append((sum(array.size for array in held), len(stream.decision.segments) <= 1))
    assert len(set(sizes[5:])) == 1


@pytest.mark.shared
def test_the_twelve_published_segments(real: Model):
    """FunASR's own test of this model on this recording (tests/test_vad_inference_pipeline.py)."""
    golden = json.loads((EXAMPLE / "golden.json").read_text("utf-8"))["vad_segments_ms"]
    waveform = load_audio(EXAMPLE / "vad_example.wav")
    assert real.segments(waveform) == golden
    for chunk_ms in (100, 1000):
        assert events(real.stream(chunk_ms=chunk_ms).feed(waveform, is_final=True)) == events(golden)
    assert len(real.segments(waveform, VadOptions(dynamic_silence=True))) == 7  # as published for FunASR 1.4.16


@pytest.mark.shared
@pytest.mark.reference
def test_the_real_network_on_speech_silence_and_noise_as_in_funasr(real: Model):
    rng = np.random.default_rng(3)
    files = sorted((SHARED / "data/aishell_s0150").rglob("*.wav"))[::166]
    speech = [load_audio(path) for path in files]
    gaps = [np.zeros(24000, np.float32), (0.002 * rng.standard_normal(16000)).astype(np.float32)]
    joined = np.concatenate([part for number, wave in enumerate(speech) for part in (wave, gaps[number % 2])])
    arrays = {"joined": joined, "silence": np.zeros(32000, np.float32), "only": speech[0][8000:20000]}
    arrays["noise"] = (0.05 * rng.standard_normal(48000)).astype(np.float32)
    cases: list[dict[str, Any]] = [{"audio": name, "options": options} for name in arrays for options in
                                   (FIXED, DYNAMIC, {"max_end_silence_time": 400})]  # fmt: skip
    cases += [{"audio": name, "chunk_ms": chunk, "feed": feed, "options": FIXED}
              for name in arrays for chunk, feed in ((60, 4800), (200, 16000), (1000, 16000))]  # fmt: skip
    (expected,) = ask({REAL: cases}, arrays)
    assert [ours(real, case, arrays) for case in cases] == expected
