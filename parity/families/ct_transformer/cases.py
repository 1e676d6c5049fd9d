"""Marks made up to stand where texts seldom do: sentence ends at every edge of a window, no end for 260 words, commas.

A word's mark is made to follow from its id alone (`scores`), so a text is a row of words that carry the marks wanted.
Both sides take such texts through all that they do with marks: FunASR's `inference` in reference.py, our `punctuate` in
candidate.py. Pure numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

CALL = 34  # words of a stream's call: a window and some
WINDOW = 20  # words of a mini sentence, FunASR's split_size
NONE, COMMA, STOP, QUESTION, PAUSE = "_", "，", "。", "？", "、"


class Case(NamedTuple):
    """A text in calls (one, of a model that is no stream), whose words carry what `marks` says of them."""

    name: str
    calls: tuple[str, ...]


class Made(NamedTuple):
    """What a side made of a case: words, their ids, how many words each window has and which, marks, texts."""

    words: list[str]
    ids: list[int]
    windows: list[int]
    read: list[int]
    punctuation: list[int]
    texts: list[str]


class Words:
    """Words of a vocabulary by the mark they carry; each is taken in turn, that a text is not one word repeated."""

    def __init__(self, tokens: Sequence[str], punc_list: Sequence[str]):
        self.known: dict[str, list[str]] = {mark: [] for mark in punc_list}
        self.english: dict[str, list[str]] = {mark: [] for mark in punc_list}
        self.turn = 0
        for number, token in enumerate(tokens):
            mark = punc_list[number % len(punc_list)]  # as `scores` has it
            if len(token) == 1 and "一" <= token <= "龥":
                self.known[mark].append(token)
            elif token.isascii() and token.isalpha():
                self.english[mark].append(token)

    def of(self, marks: Sequence[str], english: bool = False) -> list[str]:
        """Return one word for each mark; of the other script where there is none."""
        found = []
        for mark in marks:
            first, second = (self.english, self.known) if english else (self.known, self.english)
            words = first[mark] or second[mark]
            if not words:
                continue
            found.append(words[self.turn % len(words)])
            self.turn += 1
        return found


def _at(length: int, **places: Sequence[int]) -> list[str]:
    """Return so many words' marks, none but at the places of each."""
    named = {"comma": COMMA, "stop": STOP, "question": QUESTION, "pause": PAUSE}
    marks = [NONE] * length
    for name, where in places.items():
        for place in where:
            marks[place] = named[name]
    return marks


def cases(tokens: Sequence[str], punc_list: Sequence[str], stream: bool) -> list[Case]:
    """Return what both sides are shown, for a vocabulary and its marks; in calls for a stream.

    A model whose list has ASCII marks in the place of full-width ones has no word for those: its texts are shorter.
    """
    words = Words(tokens, punc_list)
    long = _at(260, comma=[5, 90, 150])
    rows = {
        "a stop at word 2 of 45": _at(45, stop=[2]),
        "a stop at word 1 of 45": _at(45, stop=[1], comma=[7]),
        "a stop at word 0 of 45": _at(45, stop=[0]),
        "a stop at the last word but one": _at(45, stop=[WINDOW - 2]),
        "a question at the last word of a window": _at(45, question=[WINDOW - 1]),
        "two stops and a question": _at(70, stop=[4, 11], question=[15, 33]),
        "no stop in 260 words": long,
        "no stop in 201 words": long[:201],
        "no stop, a comma at word 1": _at(260, comma=[1]),
        "no stop and no comma": _at(230),
        "ends in a comma": _at(30, comma=[29]),
        "ends in a pause": _at(9, pause=[8], comma=[3]),
        "ends in a question": _at(12, question=[11]),
        "ends in nothing": _at(12, stop=[3]),
        "marks that are unknown": [NONE, punc_list[0], NONE, STOP, NONE, punc_list[0], NONE],
    }
    found = [Case(name, _calls(words.of(marks), stream)) for name, marks in rows.items()]
    english = words.of([STOP, NONE, COMMA, NONE, QUESTION, NONE, PAUSE, NONE, NONE, COMMA], english=True)
    found.append(Case("English", (" ".join(english),)))
    mixed = [*words.of(_at(4, stop=[3])), "iPhone12", *english[:5], *words.of(_at(5, comma=[2])), "NBA", "10.5%"]
    found.append(Case("both scripts", (_spaced(mixed),)))
    return [case for case in found if sum(map(len, case.calls)) > 1]


def _calls(words: Sequence[str], stream: bool) -> tuple[str, ...]:
    """Return a text, in calls of CALL words for a stream: what one call leaves to the next is then at work."""
    if not stream:
        return (_spaced(words),)
    return tuple(_spaced(words[first : first + CALL]) for first in range(0, len(words), CALL))


def _spaced(words: Sequence[str]) -> str:
    """Return words as a text: a space on both sides of an ASCII word."""
    return "".join(f" {word} " if word.isascii() else word for word in words).strip()


def scores(ids: np.ndarray, marks: int) -> np.ndarray:
    """Return scores (..., P), float32, in which every word's mark stands out."""
    return (9.0 * (np.arange(marks) == ids[..., None] % marks)).astype(np.float32)


def calls_of(text: str, stream: bool) -> list[str]:
    """Return the texts that a model is called with, one after the other: a stream's are parted by `|`."""
    return [part for part in text.split("|") if part.strip()] if stream else [text]


def facts(made: Mapping[str, Made]) -> dict[str, dict[str, Any]]:
    """Return the facts of {case: what was made of it}, named by the taps they belong to."""
    return {
        "made-up words": {f"end_to_end.words.{name}": each.words for name, each in made.items()},
        "made-up ids": {f"end_to_end.ids.{name}": each.ids for name, each in made.items()},
        "made-up windows": {f"end_to_end.windows.{name}": each.windows for name, each in made.items()},
        "made-up words of windows": {f"end_to_end.windows.ids.{name}": each.read for name, each in made.items()},
        "made-up marks": {f"end_to_end.punctuation.{name}": each.punctuation for name, each in made.items()},
        "made-up texts": {f"end_to_end.text.{name}": each.texts for name, each in made.items()},
    }
