"""Words and the labels behind them as a text: which mark is written, where spaces and capitals are. Stdlib only.

`as_funasr` writes what FunASR writes; `written` what is meant. They differ in: a space in front of every piece that
begins with an English word (FunASR), the text included; capitals, for which FunASR lowers the rest of the word (`Usa`);
ASCII marks in `punc_list`, which FunASR does not know for marks; label 0, which FunASR writes as `<unk>`; spaces
between words of other scripts, which FunASR drops; and marks that the text has already, to which FunASR adds others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mlx_model.config.parts import NO_MARK, UNKNOWN_MARK
from mlx_model.text.word_splitting import MARKS, Read, is_ascii, is_wide, opens

COMMA, STOP, QUESTION, ENUMERATION = "，", "。", "？", "、"
WIDE = {",": COMMA, ".": STOP, "．": STOP, "｡": STOP, "?": QUESTION}  # how marks are spelt otherwise
NARROW = {COMMA: ",", STOP: ".", QUESTION: "?", ENUMERATION: ","}  # behind an English word
STOPS = frozenset("。？！….?!．｡")  # marks of a text that end a sentence
KINDS = {**dict.fromkeys("？?", QUESTION), **dict.fromkeys("，,；;：:", COMMA), ENUMERATION: ENUMERATION}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What labels mean: ids of sentence ends and of commas, the id that a comma becomes, the id of no mark.

    `never`: ids that no word gets. `bounded`: windows have an end, see `decoding/mini_sentences.py`.
    """

    ends: frozenset[int]
    commas: frozenset[int]
    end: int
    none: int
    never: tuple[int, ...] = ()
    bounded: bool = True


class Marks:
    """What the labels of one model are called, and what they mean."""

    def __init__(self, punc_list: list[str], sentence_end_id: int):
        self.spelt = punc_list
        self.wide = [WIDE.get(mark, mark) for mark in punc_list]
        self.none = punc_list.index(NO_MARK)
        self._labels = {as_funasr: self._made(sentence_end_id, as_funasr) for as_funasr in (False, True)}
        self.ends, self.end = self._labels[False].ends, sentence_end_id

    def labels(self, *, as_funasr: bool) -> Labels:
        """Return what labels mean to the windows: to FunASR, what has exactly its marks."""
        return self._labels[as_funasr]

    def _made(self, end: int, as_funasr: bool) -> Labels:
        names = self.spelt if as_funasr else self.wide
        return Labels(
            ends=frozenset(label for label, mark in enumerate(names) if mark in (STOP, QUESTION)),
            commas=frozenset(label for label, mark in enumerate(names) if mark == COMMA),
            end=end,
            none=self.none,
            never=() if as_funasr else tuple(label for label, mark in enumerate(names) if mark == UNKNOWN_MARK),
            bounded=not as_funasr,
        )

    def forced(self, read: Read) -> dict[int, int]:
        """Return {word: label} of words that have a mark already: the label that comes nearest to it."""
        found: dict[int, int] = {}
        for word, given in enumerate(read.given):
            marks = [character for character in given if character in MARKS]
            if marks:
                kind = KINDS.get(marks[-1], STOP)
                found[word] = self.wide.index(kind) if kind in self.wide else self.end if kind in STOPS else self.none
        return found


class Surface(NamedTuple):
    """A text, and what stands behind each word in it."""

    text: str
    marks: list[str]


def written(read: Read, labels: Sequence[int], marks: Marks, before: str = "", begins: bool = True) -> Surface:
    """Return the text. Marks that are there already stay, and none is added to them.

    Args:
        read: the words, and what of the text is no word.
        labels: one a word; of words with a mark they say nothing here.
        marks: what labels are called.
        before: the text in front of the first word, of which only the last character counts.
        begins: the first word begins a sentence.
    """
    texts: list[str] = [read.lead]
    behind: list[str] = []
    last = read.lead or before
    for word, label, given, spaced in zip(read.words, labels, read.given, read.spaced, strict=True):
        if last and _apart(last[-1], word[0], spaced):
            texts.append(" ")
        texts.append(_capitalised(word) if begins else word)
        mark = "" if any(character in MARKS for character in given) else _mark(marks, label, word)
        at = next((number for number, character in enumerate(given) if opens(character)), len(given))
        behind.append(given[:at] + mark + given[at:])
        texts.append(behind[-1])
        begins = label in marks.ends and bool(mark)
        last = behind[-1] or word
    return Surface("".join(texts), behind)


def _mark(marks: Marks, label: int, word: str) -> str:
    if label == marks.none:
        return ""
    mark = marks.wide[label]
    return NARROW.get(mark, mark) if is_ascii(word[-1]) else mark


def _apart(last: str, first: str, spaced: bool) -> bool:
    """Whether a space stands between two words: where one stood, or a mark came between, of no Chinese."""
    wide = any(is_wide(character) and not "\uac00" <= character <= "\ud7a3" for character in (last, first))
    return not wide and (spaced or last in MARKS) and not (opens(last) and not is_ascii(last))


def _capitalised(word: str) -> str:
    return word[0].upper() + word[1:] if word.isascii() and word.islower() else word


def as_funasr(
    words: Sequence[str], labels: Sequence[int], pieces: Sequence[int], marks: Marks
) -> tuple[str, list[int]]:
    """Return FunASR's text and its labels, the last of which the end of the text may have changed.

    Mirrors funasr/models/ct_transformer/model.py::CTTransformer.inference, from the labels onwards. `pieces` are the
    words that a piece begins with; it takes marks for what they are where they are spelt in full width only.
    """
    found, labels, begins = marks.spelt, list(labels), set(pieces)
    texts: list[str] = []
    for number, (word, label) in enumerate(zip(words, labels, strict=True)):
        english = is_ascii(word[0])
        first = number in begins
        if english and (first or found[labels[number - 1]] in (STOP, QUESTION)):
            word = word.capitalize()
        if english and (first or is_ascii(words[number - 1][0])):
            word = " " + word
        mark = found[label]
        texts.append(word)
        if mark != NO_MARK:
            texts.append(NARROW.get(mark, mark) if english and mark != ENUMERATION else mark)
    return _ended("".join(texts), labels, marks.end)


def _ended(text: str, labels: list[int], end: int) -> tuple[str, list[int]]:
    last = text[-1]
    if last in (COMMA, ENUMERATION, ","):
        text = text[:-1] + ("." if last == "," else STOP)
    elif last not in ((".", "?") if is_ascii(last) else (STOP, QUESTION)):
        text += "." if is_ascii(last) else STOP
    else:
        return text, labels
    return text, [*labels[:-1], end]


def by_character(words: Sequence[str], labels: Sequence[int]) -> list[int]:
    """Return FunASR's punc_array of a model of words: in front of a Chinese word's label a 1 for all but one character.

    Mirrors the end of CTTransformer.inference, for which Chinese is what lies between U+0E00 and U+9FA5.
    """
    found: list[int] = []
    for word, label in zip(words, labels, strict=True):
        found += [1] * (len(word) - 1) if "\u0e00" <= word[0] <= "\u9fa5" else []
        found.append(label)
    return found
