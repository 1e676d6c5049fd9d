"""A text that is known, cut into words and a vocabulary's tokens, for an aligner to time. Stdlib only.

`Speller.read` cuts as the text is spoken: marks are no tokens, a Chinese character is a word, a run of letters and
digits another, spelt by the model's dictionary where it has one (`seg_dict`). `Speller.funasr_tokens` cuts as FunASR's
CharTokenizer does, which takes marks, line breaks and all that the vocabulary lacks for something that is spoken.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from mlx_model.text.token_times import wide

APOSTROPHES = "'’"
SPOKEN_MARKS = frozenset("%‰‱&@#°§")  # punctuation to Unicode, words to a speaker; so are symbols (Sc, Sm, So)
SHOWN = 8  # so many characters are named in a note
_SEGMENTABLE = re.compile("[\u4e00-\u9fa5A-Za-z0-9]")  # FunASR's pattern: what it looks up character by character


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWord:
    """A word as it is aligned; `written`: with the marks that stand beside it; `pieces`: the tokens that it is."""

    text: str
    written: str
    pieces: tuple[str, ...]
    spaced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownText:
    """The words of a text, what there is to say of it, and the tokens that FunASR makes of it."""

    words: list[KnownWord]
    funasr_tokens: list[str]
    notes: list[str] = field(default_factory=list)

    @property
    def tokens(self) -> list[str]:
        """All words' tokens, one after the other."""
        return [piece for word in self.words for piece in word.pieces]


class _Cut(NamedTuple):
    """A word as it stands in a text: the marks in front of it, the word, those behind it, and whether a space is."""

    before: str
    word: str
    behind: str
    spaced: bool


class Speller:
    """Texts to words and tokens of a vocabulary; `seg_dict` is the model's dictionary, word -> tokens, None without."""

    def __init__(self, tokens: Sequence[str], unk_symbol: str, seg_dict: Mapping[str, Sequence[str]] | None = None):
        self.vocabulary, self.unk_symbol, self.seg_dict = frozenset(tokens), unk_symbol, seg_dict

    def read(self, text: str) -> KnownText:
        """Return the words of a text as it is spoken. Characters that the vocabulary lacks are a token each."""
        words: list[KnownWord] = []
        unknown: Counter[str] = Counter()
        for cut in _cuts(unicodedata.normalize("NFC", text)):
            written, spaced = cut.before + cut.word + cut.behind, cut.spaced and bool(words)
            words.append(
                KnownWord(text=cut.word, written=written, pieces=tuple(self._spelt(cut.word, unknown)), spaced=spaced)
            )
        return KnownText(words=words, funasr_tokens=self.funasr_tokens(text), notes=_notes(words, unknown))

    def _spelt(self, word: str, unknown: Counter[str]) -> Iterator[str]:
        plain = _plain(word)
        if self.seg_dict is not None and plain in self.seg_dict:
            yield from self.seg_dict[plain]
            return
        whole = next((form for form in (word, plain) if form in self.vocabulary), None)
        if whole is not None:
            yield whole
            return
        for character in plain:
            if self.seg_dict is not None and character in self.seg_dict:
                yield from self.seg_dict[character]
            elif (known := self._character(character)) is not None:
                yield known
            elif character not in APOSTROPHES:
                unknown[character] += 1
                yield self.unk_symbol

    def _character(self, character: str) -> str | None:
        return next((form for form in (character, character.upper()) if form in self.vocabulary), None)

    def funasr_tokens(self, text: str) -> list[str]:
        """Return the tokens that FunASR aligns, `unk_symbol` for each that the vocabulary lacks.

        Mirrors funasr/tokenizer/char_tokenizer.py::CharTokenizer.text2tokens and seg_tokenize. Only with a dictionary
        is the text lower-cased; without one every character but the space is a token.
        """
        if self.seg_dict is None:
            found = [character for character in text if character != " "]
        else:
            found = " ".join(self._segmented(word.lower()) for word in text.strip().split(" ")).split()
        return [token if token in self.vocabulary else self.unk_symbol for token in found]

    def _segmented(self, word: str) -> str:
        seg_dict = self.seg_dict or {}
        if word in seg_dict:
            return " ".join(seg_dict[word])
        if not _SEGMENTABLE.match(word):
            return "<unk>"
        return " ".join(" ".join(seg_dict[one]) if one in seg_dict else "<unk>" for one in word)


def _plain(word: str) -> str:
    """A word as vocabularies have it: no full-width letters, no capitals, one kind of apostrophe."""
    return unicodedata.normalize("NFKC", word).lower().replace("’", "'")


def _cuts(text: str) -> Iterator[_Cut]:
    """Yield the words of a text with the marks beside them; an opening mark stands before a word, others behind it."""
    kinds = [_kind(text, at) for at in range(len(text))]
    groups = [
        (kind, "".join(character for character, _ in found))
        for kind, found in groupby(zip(text, kinds, strict=True), key=lambda pair: pair[1])
    ]
    parts: list[str] = [""]  # gap, word, gap, word, ..., gap
    for kind, found in groups:
        for part in found if kind == WIDE else [found]:
            if kind == GAP:
                parts[-1] += part
            else:
                parts += [part, ""]
    marks = [_marks(gap, is_first=not at) for at, gap in enumerate(parts[::2])]
    for number, word in enumerate(parts[1::2]):
        yield _Cut(marks[number][1], word, marks[number + 1][0], any(map(str.isspace, parts[2 * number])))


WIDE, GLUED, GAP = "a word by itself", "part of a word", "between words"


def _kind(text: str, at: int) -> str:
    character = text[at]
    if character.isalnum():
        return WIDE if wide(character) and not _plain(character).isascii() else GLUED
    inside = 0 < at < len(text) - 1 and text[at - 1].isalnum() and text[at + 1].isalnum()
    inside = inside and character in APOSTROPHES
    return GLUED if inside or unicodedata.category(character) in ("Mn", "Mc") else GAP


def _marks(gap: str, *, is_first: bool) -> tuple[str, str]:
    """The marks of what stands between two words: those of the word before, those of the one behind."""
    marks = "".join(mark for mark in gap if unicodedata.category(mark)[0] in "PS")
    if is_first:
        return "", marks
    closing = len(marks)
    while closing and unicodedata.category(marks[closing - 1]) in ("Ps", "Pi"):
        closing -= 1
    return marks[:closing], marks[closing:]


def _notes(words: Sequence[KnownWord], unknown: Counter[str]) -> list[str]:
    notes = []
    if unknown:
        notes.append(
            f"not in the model's vocabulary: {_shown(unknown)} ({unknown.total()} in all); each is a token of its own"
        )
    spoken = [mark for word in words for mark in word.written if mark not in word.text and _may_be_spoken(mark)]
    if spoken:
        notes.append(f"left out, though it may be spoken: {_shown(spoken)}; times are better where it is written out")
    if any(re.search("[0-9]{2}", word.text) for word in words):
        notes.append("each digit is one token; times are better where numbers are written as they are spoken")
    return notes


def _may_be_spoken(mark: str) -> bool:
    return mark in SPOKEN_MARKS or unicodedata.category(mark) in ("Sc", "Sm", "So")


def _shown(characters: Iterable[str]) -> str:
    different = [*dict.fromkeys(characters)]
    return " ".join(different[:SHOWN]) + (" ..." if len(different) > SHOWN else "")
