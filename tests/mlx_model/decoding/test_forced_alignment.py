"""How far an alignment can be trusted, from alphas. Oracle: alphas made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mlx_model.decoding.forced_alignment import Heard, asked_for, fitting, peaked, timed
from mlx_model.parts.integrals import PEAK, integrals
from mlx_model.text.known_text import Speller

SPELLER = Speller([*"一二三四五", "<unk>"], "<unk>")
DURATION_MS = 1000


def pulses(count: int, places: int = 50) -> np.ndarray:
    """Return alphas of `count` tokens, each in two of its places."""
    alphas = np.zeros(places, np.float32)
    for start in np.arange(count) * places // count:
        alphas[start + 2 : start + 4] = 0.5
    return alphas


def heard(alphas: np.ndarray, tokens: int) -> Heard:
    def scaled(count: int) -> tuple[np.ndarray, np.ndarray]:
        us_alphas = alphas * np.float32(count / max(alphas.sum(), 1e-30))
        return us_alphas, integrals(us_alphas[None], PEAK)[0]

    return Heard(alphas, *scaled(asked_for(tokens)), *scaled(asked_for(tokens)))


@pytest.mark.parametrize(("total", "tokens", "fit"), [(4.0, 3, 1.0), (2.0, 3, 0.5), (8.0, 3, 0.5), (1.0, 0, 1.0)])
def test_fit_is_the_smaller_count_over_the_larger(total: float, tokens: int, fit: float):
    assert fitting(total, tokens) == pytest.approx(fit)


def test_pulses_are_peaked_and_even_alphas_are_not():
    assert peaked(pulses(4), 3).min() > 0.9  # two of twelve places are filled
    assert peaked(np.full(50, 0.08, np.float32), 3).max() < 0.05
    assert len(peaked(pulses(1), 0)) == 0


def test_confidence_is_high_for_the_right_text_and_low_for_another_length_or_for_even_alphas():
    text = SPELLER.read("一二三")
    right = timed(heard(pulses(4), 3), text, DURATION_MS)
    assert right.notes == []
    assert right.confidence is not None
    assert right.confidence > 0.9
    assert [word.text for word in right.words] == [*"一二三"]
    short = timed(heard(pulses(4), 1), SPELLER.read("一"), DURATION_MS)
    assert short.confidence is not None
    assert short.confidence <= 0.5
    assert short.notes[0].startswith("the text has 1 tokens, but about 3 are heard: ")
    even = timed(heard(np.full(50, 0.08, np.float32), 3), text, DURATION_MS)
    assert even.confidence is not None
    assert even.confidence < 0.05
    assert even.notes == ["no syllables are heard apart: times are little more than even spacing"]


def test_words_lie_in_the_recording_and_touch_their_own_pulse():
    found = timed(heard(pulses(4), 3), SPELLER.read("一二三"), 700)
    edges = [edge for word in found.words for edge in (word.start_ms, word.end_ms)]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] <= 700


@pytest.mark.parametrize(
    ("alphas", "text", "error"),
    [(np.zeros(50, np.float32), "一", "nothing is heard in it: no token anywhere"),
     (pulses(4), "，", "nothing to align: the text is empty, or marks alone"),
     (pulses(4), "一" * 50, "the text has 50 tokens, and the recording only 50 places for one, 20 ms each")],
)  # fmt: skip
def test_what_cannot_be_aligned(alphas: np.ndarray, text: str, error: str):
    known = SPELLER.read(text)
    found = timed(heard(alphas, len(known.tokens)), known, DURATION_MS)
    assert (found.words, found.error) == ([], error)


def test_as_funasr_its_failure_is_an_error():
    known = SPELLER.read("一")
    found = timed(heard(np.zeros(50, np.float32), 1), known, DURATION_MS, as_funasr=True)
    assert found.error == "FunASR 1.4.16 finds fewer times than tokens, and fails with an IndexError"
    nothing = timed(heard(pulses(4), 0), SPELLER.read(""), DURATION_MS, as_funasr=True)
    assert (nothing.words, nothing.error) == ([], None)
