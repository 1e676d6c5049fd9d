"""A text as the words that a punctuation model labels, and what of the text is no word: spaces and marks. Stdlib only.

`funasr_words` splits as FunASR does: at white space, then every character that is not ASCII is a word, and so is every
run of ASCII; or by a dictionary. `read` mends what that does to texts other than a recogniser's: marks that are there
already are no words, letters with accents stay in their word, and no character is taken apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mlx_model.errors import UsageError

Cut = Callable[[str], list[str]]  # a Chinese text into words; `jieba_words.JiebaWords`
MARKS = frozenset("，。？！、；：…,.?!;:．｡！？")
_LETTERS = re.compile(r"^[a-zA-Z']+$")
_RUNS = re.compile(r"[\x00-\x7f]+|[^\x00-\x7f]")
_ALL_MARKS = "".join(MARKS)
_JOINERS = ("\u200d", "\ufe0e", "\ufe0f")  # of emoji


def checked(text: Any) -> str:
    """Return a text; UsageError where it is none, or holds half a surrogate pair, which no file and no model can."""
    if not isinstance(text, str):
        raise UsageError(f"a text is expected, not a {type(text).__name__}")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UsageError(f"{text[:40]!a}: not a text of Unicode characters (half a surrogate pair)")
    return text


def is_ascii(character: str) -> bool:
    """Return whether FunASR takes a word that begins (or ends) so for an English one."""
    return character < "\x80"


def funasr_words(text: str, cut: Cut | None = None) -> list[str]:
    """Return FunASR's words. Mirrors funasr/models/ct_transformer/utils.py::split_words.

    With `cut`, runs of letters pass through and what stands between them is joined without spaces and cut.
    """
    if cut is None:
        return [word for part in text.split() for word in _RUNS.findall(part)]
    words: list[str] = []
    joined: list[str] = []
    for part in [*text.split(), None]:
        if part is not None and not _LETTERS.search(part):
            joined.append(part)
            continue
        if joined:
            words += cut("".join(joined))
            joined = []
        if part is not None:
            words.append(part)
    return words


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A text's words, and what stands between them.

    spaced[i]: white space stands in front of word i. given[i]: marks, quotes and brackets that stand behind word i
    already. lead: those in front of the first word.
    """

    words: list[str]
    spaced: list[bool]
    given: list[str]
    lead: str = ""


def read(text: str, cut: Cut | None = None) -> Read:
    """Return a text's words, marks that it has already set apart.

    Spaces between two words of ASCII are never joined over, as FunASR does in front of a dictionary ("3 4" is "34").
    """
    words: list[str] = []
    spaced: list[bool] = []
    given: list[str] = []
    lead = ""
    for word, space in _pieces(text, cut):
        core = "" if is_bracket(word) else word.rstrip(_ALL_MARKS)
        if core and words and not space and not given[-1] and _continues(words[-1], core):
            words[-1] += core
        elif core:
            words.append(core)
            spaced.append(space)
            given.append("")
        marks = word[len(core) :]
        if words:
            given[-1] += marks
        else:
            lead += marks
    return Read(words=words, spaced=spaced, given=given, lead=lead)


def _pieces(text: str, cut: Cut | None) -> list[tuple[str, bool]]:
    """FunASR's words, each with whether white space stands in front of it."""
    if cut is None:
        return [(word, not number) for part in text.split() for number, word in enumerate(_RUNS.findall(part))]
    parts = text.split()
    ends = [not is_ascii(a[-1]) or not is_ascii(b[0]) or _LETTERS.search(a) or _LETTERS.search(b)
            for a, b in pairwise(parts)]  # fmt: skip
    found: list[tuple[str, bool]] = []
    first = 0
    for number in range(len(parts)):
        if number + 1 == len(parts) or not ends[number]:  # two numbers meet
            found += _with_spaces(funasr_words(" ".join(parts[first : number + 1]), cut), parts[first : number + 1])
            first = number + 1
    return found


def _with_spaces(words: Sequence[str], parts: Sequence[str]) -> list[tuple[str, bool]]:
    """Each word with whether a part begins with it."""
    starts, at = set[int](), 0
    for part in parts:
        starts.add(at)
        at += len(part)
    found, at = [], 0
    for word in words:
        found.append((word, at in starts))
        at += len(word)
    return found


def _continues(before: str, word: str) -> bool:
    """Whether a word is the rest of the one before it: of its last character, or of its letters."""
    last, first = before[-1], word[0]
    if last == "\u200d" or first in _JOINERS or unicodedata.category(first) in ("Mn", "Mc", "Me"):
        return True
    if "\U0001f3fb" <= first <= "\U0001f3ff":  # the colour of the skin of an emoji
        return True
    alphabetic = last.isalpha() and first.isalpha() and not (is_wide(last) or is_wide(first))
    return alphabetic and not (is_ascii(last) and is_ascii(first))


def is_bracket(word: str) -> bool:
    """Return whether a word is one quotation mark or bracket of Chinese typography, which no mark stands beside."""
    return len(word) == 1 and not is_ascii(word) and unicodedata.category(word) in ("Ps", "Pe", "Pi", "Pf")


def opens(character: str) -> bool:
    """Return whether a quotation mark or bracket belongs to what follows."""
    return unicodedata.category(character) in ("Ps", "Pi")


def is_wide(character: str) -> bool:
    """Return whether a character is of a script that is written without spaces, or is as wide: Han, kana, marks."""
    return unicodedata.east_asian_width(character) in ("W", "F")
