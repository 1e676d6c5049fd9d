"""When tokens are said. Oracles: by hand; the VAD's pauses in real speech."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlx_model
from mlx_model.machine import device as machine
from mlx_model.text.results import Word
from mlx_model.text.token_times import pauses, starts_ms, sure, timed
from tests.conftest import speech_like
from tests.mlx_model.asr_models import write_recogniser


def test_starts_by_hand():
    fires = np.array([False, True, False, True, True, False])
    assert starts_ms(fires, np.array([True, False, True]), 60.0) == [30, 210]
    assert starts_ms(fires, np.array([True] * 5), 60.0) == [30, 150, 210, 270, 270]  # two that never fired
    assert starts_ms(np.array([True]), np.array([True]), 60.0) == [0]
    assert starts_ms(fires, np.array([], bool), 60.0) == []


@given(st.lists(st.booleans(), max_size=200))
def test_pauses_are_the_long_runs_of_silence(speech: list[bool]):
    found = pauses(speech, 10)
    quiet = {frame for start, end in found for frame in range(start // 10, end // 10)}
    assert all(not speech[frame] for frame in quiet)
    text = "".join("1" if frame else "0" for frame in speech)
    assert sorted(end - start for start, end in found) == sorted(
        10 * len(run) for run in text.split("1") if len(run) >= 20
    )


@pytest.mark.parametrize("speech", [[], [False] * 100])
def test_nothing_but_silence(speech: list[bool]):
    assert pauses(speech, 10) == ([[0, 1000]] if speech else [])


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_every_token_has_its_start_and_nothing_else_changes(
    tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch
):
    """Oracle: the predictor's own `fires` of each recording alone; the same in batches, and in the way of a GPU."""
    model = mlx_model.load(write_recogniser(tmp_path / "model"))
    waveforms = [speech_like(seconds, seed) for seed, seconds in enumerate((2.0, 0.5, 3.3))]
    alone = [np.flatnonzero(np.array(model(*model.features([waveform])).fires)[0]) for waveform in waveforms]
    if device == "gpu":
        monkeypatch.setattr(machine, "on_gpu", lambda: True)
    plain = model.transcribe(waveforms)
    found = model.transcribe(waveforms, times=True)
    assert [replace(one, token_starts_ms=None) for one in found] == plain
    for one, fires in zip(found, alone, strict=True):
        assert one.token_starts_ms is not None
        assert len(one.token_starts_ms) == len(one.token_ids)
        assert set(one.token_starts_ms) <= {max(60 * int(frame) - 30, 0) for frame in fires}
        assert one.token_starts_ms == sorted(one.token_starts_ms)
        assert len(one.token_ids) > 0


def test_words_have_the_confidences_of_their_tokens():
    """By hand: two pieces of a word together (geometric mean), <unk> in none of them, a mark with its character."""
    tokens, confidences = ["你", "<unk>", "hel@@", "lo", "好"], [0.9, 0.1, 0.4, 0.1, 0.8]
    found = timed("你 hello 好。", tokens, [0, 100, 200, 300, 400], (0, 900), confidences=confidences)
    assert [word.text for word in found] == ["你", "hello", "好。"]
    assert [word.confidence for word in found] == pytest.approx([0.9, 0.2, 0.8])
    words = [Word(text=text, start_ms=0, end_ms=1) for text in ("你", "hello", "好")]
    assert [word.confidence for word in sure(words, tokens, confidences)] == pytest.approx([0.9, 0.2, 0.8])
    assert sure(words[:0], [], []) == []


def test_without_a_vad_a_word_is_not_held_over_a_pause():
    """A second between the first two tokens: the first ends after 600 ms, the second where the third begins."""
    found = timed("一二三", ["一", "二", "三"], [0, 1000, 1200], (0, 3000), held_ms=600)
    assert [(word.start_ms, word.end_ms) for word in found] == [(0, 600), (1000, 1200), (1200, 1800)]
