"""How a value of a report looks as text: rates, errors, counts, times, and texts that nobody vouches for.

Pure functions from plain values to strings, shared by the page, the Markdown summary and the terminal so that one
number reads the same in all three. Stdlib only; it must not import the renderers.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

ABSENT = "—"  # a value that does not exist, as distinct from 0
Pair = Sequence[str | None]  # [reference, hypothesis]; None where one side has nothing
OPERATIONS = {"S": "substitution", "D": "deletion", "I": "insertion", "": "hit"}

# C0 and C1 controls would be invisible in HTML and would drive a terminal; their pictures are neither.
_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
_PICTURES |= dict.fromkeys(range(0x80, 0xA0), "\ufffd")
# Direction overrides and isolates can make one text read as another; a lone surrogate cannot be written as UTF-8.
_PICTURES |= dict.fromkeys([0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd")
_PICTURES |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
# A recording that a page may play: base64 alone, so that nothing can follow it, and audio alone, so that nothing runs.
_AUDIO = re.compile(r"data:audio/[a-z0-9][a-z0-9.+-]{0,40}(?:;codecs=[a-z0-9.]{1,20})?;base64,[A-Za-z0-9+/]+={0,2}")


class Figure(NamedTuple):
    """One figure of a report: a label, its value as text, and what it is out of or what it means."""

    label: str
    value: str
    detail: str = ""


def rate(value: float | None) -> str:
    """Return a fraction as a percentage with two decimals: 0.0543 -> "5.43%"."""
    return _finite(value, lambda number: f"{100 * number:.2f}%")


def interval(bounds: Sequence[float]) -> str:
    """Return a confidence interval of fractions: [0.04, 0.06] -> "4.00% to 6.00%"."""
    return " to ".join(rate(bound) for bound in bounds) or ABSENT


def points(value: float | None) -> str:
    """Return a difference of rates in percentage points, signed: 0.0123 -> "+1.23 points"; tiny ones keep a digit."""
    return _finite(value, lambda number: f"{_signed(100 * number)} points")


def points_interval(bounds: Sequence[float]) -> str:
    """Return an interval of differences: [-0.01, 0.02] -> "−1.00 to +2.00 points"."""
    if not all(map(math.isfinite, bounds)):
        return " to ".join(map(points, bounds))
    return f"{' to '.join(_signed(100 * bound) for bound in bounds)} points" if bounds else ABSENT


def _signed(value: float) -> str:
    shown = f"{value:+.2f}" if abs(value) >= 0.01 else f"{value:+.1g}" if value else "0.00"
    return shown.replace("-", "−", 1)  # a minus as wide as the plus, and one that no line breaks after


def chance(value: float | None) -> str:
    """Return a p value with three significant digits; below 0.0001 that it is below."""
    return _finite(value, lambda number: f"{number:.3g}" if number >= 1e-4 or number < 0 else "< 0.0001")


def error(value: float | None) -> str:
    """Return a numerical error in scientific notation: 0.00000123 -> "1.23e-06"; an exact zero is "0"."""
    return _finite(value, lambda number: f"{number:.2e}" if number else "0")


def multiple(value: float | None) -> str:
    """Return a ratio as a multiple: 1.234 -> "1.23×", from ten thousand on "1.23e+04×"."""
    return _finite(value, lambda number: f"{number:.2f}×" if abs(number) < 1e4 else f"{number:.2e}×")


def count(value: float | None) -> str:
    """Return a whole number with thousands separated: 220000000 -> "220,000,000"."""
    return _finite(value, lambda number: f"{int(number):,}")


def seconds(value: float | None) -> str:
    """Return a time in the unit that suits its size: 0.00123 -> "1.23 ms", 12.3 -> "12.30 s"."""
    if value is not None and math.isfinite(value) and 0 < abs(value) < 1:
        return f"{1e3 * value:.2f} ms" if abs(value) >= 1e-3 else f"{1e6 * value:.2f} µs"
    return _finite(value, lambda number: f"{number:,.2f} s")


def number(value: float | None) -> str:
    """Return a number of no particular kind with four significant digits."""
    return _finite(value, lambda plain: f"{plain:.4g}")


def shape(sizes: Sequence[int]) -> str:
    """Return a tensor's shape: [512, 1, 11] -> "512 × 1 × 11"; a scalar has none and is named so."""
    return " × ".join(str(size) for size in sizes) or "scalar"


def tap_difference(max_abs: float, rel_l2: float | None) -> str:
    """Return a tap's `max_abs`: a number of differing entries for discrete taps (no rel_l2), else an error."""
    if rel_l2 is None and math.isfinite(max_abs) and max_abs == int(max_abs):
        return count(max_abs)
    return error(max_abs)


def visible(value: object) -> str:
    """Return a text with control and direction characters replaced by marks, so that it shows what it holds."""
    return str(value).translate(_PICTURES)


def unit(value: str) -> str:
    """Return one scored unit so that it can be seen: a space as "␣", a lone combining mark on a dotted circle."""
    shown = re.sub(r"\s", "␣", value) if value.isspace() else visible(value)
    return f"◌{shown}" if value and combining(value[0]) else shown


def combining(character: str) -> bool:
    """Whether a character belongs to the one before it: an accent, a vowel sign, a variation selector, a joiner."""
    return unicodedata.category(character) in ("Mn", "Me", "Mc") or character == "\u200d"


def playable(uri: str | None) -> str | None:
    """Return a data: URI of a recording as it is, None where it is anything else (or nothing)."""
    return uri if uri and _AUDIO.fullmatch(uri) else None


def language(value: object) -> str:
    """Return the language tag that picks the right glyphs for a text ("" where none of ours is needed)."""
    text = str(value or "")
    if re.search(r"[\u3040-\u30ff]", text):
        return "ja"
    if re.search(r"[\uac00-\ud7af]", text):
        return "ko"
    return "zh-Hans" if re.search(r"[\u3400-\u9fff]", text) else ""


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested plain values as (dotted key, text) in their own order."""
    rows: list[tuple[str, str]] = []
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            rows += flatten(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", plain(value)))
    return rows


def reading(value: Any) -> str:
    """Return a measured value: floats with nine significant digits (all that float32 has), others as they are."""
    return f"{value:.9g}" if isinstance(value, float) else plain(value)


def plain(value: Any) -> str:
    """Return any JSON value as one line of text."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list) and not any(isinstance(item, (list, dict)) for item in value):
        return ", ".join(plain(item) for item in value) or "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else str(value)


def operation(pair: Pair) -> str:
    """Return the letter of an aligned pair: S, D, I, or "" for a hit.

    Raises:
        ValueError: the alignment is not a list of [reference, hypothesis].
    """
    if len(pair) != 2:
        raise ValueError(f"an alignment entry must be [reference, hypothesis], found {list(pair)!r}")
    reference, hypothesis = pair
    if reference is None:
        return "I"
    if hypothesis is None:
        return "D"
    return "" if reference == hypothesis else "S"


def align(reference: str, candidate: str) -> list[Pair]:
    """Return two texts side by side, character by character, for showing where they differ (never for counting)."""
    pairs: list[Pair] = []
    # autojunk would call frequent characters junk in texts over 200 characters and show hits as errors.
    for tag, a0, a1, b0, b1 in difflib.SequenceMatcher(None, reference, candidate, autojunk=False).get_opcodes():
        left: list[str | None] = list(reference[a0:a1])
        right: list[str | None] = list(candidate[b0:b1])
        if tag != "equal":
            width = max(len(left), len(right))
            left += [None] * (width - len(left))
            right += [None] * (width - len(right))
        pairs += [list(pair) for pair in zip(left, right, strict=True)]
    return pairs


def wide(character: str) -> bool:
    """Whether a character takes the room of two letters, as an ideograph does."""
    return unicodedata.east_asian_width(character) in "WF"


def width(text: str) -> int:
    """Return the room a text takes, in letters."""
    return sum(1 + wide(character) for character in text)


def elide(text: str, limit: int) -> str:
    """Shorten to so many letters in the middle: the part of the network and the last name both matter."""
    if width(text) <= limit:
        return text
    half = limit // 2
    return f"{_fitting(text, half - 1)}…{_fitting(text[::-1], limit - half)[::-1]}"


def _fitting(text: str, limit: int) -> str:
    """Return as many of the first characters as fit."""
    taken = 0
    for place, character in enumerate(text):
        taken += 1 + wide(character)
        if taken > limit:
            return text[:place]
    return text


def _finite(value: float | None, text: Any) -> str:
    if value is None:
        return ABSENT
    return text(value) if math.isfinite(value) else {math.inf: "∞", -math.inf: "−∞"}.get(value, "NaN")
