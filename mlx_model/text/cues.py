"""Words with times to cues as a subtitler would cut them: short, within two lines, at pauses, never within a word.

Of all ways to cut, the cheapest is taken (`_cost`), by dynamic programming. Stdlib only.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from mlx_model.errors import UsageError
from mlx_model.text.results import Word
from mlx_model.text.token_times import wide

LEAST_MS = 1000  # a cue that ends sooner is shown so long, where the next one leaves room
RUN_MS = 500  # segments as close as this may share a cue, which they do where one of them is very short
SENTENCE_ENDS, CLAUSE_ENDS = "。！？!?…", "，、；：,;:."


@dataclass(frozen=True, slots=True, kw_only=True)
class CueLimits:
    """The longest a cue may last, and what its two lines may hold: so many Latin, or so many Chinese characters.

    Raises:
        UsageError: a limit that is no number above 0.
    """

    seconds: float = 7.0
    chars: int = 42
    wide_chars: int = 20

    def __post_init__(self):
        if not (math.isfinite(self.seconds) and self.seconds > 0 and self.chars >= 1 and self.wide_chars >= 1):
            raise UsageError(f"{self}: a cue lasts for more than 0 s, and a line holds at least 1 character")

    @property
    def line(self) -> int:
        """Return a line's room in the units of `width`."""
        return self.chars * self.wide_chars

    def width(self, text: str) -> int:
        """Return how much of `line` a text takes: a Latin character 1/chars, a Chinese one 1/wide_chars of it."""
        return sum(self.chars if wide(character) else self.wide_chars for character in text)


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown, in one or two lines, and when."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def cues(segments: Sequence[Sequence[Word]], limits: CueLimits, end_ms: int) -> list[Cue]:
    """Return the cues of a recording: in order, without overlap, within the limits.

    Args:
        segments: the words of each stretch of speech; between two of them is a pause that the VAD found.
        limits: of a cue.
        end_ms: where the recording ends.
    """
    found: list[Cue] = []
    run: list[Word] = []
    borders: set[int] = set()
    for segment in segments:
        words = [piece for word in segment for piece in _fitting(word, limits)]
        if not words:
            continue
        if run and words[0].start_ms - run[-1].end_ms >= RUN_MS:
            found += _cut(run, borders, limits)
            run, borders = [], set()
        borders.add(len(run))
        run += words
    return _shown([*found, *_cut(run, borders, limits)], limits, end_ms)


def _fitting(word: Word, limits: CueLimits) -> list[Word]:
    """The word, in pieces where it alone is wider than a line, and no longer than a cue may be."""
    longest = int(limits.seconds * 1000)
    pieces, width = [""], 0
    for character in word.text:
        width += limits.width(character)
        if pieces[-1] and width > limits.line:
            pieces.append("")
            width = limits.width(character)
        pieces[-1] += character
    duration = word.end_ms - word.start_ms
    edges = [word.start_ms + duration * number // len(pieces) for number in range(len(pieces) + 1)]
    return [
        Word(text=piece, start_ms=start, end_ms=min(end, start + longest), spaced=word.spaced and number == 0)
        for number, (piece, (start, end)) in enumerate(zip(pieces, pairwise(edges), strict=True))
    ]


def _cut(words: Sequence[Word], borders: set[int], limits: CueLimits) -> list[Cue]:
    """The cheapest way to cut words into cues; `borders` are the places where a segment begins."""
    room = _Room(words, limits)
    cheapest, before = [0.0] + [math.inf] * len(words), [0] * (len(words) + 1)
    for first in range(len(words)):
        inner = 0.0
        for last in range(first, len(words)):
            if last > first:
                inner += _joining(words[last - 1], words[last], last in borders)
            if not room.fits(first, last + 1):
                break
            cost = cheapest[first] + inner + _cost(words, first, last + 1, borders, limits)
            if cost < cheapest[last + 1]:
                cheapest[last + 1], before[last + 1] = cost, first
    found, end = [], len(words)
    while end > 0:
        part = words[before[end] : end]
        found.append(Cue(part[0].start_ms, part[-1].end_ms, _lines(part, limits)))
        end = before[end]
    return found[::-1]


def _joining(word: Word, following: Word, is_border: bool) -> float:
    """What it costs that a cue goes on over a pause."""
    pause_s = (following.start_ms - word.end_ms) / 1000
    return max(pause_s - 0.3, 0.0) * 2.0 + (1.5 if is_border else 0.0)


def _cost(words: Sequence[Word], first: int, stop: int, borders: set[int], limits: CueLimits) -> float:
    """What a cue of words [first, stop) costs: itself, being short, and the cut behind it."""
    duration_s = (words[stop - 1].end_ms - words[first].start_ms) / 1000
    wanted_s = min(1.5, limits.seconds / 3)
    cost = 1.0 + max(wanted_s - duration_s, 0.0) * 0.8
    if stop - first == 1 and stop - first < len(words):
        cost += 0.5
    if stop < len(words) and stop not in borders:
        pause_s = (words[stop].start_ms - words[stop - 1].end_ms) / 1000
        cost += 2.0 * _closeness(words[stop - 1].text, pause_s)
    return cost


def _closeness(text: str, pause_s: float) -> float:
    """How much a word and the next belong together, 1 to 0: pauses and marks part them."""
    marks = 0.1 if text[-1] in SENTENCE_ENDS else 0.4 if text[-1] in CLAUSE_ENDS else 1.0
    return marks * math.exp(-max(pause_s, 0.0) / 0.25)


class _Room:
    """How wide any run of words is, and whether it fits into a cue; sums are taken once, for recordings of hours."""

    def __init__(self, words: Sequence[Word], limits: CueLimits):
        self.words, self.limits = words, limits
        self.spaces = [limits.wide_chars if word.spaced else 0 for word in words]
        widths = (limits.width(word.text) + space for word, space in zip(words, self.spaces, strict=True))
        self.sums = list(accumulate(widths, initial=0))

    def width(self, first: int, stop: int) -> int:
        """Return the width of words [first, stop) on one line."""
        return self.sums[stop] - self.sums[first] - self.spaces[first]

    def fits(self, first: int, stop: int) -> bool:
        """Return whether words [first, stop) may be one cue."""
        if self.words[stop - 1].end_ms - self.words[first].start_ms > self.limits.seconds * 1000:
            return False
        if self.width(first, stop) <= self.limits.line:
            return True
        filled = bisect_right(self.sums, self.sums[first] + self.spaces[first] + self.limits.line) - 1
        return first < filled < stop and self.width(filled, stop) <= self.limits.line


def _lines(words: Sequence[Word], limits: CueLimits) -> tuple[str, ...]:
    """One line where that is wide enough, else two that are about as long, broken at a pause or a mark."""
    whole = _joined(words)
    if limits.width(whole) <= limits.line:
        return (whole,)

    def cost(place: int) -> float:
        upper, lower = (limits.width(_joined(part)) / limits.line for part in (words[:place], words[place:]))
        pause_s = (words[place].start_ms - words[place - 1].end_ms) / 1000
        return abs(upper - lower) + 0.5 * _closeness(words[place - 1].text, pause_s)

    room = _Room(words, limits)
    halves = ((place, max(room.width(0, place), room.width(place, len(words)))) for place in range(1, len(words)))
    place = min((place for place, widest in halves if widest <= limits.line), key=cost)
    return _joined(words[:place]), _joined(words[place:])


def _joined(words: Sequence[Word]) -> str:
    return "".join((" " if word.spaced and number else "") + word.text for number, word in enumerate(words))


def _shown(found: Sequence[Cue], limits: CueLimits, end_ms: int) -> list[Cue]:
    """The same with times that can be read, in order and within the recording."""
    result: list[Cue] = []
    least = min(LEAST_MS, int(limits.seconds * 1000))
    for number, cue in enumerate(found):
        limit = found[number + 1].start_ms if number + 1 < len(found) else max(end_ms, cue.end_ms)
        result.append(replace(cue, end_ms=max(cue.end_ms, min(cue.start_ms + least, limit))))
    return result
