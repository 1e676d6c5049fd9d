"""Faults of what punctuation does to a text: its words, their ids, which mark is written, spaces, capitals, the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from mlx_model.text import jieba_words, punctuated, word_splitting
from parity.faults.fault import Fault, exchange, fault, method
from parity.sides.candidate import Candidate

FILE = "mlx_model.text.punctuated"
WORDS, IDS, MARKS, TEXT = (f"end_to_end.{name}" for name in ("words", "ids", "punctuation", "text"))
ENGLISH = "English words"
HEALTHY, ENDED = punctuated.as_funasr, punctuated._ended
SPLIT = word_splitting.funasr_words


def _words(stack: ExitStack, change: Callable[[list[str]], list[str]]) -> None:
    """Let words be others, wherever models take them from."""
    for family in ("ct_transformer", "ct_transformer_streaming"):
        exchange(stack, f"mlx_model.models.{family}.funasr_words", lambda text, cut=None: change(SPLIT(text, cut)))


def _letters(words: Sequence[str]) -> list[str]:
    return [letter for word in words for letter in (word if any(map(str.isdigit, word)) else [word])]


def _lowered(model: Any) -> None:
    healthy = type(model).ids_of
    method(model, "ids_of", lambda self, words, **more: healthy(self, [word.lower() for word in words], **more))


def _unknown_is_0(model: Any) -> None:
    healthy = type(model).ids_of

    def ids_of(self: Any, words: Sequence[str], **more: Any) -> Any:
        found = healthy(self, words, **more)
        return np.where(found == self._unknown, 0, found).astype(found.dtype)

    method(model, "ids_of", ids_of)


def _surface(stack: ExitStack, change: Callable[..., tuple[str, list[int]]]) -> None:
    exchange(stack, f"{FILE}.as_funasr", change)


def _full_width(words: Any, labels: Any, pieces: Any, marks: Any) -> tuple[str, list[int]]:
    with ExitStack() as inner:
        exchange(inner, f"{FILE}.NARROW", {})
        return HEALTHY(words, labels, pieces, marks)


class _Word(str):
    """A word whose capital is others' idea of it."""

    def capitalize(self) -> str:
        return str(self[:1].upper() + self[1:])


class _Small(str):
    def capitalize(self) -> str:
        return str(self)


def _with(kind: type[str]) -> Callable[..., tuple[str, list[int]]]:
    return lambda words, *more: HEALTHY([kind(word) for word in words], *more)


def _no_leading_space(words: Any, labels: Any, pieces: Any, marks: Any) -> tuple[str, list[int]]:
    text, found = HEALTHY(words, labels, pieces, marks)
    return text.lstrip(" "), found


def _unknown_dropped(words: Any, labels: Any, pieces: Any, marks: Any) -> tuple[str, list[int]]:
    text, found = HEALTHY(words, labels, pieces, marks)
    return text.replace("<unk>", ""), found


def _appended(text: str, labels: list[int], end: int) -> tuple[str, list[int]]:
    if text[-1] in "。？.?":
        return text, labels
    return text + ("." if text[-1] < "\x80" else "。"), [*labels[:-1], end]


def _no_end(text: str, labels: list[int], end: int) -> tuple[str, list[int]]:
    return text, labels


def _end_without_mark(text: str, labels: list[int], end: int) -> tuple[str, list[int]]:
    return ENDED(text, list(labels), end)[0], labels


def _ones_behind(words: Sequence[str], labels: Sequence[int]) -> list[int]:
    found: list[int] = []
    for word, label in zip(words, labels, strict=True):
        found += [label, *([1] * (len(word) - 1) if "\u0e00" <= word[0] <= "\u9fa5" else [])]
    return found


def _by_dictionary(candidate: Candidate) -> bool:
    return getattr(candidate.model, "_cut", None) is not None


def _whole(candidate: Candidate) -> bool:
    return not hasattr(candidate.model, "new_cache")


def _with_hmm(self: Any, text: str) -> list[str]:
    return list(self._cut(text, HMM=True))


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of words and of a text's surface; they sit at one place in every model."""

    def surface(name: str, what: str, description: str, change: Callable[..., Any], needs: str = "") -> Fault:
        return fault(name, what, description, lambda c, s: _surface(s, change), needs=needs, fits=_whole)

    def ending(name: str, what: str, description: str, change: Callable[..., Any]) -> Fault:
        seed = lambda c, s: exchange(s, f"{FILE}._ended", change)  # noqa: E731
        return fault(name, what, description, seed, fits=_whole)

    return (
        fault("digits_apart", WORDS, "every character of a run with digits a word",
              lambda c, s: _words(s, _letters), needs="digits"),
        fault("cut_with_hmm", WORDS, "jieba with its model of unknown words",
              lambda c, s: exchange(s, f"{jieba_words.__name__}.JiebaWords.__call__", _with_hmm),
              fits=lambda c: _by_dictionary(c) and _whole(c), needs="words that the dictionary does not know"),
        fault("lowered", IDS, "words lowered before they are looked up (sherpa-onnx)",
              lambda c, s: _lowered(c.model), needs="words with capitals"),
        fault("unknown_is_0", IDS, "an unknown word has id 0, not the last one",
              lambda c, s: _unknown_is_0(c.model), needs="unknown words"),
        surface("full_width_after_english", TEXT, "full-width marks behind English words", _full_width, ENGLISH),
        surface("capital_keeps_the_tail", TEXT, "a capital in front, the rest as it was (USA, not Usa)", _with(_Word),
                "an English word with capitals that begins a sentence"),
        surface("no_capitals", TEXT, "no capital where a sentence begins", _with(_Small), ENGLISH),
        surface("no_leading_space", TEXT, "no space in front of a text that begins in English", _no_leading_space,
                "a text that begins in English"),
        surface("unknown_mark_dropped", TEXT, "label 0 written as nothing, not as <unk>", _unknown_dropped),
        ending("mark_behind_the_comma", TEXT, "the end's mark behind a comma, not in its place", _appended),
        ending("no_mark_at_the_end", MARKS, "a text gets no mark at its end", _no_end),
        ending("end_not_in_the_marks", MARKS, "the mark at the end is written and not counted", _end_without_mark),
        fault("ones_behind_words", MARKS, "a model of words: the 1s of its characters behind the word's mark",
              lambda c, s: exchange(s, f"{FILE}.by_character", _ones_behind), fits=_by_dictionary),
    )  # fmt: skip
