"""What a stream of pieces of text says as FunASR, and what it keeps of them. Stdlib only.

Mirrors funasr/models/ct_transformer_streaming/model.py::CTTransformerStreaming.inference, from the labels onwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mlx_model.config.parts import NO_MARK
from mlx_model.text.punctuated import QUESTION, STOP
from mlx_model.text.word_splitting import is_ascii


class FunasrPiece(NamedTuple):
    """FunASR's text of one call, and the words that it keeps for the next one, its spaces in front of them."""

    text: str
    kept: tuple[str, ...]


def as_funasr(words: Sequence[str], marks: Sequence[str], before: int, known: Sequence[str]) -> FunasrPiece:
    """Return what FunASR says of words of which `before` were known from the calls before.

    Args:
        words: those kept, and the new ones.
        marks: the mark of each.
        before: how many were kept.
        known: all marks of the model, its `punc_list`; a text that ends with one loses it.
    """
    spaced = list(words)
    for number in range(1, len(words)):
        if is_ascii(words[number][0]) and is_ascii(words[number - 1][-1]):
            spaced[number] = " " + words[number]
    said: list[str] = []
    for number, (word, mark) in enumerate(zip(spaced, marks, strict=True)):
        if number >= before:
            said.append(word)
        if number >= before - 1 and mark != NO_MARK:
            said.append(mark)
    text = "".join(said)
    ends = (number for number in range(len(words) - 2, 1, -1) if marks[number] in (STOP, QUESTION))
    kept = spaced[next(ends, -1) + 1 :]
    return FunasrPiece(text[:-1] if text[-1:] in known and text else text, tuple(kept))
