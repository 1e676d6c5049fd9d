"""`transcribe --vad --format srt` of a minute without a long pause gives one cue of 59.9 s and 206 characters."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import convert
import mlx_model
from mlx_model.audio.files import load_audio
from mlx_model.models.fsmn_vad_streaming import VadOptions
from mlx_model.pipelines.long_audio import transcribe_long
from mlx_model.text.formats import FORMATS
from tests.mlx_model.asr_models import write_recogniser
from tests.mlx_model.vad_models import write_vad

TIME = re.compile(r"(\d+):(\d+):(\d+),(\d+) --> (\d+):(\d+):(\d+),(\d+)")


def cues(srt: str) -> list[tuple[int, int, list[str]]]:
    """Return (start, end, lines) of every block, read as players do."""
    found = []
    for block in srt.rstrip("\n").split("\n\n"):
        _, time, *lines = block.split("\n")
        match = TIME.fullmatch(time)
        assert match is not None
        h, m, s, ms, *end = map(int, match.groups())
        start_ms, end_ms = ((h * 60 + m) * 60 + s) * 1000 + ms, ((end[0] * 60 + end[1]) * 60 + end[2]) * 1000 + end[3]
        found.append((start_ms, end_ms, lines))
    return found


def check(srt: str, text: str, duration_s: float) -> list[tuple[int, int, list[str]]]:
    found = cues(srt)
    for start, end, lines in found:
        assert start < end <= start + 7000
        assert len(lines) <= 2
        assert all(0 < len(line) <= (20 if re.search("[\u4e00-\u9fff]", line) else 42) for line in lines)
    assert all(before[1] <= after[0] for before, after in pairwise(found))
    assert found[-1][1] <= duration_s * 1000
    assert "".join("".join(lines) for *_, lines in found).replace(" ", "") == text.replace(" ", "")
    return found


def test_a_minute_of_noise_that_counts_as_speech(tmp_path: Path):
    """Random weights: whatever is heard, and wherever a segment ends, cues keep the limits; the text stays as it is."""
    convert.convert(write_vad(tmp_path / "source"), tmp_path / "vad")
    detector, recogniser = mlx_model.load(tmp_path / "vad"), mlx_model.load(write_recogniser(tmp_path / "model"))
    noise = (np.random.default_rng(1).standard_normal(16000 * 75) * 0.1).astype(np.float32)
    options = VadOptions(speech_noise_thres=-1.0)  # all is speech: a segment ends where the model's longest one does
    (plain,) = transcribe_long(recogniser, detector, noise, vad_options=options)
    (timed,) = transcribe_long(recogniser, detector, noise, vad_options=options, times=True)
    assert timed.text == plain.text
    assert max(part.end_ms - part.start_ms for part in plain.segments or []) > 30_000
    for result in (plain, timed):
        assert len(check(FORMATS["srt"]([result]), plain.text, 75.0)) >= 9


@pytest.mark.shared
def test_a_minute_of_real_speech_is_cut_at_its_pauses(tmp_path: Path, shared: Path):
    pytest.importorskip("torch", reason="opening model.pt needs torch")
    convert.convert(shared / "checkpoints/paraformer_real_small", tmp_path / "asr")
    convert.convert(shared / "checkpoints/fsmn_vad", tmp_path / "vad")
    waveform = load_audio(shared / "data/speech_misc/vad_example/vad_example.wav")
    detector = mlx_model.load(tmp_path / "vad")
    (result,) = transcribe_long(mlx_model.load(tmp_path / "asr"), detector, waveform, times=True)
    found = check(FORMATS["srt"]([result]), result.text, len(waveform) / 16000)
    assert 12 <= len(found) <= 24
    # The loudest cut is still quiet: below a tenth of what speech has, on average over 100 ms.
    level = np.sqrt(np.convolve(waveform**2, np.ones(1600) / 1600, "same"))
    cuts = [level[16 * min(end + 60, after[0]) - 1] for (_, end, _), after in pairwise(found)]
    assert np.median(cuts) < 0.2 * np.sqrt(np.mean(waveform**2))
