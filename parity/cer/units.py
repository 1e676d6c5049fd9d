"""What one error is counted in: functions that cut a normalised text into units, by name.

Stdlib and mlx_model.errors only. `char` is what Kaldi's AISHELL recipe, FunASR and jiwer count: every code point, white
space and combining marks too, so a text written with combining marks (NFD) differs from its composed spelling. `mixed`
is the Mandarin-English habit of WeNet's compute-wer.py and sclite's `-c NOASCII`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mlx_model.errors import UsageError

# Ideographs with their repetition and number marks, kana, bopomofo, Hangul, Yi. Full-width letters and digits are not
# here: they form words as the narrow ones do; nor is punctuation, which a normaliser removes where it shall not count.
CJK = (
    "\u1100-\u11ff\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b\u303c\u3041-\u3096\u309d-\u309f\u30a1-\u30fa"
    "\u30fc-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua48c\uac00-\ud7a3"
    "\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003fffd"
)
_MARKS = (
    "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u200d\u20d0-\u20ff\u302a-\u302f\u3099\u309a\ufe00-\ufe0f\ufe20-\ufe2f"
    "\U000e0100-\U000e01ef"
)
_MIXED = re.compile(f"[{CJK}][{_MARKS}]*|[^\\s{CJK}]+")
# A space before a mark stays: without it the mark would join the character.
_SPACE_BESIDE_CJK = re.compile(f"(?<=[{CJK}]) (?![{_MARKS}])| (?=[{CJK}])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A way to cut a text, and to put neighbouring units together again for showing them."""

    name: str
    cut: Callable[[str], list[str]]
    join: Callable[[Iterable[str]], str]


def char(text: str) -> list[str]:
    """Return every code point, white space and combining marks included."""
    return list(text)


def word(text: str) -> list[str]:
    """Return what white space separates."""
    return text.split()


def mixed(text: str) -> list[str]:
    """Return each CJK character with its combining marks, and each run of anything else; white space only separates."""
    return _MIXED.findall(text)


def close_up(text: str) -> str:
    """Return the text without the spaces beside a CJK character."""
    return _SPACE_BESIDE_CJK.sub("", text)


def _join_mixed(units: Iterable[str]) -> str:
    return close_up(" ".join(units))


_TABLE = (
    Unit(name="char", cut=char, join="".join),
    Unit(name="word", cut=word, join=" ".join),
    Unit(name="mixed", cut=mixed, join=_join_mixed),
)
UNITS: dict[str, Unit] = {unit.name: unit for unit in _TABLE}


def find_unit(name: str) -> Unit:
    """Return the unit of that name.

    Raises:
        UsageError: there is none; the message names the nearest and all that exist.
    """
    if name in UNITS:
        return UNITS[name]
    near = difflib.get_close_matches(name.lower(), UNITS, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"no scoring unit is called {name!r}{hint} (there are: {', '.join(UNITS)})")
