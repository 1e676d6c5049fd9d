"""Sums over groups of utterances, and the most frequent of many things: what `Tally` counts with.

Must not import mlx, torch or funasr. A division's memory grows with its groups only.
"""

from __future__ import annotations

import heapq
import itertools
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from parity.cer.statistics import corpus_rate
from reports.schema import CerUtterance

COLUMNS = 7  # a row's numbers: those of Group, in its order

Confusion = tuple[str | None, str | None, int]


def utterance_errors(row: CerUtterance) -> int:
    """Return substitutions + deletions + insertions of one row."""
    return row.substitutions + row.deletions + row.insertions


@dataclass(frozen=True, slots=True)
class Group:
    """Sums over some utterances. `wrong` are those with an error or without a hypothesis, `missing` the latter."""

    name: str
    utterances: int = 0
    wrong: int = 0
    missing: int = 0
    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """Substitutions + deletions + insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_length(self) -> int:
        """Units of the references together."""
        return self.hits + self.substitutions + self.deletions

    @property
    def cer(self) -> float:
        """Errors over units (micro); without any unit 0.0 if there is no error, else infinity."""
        return corpus_rate(self.errors, self.reference_length)

    @property
    def ser(self) -> float:
        """Fraction of wrong utterances; one without a hypothesis is wrong even where nothing was to be said."""
        return self.wrong / self.utterances if self.utterances else 0.0


def bucket_names(edges: Sequence[int], unit: str) -> list[str]:
    """Return the names of the groups below, between and from the edges on: "< 1 s", "1-2 s", ">= 2 s"."""
    spans = [f"{low}-{high}" for low, high in itertools.pairwise(edges)]
    return [f"{name} {unit}" for name in (f"< {edges[0]}", *spans, f">= {edges[-1]}")]


def count_names(edges: Sequence[int]) -> list[str]:
    """Return the same for whole numbers, both ends inside: "0", "1-5", ">= 6"."""
    spans = [f"{low}-{high - 1}" for low, high in itertools.pairwise((0, *edges))]
    return ["0" if span == "0-0" else span for span in spans] + [f">= {edges[-1]}"]


class Division:
    """One way to divide the utterances into groups, and the sums of each group."""

    def __init__(self, names: Iterable[str] = ()):
        self.names = list(names)
        self._sums = np.zeros((0, COLUMNS), np.int64)

    def count(self, place: np.ndarray, rows: np.ndarray) -> None:
        """Add (n, 7) rows to the groups at (n,) places; -1 is no group."""
        inside = place >= 0
        place, rows = place[inside], rows[inside]
        sums = np.zeros((len(self.names), COLUMNS), np.int64)
        sums[: len(self._sums)] = self._sums
        for column in range(COLUMNS):  # bincount's float64 is exact here; np.add.at takes four times as long
            sums[:, column] += np.bincount(place, rows[:, column], len(self.names)).astype(np.int64)
        self._sums = sums

    def groups(self) -> list[Group]:
        """Return the groups that hold an utterance, in the order of their names."""
        pairs = zip(self.names, self._sums.tolist(), strict=True) if len(self._sums) else ()
        return [Group(name, *row) for name, row in pairs if row[0]]


class Labels(Division):
    """A division by a label; the labels become known as utterances come."""

    def __init__(self, waiting: int = 0):
        super().__init__()
        self._place: dict[str, int] = {}
        self.waiting = array("i", [-1]) * waiting

    def add(self, label: str | None) -> None:
        """Remember the next row's label, None where it has none."""
        if label is None:
            self.waiting.append(-1)
            return
        place = self._place.get(label)
        if place is None:
            place = self._place[label] = len(self.names)
            self.names.append(label)
        self.waiting.append(place)


class Frequent:
    """The most frequent pairs of units in bounded memory: over its capacity the rarer half is forgotten.

    Mirrors Manku & Motwani's lossy counting (VLDB 2002): a true count is at most `undercount` above the one shown.
    """

    def __init__(self, capacity: int):
        self.capacity, self.undercount = capacity, 0
        self.counts: dict[tuple[str | None, str | None], int] = {}

    def add(self, alignment: Sequence[Sequence[str | None]]) -> None:
        """Count the errors of one alignment."""
        counts = self.counts
        for left, right in alignment:
            if left != right:
                pair = (left, right)
                counts[pair] = counts.get(pair, 0) + 1
        if len(counts) > self.capacity:
            least = sorted(counts.values())[len(counts) // 2]
            self.undercount += least
            self.counts = {pair: count for pair, count in counts.items() if count > least}

    def most(self, kind: str, number: int) -> list[Confusion]:
        """Return the most frequent pairs of a kind, S, D or I; equal ones in code point order."""
        found = [
            (left, right, count)
            for (left, right), count in self.counts.items()
            if kind == ("I" if left is None else "D" if right is None else "S")
        ]
        return heapq.nsmallest(number, found, key=lambda item: (-item[2], item[0] or "", item[1] or ""))
