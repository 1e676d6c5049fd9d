"""Windows of a text. Oracle: by hand, and FunASR's loop written down once more, plainly, on random labels."""

from __future__ import annotations

import random

import numpy as np

from mlx_model.decoding.mini_sentences import Windows
from mlx_model.text.punctuated import Labels

LABELS = Labels(ends=frozenset({3, 4}), commas=frozenset({2}), end=3, none=1, bounded=False)


def logits_of(labels: list[int]) -> np.ndarray:
    """Return logits of which these labels are the largest."""
    return np.eye(6, dtype=np.float32)[labels]


def funasrs(words: int, size: int, say: dict[tuple[int, int], list[int]], rng: random.Random) -> list[int]:
    """Return FunASR's labels, those of every window drawn at random and kept in `say`."""
    found: list[int] = []
    cache: list[int] = []
    minis = [list(range(at, min(at + size, words))) for at in range(0, words, size)]
    for number, mini in enumerate(minis):
        window = cache + mini
        labels = [rng.choices((1, 2, 3, 4), (60, 3, 1, 1))[0] for _ in window]
        say[window[0], window[-1] + 1] = list(labels)
        if number < len(minis) - 1:
            end = comma = -1
            for i in range(len(labels) - 2, 1, -1):
                if labels[i] in (3, 4):
                    end = i
                    break
                if comma < 0 and labels[i] == 2:
                    comma = i
            if end < 0 and len(window) > 200 and comma >= 0:
                end = comma
                labels[end] = 3
            cache = window[end + 1 :]
            labels = labels[: end + 1]
        found += labels
    return found


def test_windows_are_funasrs():
    rng = random.Random(4)
    for words in (1, 2, 19, 20, 21, 40, 333, 700):
        say: dict[tuple[int, int], list[int]] = {}
        expected = funasrs(words, 20, say, rng)
        walk = Windows(words, 20, LABELS)
        while not walk.done:
            walk.take(logits_of(say[walk.start, walk.stop]))
        assert walk.labels == expected
        assert walk.pieces[0] == 0


def test_a_window_ends_at_its_last_sentence_end_but_not_at_its_last_word():
    walk = Windows(8, 5, LABELS)
    walk.take(logits_of([3, 3, 3, 1, 3]))
    assert (walk.start, walk.stop, walk.labels) == (3, 8, [3, 3, 3])
    walk.take(logits_of([1, 1, 1, 1, 0]))
    assert (walk.done, walk.labels, walk.pieces, walk.last) == (True, [3, 3, 3, 1, 1, 1, 1, 0], [0, 3], [1, 1, 1, 1, 0])


def test_a_known_label_counts_and_one_that_no_word_gets_does_not():
    walk = Windows(6, 5, Labels(ends=frozenset({3}), commas=frozenset({2}), end=3, none=1, never=(0,)), {2: 3})
    logits = logits_of([0, 1, 1, 1, 1])
    logits[0, 5] = 0.5
    walk.take(logits)
    assert (walk.labels, walk.start) == ([5, 1, 3], 3)
