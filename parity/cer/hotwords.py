"""Recall, precision and F1 of hotwords, and the error rate inside and outside of them: counted by the alignment.

What an occurrence is, and when it is right, stands in reports/schema/hotwords.py. Must not import mlx, torch or funasr.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mlx_model.decoding.hotwords import words_of
from parity.cer.normalize import Normalizer
from parity.cer.units import find_unit
from reports.schema.cer import CerUtterance
from reports.schema.hotwords import CerHotwords, HotwordCounts

SHOWN = 30  # hotwords of each list
WORD = ""  # the key under which a trie's node has the hotword that ends there; no unit is empty
Span = tuple[int, int]
Given = str | Sequence[str] | None


def listed(given: Given, *, allow_urls: bool = False) -> tuple[str, ...] | None:
    """Return the hotwords that are scored, None where none were given; see `words_of`.

    Raises:
        UsageError: the list cannot be read.
    """
    return words_of(given, allow_urls=allow_urls)


class HotwordTally:
    """Counts over utterances, one after the other; memory by the number of hotwords that occur."""

    def __init__(self, words: Sequence[str], normalizer: Normalizer, unit: str):
        """Make a tally of hotwords, which are normalised as the texts are; those that are then the same are one."""
        self.cut = find_unit(unit).cut
        self.trie: dict[str, Any] = {}
        spelt = {word: tuple(self.cut(word)) for word in dict.fromkeys(map(normalizer, words))}
        self.words = {word: units for word, units in spelt.items() if units}
        for word, units in self.words.items():
            node = self.trie
            for each in units:
                node = node.setdefault(each, {})
            node[WORD] = word
        self.counts: dict[str, list[int]] = {}  # hotword -> reference, hypothesis, found, right
        self.lengths, self.errors = [0, 0], [0, 0]  # outside, inside

    def add(self, row: CerUtterance) -> None:
        """Count one scored utterance."""
        pairs = [*_units(row, self.cut)]
        for side, (told, right) in enumerate(((0, 2), (1, 3))):
            places = [number for number, pair in enumerate(pairs) if pair[side] is not None]
            for start, end, word in self.occurrences([str(pairs[place][side]) for place in places]):
                count = self.counts.setdefault(word, [0, 0, 0, 0])
                count[told] += 1
                stretch = pairs[places[start] : places[end - 1] + 1]
                count[right] += all(one == other for one, other in stretch)
                if side == 0:
                    self._inside(stretch)
        self.lengths[0] += row.hits + row.substitutions + row.deletions
        self.errors[0] += row.substitutions + row.deletions + row.insertions

    def _inside(self, stretch: Sequence[Sequence[str | None]]) -> None:
        """Count what the alignment says between an occurrence's first and last unit; `lengths[0]` is of everything."""
        length = sum(pair[0] is not None for pair in stretch)
        errors = sum(one != other for one, other in stretch)
        for at, sign in ((1, 1), (0, -1)):
            self.lengths[at] += sign * length
            self.errors[at] += sign * errors

    def occurrences(self, units: Sequence[str]) -> Iterator[tuple[int, int, str]]:
        """Yield (start, end, hotword) from the left on, the longest at each place, none within another."""
        start = 0
        while start < len(units):
            node, end, word = self.trie, 0, ""
            for place in range(start, len(units)):
                node = node.get(units[place])
                if node is None:
                    break
                if WORD in node:
                    end, word = place + 1, node[WORD]
            if word:
                yield start, end, word
            start = end if word else start + 1

    def report(self) -> CerHotwords:
        """Return the sums, and the hotwords that were missed, or were said to be there, most often."""
        reference, hypothesis, found, right = (sum(count[at] for count in self.counts.values()) for at in range(4))
        recall, precision = _rate(found, reference), _rate(right, hypothesis)
        both = (recall or 0.0) + (precision or 0.0)
        return CerHotwords(
            hotwords=len(self.words),
            occurring=sum(count[0] > 0 for count in self.counts.values()),
            reference=reference,
            hypothesis=hypothesis,
            found=found,
            right=right,
            recall=recall,
            precision=precision,
            f1=None if recall is None or precision is None else 2 * recall * precision / both if both else 0.0,
            inside_length=self.lengths[1],
            inside_errors=self.errors[1],
            inside_cer=_rate(self.errors[1], self.lengths[1]),
            outside_length=self.lengths[0],
            outside_errors=self.errors[0],
            outside_cer=_rate(self.errors[0], self.lengths[0]),
            missed=self._most(0, 2),
            invented=self._most(1, 3),
        )

    def _most(self, there: int, right: int) -> list[HotwordCounts]:
        """Return the hotwords with the most occurrences of a side that are not right."""
        wrong = [(count[there] - count[right], word) for word, count in self.counts.items()]
        wrong.sort(key=lambda row: (-row[0], row[1]))
        return [_counts(word, *self.counts[word]) for number, word in wrong[:SHOWN] if number]


def _counts(hotword: str, reference: int, hypothesis: int, found: int, right: int) -> HotwordCounts:
    return HotwordCounts(hotword=hotword, reference=reference, hypothesis=hypothesis, found=found, right=right)


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _units(row: CerUtterance, cut: Any) -> Iterator[list[str | None]]:
    """Yield an alignment unit by unit: its stretches that agree are cut."""
    for reference, hypothesis in row.alignment:
        if reference == hypothesis and reference is not None:
            yield from ([each, each] for each in cut(reference))
        else:
            yield [reference, hypothesis]
