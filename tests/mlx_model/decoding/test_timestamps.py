"""Times of words from CTC frames. Oracles: by hand, FunASR's own aligner, and its `post`."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mlx_model.decoding.greedy import Run, runs
from mlx_model.decoding.timestamps import Timed, forced_path, funasr_words, words_of


def spans(*pieces: tuple[str, int, int]) -> list[tuple[str, Run]]:
    return [(piece, Run(1, start, end)) for piece, start, end in pieces]


def shown(words: list[Timed]) -> list[tuple[str, int, int, bool]]:
    return [(word.text, word.start_ms, word.end_ms, word.spaced) for word in words]


def test_pieces_become_words():
    english = spans(("▁it", 0, 2), ("'", 2, 3), ("s", 4, 6), ("▁go", 7, 9), ("od", 9, 10))
    chinese = spans(("三百", 12, 13), ("天", 14, 16))
    assert shown(words_of([*english, *chinese], 20, 60.0)) == [
        ("it's", 0, 330, False),  # half a frame before 0 is 0
        ("good", 390, 570, True),
        ("三百", 690, 750, False),
        ("天", 810, 930, False),
    ]


def test_a_space_by_itself_belongs_to_the_next_word():
    assert shown(words_of(spans(("▁", 0, 1), ("天", 2, 3), ("▁", 3, 4), ("on", 5, 6)), 9, 10.0)) == [
        ("天", 15, 25, False),
        ("on", 45, 55, True),
    ]


def test_no_word_ends_behind_the_recording():
    assert shown(words_of(spans(("天", 8, 14)), 10, 60.0)) == [("天", 450, 570, False)]
    assert words_of([], 10, 60.0) == []


def random_case(rng: np.random.Generator, frames: int, targets: int) -> tuple[np.ndarray, list[int]]:
    logits = rng.standard_normal((frames, 7)).astype(np.float32)
    scores = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return scores, rng.integers(1, 7, size=targets).tolist()


@pytest.mark.reference
@pytest.mark.parametrize("frames", [1, 2, 9, 40])
def test_the_path_is_that_of_funasrs_aligner(frames: int):
    """Also where there are more targets than frames: then FunASR's is no alignment, but it is what it returns."""
    import torch
    from funasr.models.sense_voice.utils.ctc_alignment import ctc_forced_align

    rng = np.random.default_rng(frames)
    for _ in range(40):
        scores, targets = random_case(rng, frames, int(rng.integers(1, 12)))
        expected = ctc_forced_align(
            torch.tensor(scores)[None], torch.tensor([targets]), torch.tensor(frames), torch.tensor([len(targets)])
        )
        np.testing.assert_array_equal(forced_path(scores, targets), expected[0].numpy())


def test_what_was_read_out_needs_no_search():
    """The path of the tokens that the greedy search read out is the greedy path."""
    rng = np.random.default_rng(1)
    for _ in range(30):
        scores, _ = random_case(rng, 30, 1)
        best = scores.argmax(-1)
        np.testing.assert_array_equal(forced_path(scores, [run.token_id for run in runs(best, 0)]), best)


@pytest.mark.reference
def test_words_are_those_of_funasrs_post():
    from funasr.models.sense_voice.model import SenseVoiceSmall

    rng = np.random.default_rng(2)
    pieces = ["▁", "▁the", "re", "天", "'", "▁a", "三百", "x", "9"]
    for _ in range(200):
        chosen = [pieces[int(at)] for at in rng.integers(0, len(pieces), size=6)]
        scores = np.full((13, 30), -9.0, np.float32)
        ids = list(range(1, 7))
        scores[range(0, 12, 2), ids] = 0
        scores[range(1, 13, 2), 0] = 0
        scores[12, 0] = 0
        words = funasr_words(scores, ["<|t|>"] * 4 + chosen, [[9]] * 4 + [[id] for id in ids], 0)
        at = [[piece, max((120 * n - 30) / 1000, 0), (120 * n + 30) / 1000] for n, piece in enumerate(chosen)]
        times, texts = SenseVoiceSmall.post(SimpleNamespace(), at)
        assert words is not None
        assert [word.text for word in words] == texts
        assert [[word.start_ms, word.end_ms] for word in words] == times


def test_where_funasr_gives_no_times_or_fails():
    scores, _ = random_case(np.random.default_rng(3), 20, 1)
    assert funasr_words(scores, ["<|zh|>"] * 4, [[1]] * 4, 0) is None  # nothing but tags
    assert funasr_words(scores, ["a"] * 5, [[1]] * 4 + [[2, 3]], 0) is None  # one piece, two ids: IndexError
    assert funasr_words(scores, ["a"] * 5, [[1]] * 4 + [[]], 0) is None  # id 124 in a vocabulary of 7
