"""The steps normalisers are made of: text -> text functions, each with the words a report shows for it.

Stdlib, mlx_model.errors and parity.cer.units only; libraries a step needs are imported when the step first runs. A step
returns text or raises one of mlx_model.errors, whatever it is given. Those that call a library refuse what would take
it minutes or all memory; every other one is linear in the length of the text.
"""

from __future__ import annotations

import functools
import importlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from mlx_model.errors import DatasetError, DependencyError
from parity.cer.units import close_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One text -> text function, the words a report shows for it, and the distribution whose version decides it."""

    name: str
    apply: Callable[[str], str]
    package: str | None = None


def remove(pattern: str, name: str, apply: Callable[[str], str] | None = None) -> Step:
    """Return the step that drops what the pattern finds; `apply` may be a faster function of the same result."""
    compiled = re.compile(pattern)
    return Step(name=f"{name} ({pattern})", apply=apply or (lambda text: compiled.sub("", text)))


def package_version(package: str) -> str:
    """Return the installed version of a distribution a step uses.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise _missing(package) from error


def _missing(package: str) -> DependencyError:
    return DependencyError(f"this text normaliser needs {package}: pip install 'mlx-funasr[cer]'")


def _load(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(package) from error


def _run(library: str, function: Callable[[str], str], text: str) -> str:
    """Return function(text); whatever the library raises becomes a DatasetError that shows the text."""
    try:
        return function(text)
    except Exception as error:
        shown = text if len(text) <= 60 else text[:60] + "…"
        reason = str(error).split("\n", 1)[0][:100]
        raise DatasetError(f"{library} cannot normalise {shown!r} ({type(error).__name__}: {reason})") from error


# WeNet's tools/compute-wer.py --char=1. "\x80" and up is what it calls ord(c) >= 128.
_WENET_MARKS = frozenset("、。！，；？：「」︰『』《》")
_WENET_PIECES = re.compile("([一-龥]+|[\x80-\U0010ffff]?)([^ \t\r\n\x80-\U0010ffff]*)")
_WENET_ASCII = re.compile(r"<[^>]*>?|[^!,?].*", re.DOTALL)


def wenet_units(text: str) -> str:
    """Return WeNet's units with one space between them.

    Mirrors wenet tools/compute-wer.py::characterize: a letter of a script without case is one unit, any other character
    takes the ASCII characters after it along (so `hello,` keeps its comma, and é begins a unit of its own), `<...>` is
    one. Punctuation is dropped only where a unit would begin with it.
    """
    units: list[str] = []
    for head, tail in _WENET_PIECES.findall(text):
        kind = _wenet_kind(head[0]) if head else ""
        if kind == "other":
            units.append(head + tail)
            continue
        if kind == "letter":
            units += head  # one character, or a run of ideographs
        if tail:
            units += _WENET_ASCII.findall(tail)
    return " ".join(units)


@functools.lru_cache(maxsize=65536)
def _wenet_kind(character: str) -> str:
    category = unicodedata.category(character)
    if character in _WENET_MARKS or category in {"Zs", "Cn"}:
        return "dropped"
    return "letter" if category == "Lo" else "other"


# What SpeechIO's textnorm_zh does, with its number rewriter replaced by WeTextProcessing's grammar.
_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if code != 0xFF0C}
_LONG_NUMBER = re.compile(r"(?<![\d.,])[0-9]{12,}(?![\d.,])")
_CHINESE_DIGITS = str.maketrans("0123456789", "零一二三四五六七八九")
_CLAUSE_END = re.compile(r"([，。；、!?;\r\n]|(?<!\d),|,(?!\d{3}(?!\d)))")
_CLAUSE_LIMIT = 200  # the grammar's memory grows with the text: 17,000 characters took 600 MB
_BOUNDED = re.compile(rf".{{1,{_CLAUSE_LIMIT}}}(?:$|(?<=\D)(?=\D))|.{{1,{_CLAUSE_LIMIT}}}", re.DOTALL)
_NEEDS_GRAMMAR = re.compile(r"[\d儿兒]")


def half_width(text: str) -> str:
    """Return the text with U+FF01-U+FF5E as ASCII; the comma stays, as between digits it ends a clause."""
    return text.translate(_HALF_WIDTH)


def read_long_numbers(text: str) -> str:
    """Return the text with integers of 12 and more digits read digit by digit: account numbers, not amounts."""
    return _LONG_NUMBER.sub(lambda found: found[0].translate(_CHINESE_DIGITS), text)


def chinese_words(text: str) -> str:
    """Return the text with numbers, dates, times, sums and units as Chinese words, and without erhua.

    Clauses without digit or 儿 do not reach the grammar, which takes 0.1 to 0.3 ms a character; longer ones than 200
    characters reach it in pieces.

    Raises:
        DependencyError: wetext is not installed.
        DatasetError: the grammar cannot take the text (lone surrogates).
    """
    if not _NEEDS_GRAMMAR.search(text):
        return text
    return "".join(
        _read_clause(piece) if _NEEDS_GRAMMAR.search(piece) else piece
        for clause in _CLAUSE_END.split(text)
        for piece in _BOUNDED.findall(clause)
    )


@functools.lru_cache(maxsize=4096)  # a hypothesis mostly repeats the clauses of its reference
def _read_clause(clause: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in clause):
        raise DatasetError(f"{clause!r} holds half of a surrogate pair, which is no character; mend the text")
    return _run("wetext", _wetext().normalize, clause)


@functools.cache
def _wetext() -> Any:
    return _load("wetext", "wetext").Normalizer(lang="zh", operator="tn", remove_erhua=True)


_WHITE_SPACE = re.compile(r"[^\S ]\s*| \s+")  # whatever is not one space already
_UNCLOSED_LIMIT = 100_000_000


def one_space(text: str) -> str:
    """Return the text with each run of white space as one space."""
    return _WHITE_SPACE.sub(" ", text)


def whisper_english(text: str) -> str:
    """Return what OpenAI's EnglishTextNormalizer makes of the text.

    Raises:
        DependencyError: whisper-normalizer is not installed.
        DatasetError: the library cannot take the text (numbers of hundreds of digits), or it has so many brackets that
            never close that the library's patterns would take minutes.
    """
    for openers, closers in (("<[", ">]"), ("(", ")")):
        rest = text[max(map(text.rfind, closers)) + 1 :]
        if sum(map(rest.count, openers)) * len(rest) > _UNCLOSED_LIMIT:
            raise DatasetError(f"{text[:60] + '…'!r}: thousands of brackets {openers} that never close; mend the text")
    return _run("whisper-normalizer", _whisper(), text)


@functools.cache
def _whisper() -> Any:
    return _load("whisper_normalizer.english", "whisper-normalizer").EnglishTextNormalizer()


# The end of a line is no speech: jiwer's own default for characters strips it too.
STRIP = Step(name="strip white space at both ends", apply=str.strip)
NO_WHITE_SPACE = remove(r"\s", "remove white space", lambda text: "".join(text.split()))
# FunASR's scoring, benchmarks/benchmark_pipeline_cer.md: re.sub(r'[^\w一-鿿]','',t).upper(), letter for letter.
WORD_CHARACTERS_ONLY = remove(r"[^\w一-鿿]", "remove all but word characters")
UPPER_CASE = Step(name="upper case", apply=str.upper)

WENET_UNITS = Step(
    name="cut as WeNet's compute-wer.py --char=1: a letter without case (Lo) is a unit, any other character takes the "
    "ASCII after it along, <...> is a unit; white space, unassigned characters and 18 punctuation marks begin none",
    apply=wenet_units,
)
NO_TAGS = remove(r"<[^> ]*>?", "remove tags")
CLOSE_UP = Step(name="remove spaces beside CJK characters", apply=close_up)

HALF_WIDTH = Step(name="full-width ASCII to half-width (U+FF01-U+FF5E without the comma)", apply=half_width)
NO_FILLERS = remove("[呃啊]", "remove fillers")
LONG_NUMBERS = Step(name="numbers of 12 or more digits read digit by digit", apply=read_long_numbers)
CHINESE_WORDS = Step(
    name="numbers, dates, times, sums, units to Chinese words and erhua removed (wetext zh tn, clause by clause)",
    apply=chinese_words,
    package="wetext",
)
NO_PUNCTUATION = remove(r"[!-/:-@\[-`{-~·–—‘-‟…‧、-〃〈-】〔-〟〰〾〿﹏-﹔！-／：-＠［-｀｛-･]", "remove punctuation")

ONE_SPACE = Step(name="runs of white space to one space", apply=one_space)
WHISPER_ENGLISH = Step(
    name="OpenAI's EnglishTextNormalizer: lower case; [..], (..), hmm, mm, uh, um removed; contractions written out; "
    "numbers as digits; American spelling; symbols and diacritics removed",
    apply=whisper_english,
    package="whisper-normalizer",
)
