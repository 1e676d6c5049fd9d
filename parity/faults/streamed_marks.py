"""Faults of punctuation as a text comes: what one call leaves to the next, the mark that leads, the one that is cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from mlx_model.text import punctuated_stream
from mlx_model.text.punctuated_stream import FunasrPiece
from parity.faults.fault import Fault, exchange, fault, method

TEXT, WINDOWS = "end_to_end.text", "end_to_end.windows"
CALLS = "a text in several calls (parted by |)"
HEALTHY = punctuated_stream.as_funasr


def _trailing_kept(words: Any, marks: Any, before: int, known: Any) -> FunasrPiece:
    return HEALTHY(words, marks, before, ())


def _all_kept(words: Any, marks: Any, before: int, known: Any) -> FunasrPiece:
    return HEALTHY(words, marks, before, known)._replace(kept=tuple(words))


def _cut_at_the_last_word(words: Any, marks: Any, before: int, known: Any) -> FunasrPiece:
    ends = [number for number in range(2, len(words)) if marks[number] in "。？"]
    kept = tuple(words[ends[-1] + 1 :]) if ends else tuple(words)
    return HEALTHY(words, marks, before, known)._replace(kept=kept)


def _nothing_kept(words: Any, marks: Any, before: int, known: Any) -> FunasrPiece:
    return HEALTHY(words, marks, before, known)._replace(kept=())


def _no_leading_mark(words: Any, marks: Any, before: int, known: Any) -> FunasrPiece:
    silent = [*marks[: max(before, 0)], *marks[before:]]
    if before:
        silent[before - 1] = "_"
    found = HEALTHY(words, silent, before, known)
    return found._replace(kept=HEALTHY(words, marks, before, known).kept)


def _repeated(words: Any, marks: Any, before: int, known: Any) -> FunasrPiece:
    return FunasrPiece(HEALTHY(words, marks, 0, known).text, HEALTHY(words, marks, before, known).kept)


def _new_labels(model: Any) -> None:
    healthy = type(model)._next_as_funasr

    def next_as_funasr(self: Any, text: str, cache: Any, size: int) -> Any:
        result, kept = healthy(self, text, cache, size)
        return dataclasses.replace(result, punctuation=result.punctuation[-len(result.words) :]), kept

    method(model, "_next_as_funasr", next_as_funasr)


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of a stream of texts; every model has it at one place."""

    def piece(name: str, what: str, description: str, change: Callable[..., FunasrPiece], needs: str = CALLS) -> Fault:
        def seed(candidate: Any, stack: ExitStack) -> None:
            exchange(stack, f"{type(candidate.model).__module__}.funasr_piece", change)

        return fault(name, what, description, seed, needs=needs)

    return (
        piece("trailing_mark_kept", TEXT, "a call's text keeps the mark at its end", _trailing_kept),
        piece("all_words_read_again", WINDOWS, "what a call leaves to the next is not cut at its last end", _all_kept),
        piece("cut_at_the_last_word", WINDOWS, "and cut also where its last word is a sentence's end",
              _cut_at_the_last_word),
        piece("nothing_read_again", WINDOWS, "nothing is left to the next call", _nothing_kept),
        piece("no_leading_mark", TEXT, "the mark of the last word of the call before is not said", _no_leading_mark),
        piece("words_said_again", TEXT, "words of the call before are said again", _repeated),
        fault("marks_of_new_words_alone", "end_to_end.punctuation",
              "labels without those of the words that are read again",
              lambda c, s: _new_labels(c.model), needs=CALLS),
    )  # fmt: skip
