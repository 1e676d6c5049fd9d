"""Scored utterances, one after the other -> every sum, group and list a report shows, in memory that stays flat.

Must not import mlx, torch or funasr. Kept per utterance are three 4-byte numbers (errors, length, speaker) and, where
given, its real-time factor; everything else is bounded: groups by the number of speakers, buckets and conditions, the
confusions and the worst utterances by a capacity. No result depends on the order of the utterances, but for the
confusions where there are more than their capacity.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from array import array
from collections.abc import Mapping

import numpy as np

from parity.cer.groups import COLUMNS, Confusion, Division, Frequent, Group, Labels, bucket_names, count_names
from reports.schema import CerUtterance

LENGTHS = (1, 6, 11, 16, 21, 31, 51, 101)  # units of the reference
DURATIONS_S = (1, 2, 3, 5, 8, 12, 20, 30)
RATES = (1, 2, 3, 4, 5, 6, 7, 8)  # units of the reference per second of audio
WORST = 50
CONFUSIONS = 20_000
_BLOCK = 8192  # rows whose groups are summed at once


class _Last(str):
    """An id that orders the other way round: of equally bad utterances the heap gives up the later id first."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


class Tally:
    """What is known of a hypothesis set so far: `add` one row after the other, read at any time."""

    def __init__(self, *, worst: int = WORST, confusions: int = CONFUSIONS):
        self._errors, self._lengths, self._speakers, self._rtf = array("i"), array("i"), array("i"), array("f")
        self._waiting: list[int] = []
        self._waiting_s: list[float] = []
        self._by_length = Division(count_names(LENGTHS))
        self._by_duration = Division(bucket_names(DURATIONS_S, "s"))
        self._by_rate = Division(bucket_names(RATES, "per second"))
        self._by_speaker = Labels()
        self._by_condition: dict[str, Labels] = {}
        self._confusions = Frequent(confusions)
        self._kept = worst
        self._worst: list[tuple[float, int, _Last, int, CerUtterance]] = []
        self._first_missing = self._first_empty = ""
        self._empty = self._serial = 0

    def add(self, row: CerUtterance, *, conditions: Mapping[str, str] | None = None, rtf: float | None = None) -> None:
        """Count one scored utterance; `conditions` are its group in each of some divisions, as {"noise": "street"}."""
        substitutions, deletions, insertions, hits = row.substitutions, row.deletions, row.insertions, row.hits
        errors, missing = substitutions + deletions + insertions, row.hypothesis is None
        wrong = missing or errors > 0
        if conditions or self._by_condition:
            self._add_conditions(conditions or {})
        self._waiting += (1, wrong, missing, hits, substitutions, deletions, insertions)
        self._waiting_s.append(math.nan if row.duration_s is None else row.duration_s)
        self._by_speaker.add(row.speaker)
        if rtf is not None:
            self._rtf.append(rtf)
        length = hits + substitutions + deletions
        if errors:
            self._confusions.add(row.alignment)
            self._keep_if_bad(row, errors, length)
        if missing and not self._first_missing:
            self._first_missing = row.utt_id
        if not length:
            self._empty += 1
            self._first_empty = self._first_empty or row.utt_id
        if len(self._waiting_s) >= _BLOCK:
            self._settle()

    def _add_conditions(self, conditions: Mapping[str, str]) -> None:
        for name in conditions:
            if name not in self._by_condition:
                self._by_condition[name] = Labels(len(self._waiting_s))
        for name, division in self._by_condition.items():
            division.add(conditions.get(name))

    def _keep_if_bad(self, row: CerUtterance, errors: int, length: int) -> None:
        rate = errors / length if length else math.inf
        if len(self._worst) == self._kept and (not self._kept or rate < self._worst[0][0]):
            return
        self._serial += 1  # rows themselves have no order
        heapq.heappush(self._worst, (rate, errors, _Last(row.utt_id), self._serial, row))
        if len(self._worst) > self._kept:
            heapq.heappop(self._worst)

    def _settle(self) -> None:
        """Sum the rows that wait into their groups."""
        if not self._waiting_s:
            return
        rows = np.array(self._waiting, np.int64).reshape(-1, COLUMNS)  # (n, 7)
        seconds = np.array(self._waiting_s)
        lengths = rows[:, 3:6].sum(1)
        self._errors.extend(rows[:, 4:].sum(1).tolist())
        self._lengths.extend(lengths.tolist())
        self._speakers.extend(self._by_speaker.waiting)
        known = seconds > 0
        with np.errstate(over="ignore"):  # a duration of next to nothing: the rate is infinite, the last group
            rates = lengths / np.where(known, seconds, 1.0)
        self._by_length.count(np.searchsorted(LENGTHS, lengths, "right"), rows)
        self._by_duration.count(np.where(known, np.searchsorted(DURATIONS_S, seconds, "right"), -1), rows)
        self._by_rate.count(np.where(known, np.searchsorted(RATES, rates, "right"), -1), rows)
        for division in (self._by_speaker, *self._by_condition.values()):
            division.count(np.array(division.waiting, np.int64), rows)
            division.waiting = array("i")
        self._waiting, self._waiting_s = [], []

    @property
    def total(self) -> Group:
        """The sums over all utterances."""
        sums = zip(*(dataclasses.astuple(group)[1:] for group in self.lengths()), strict=True)
        return Group("all", *map(sum, sums))

    def lengths(self) -> list[Group]:
        """Return the groups by units of the reference that hold an utterance, in ascending order."""
        self._settle()
        return self._by_length.groups()

    def durations(self) -> list[Group]:
        """Return the groups by seconds of audio, of the utterances whose duration is known."""
        self._settle()
        return self._by_duration.groups()

    def rates(self) -> list[Group]:
        """Return the groups by units of the reference per second of audio, of the same utterances."""
        self._settle()
        return self._by_rate.groups()

    def speakers(self) -> list[Group]:
        """Return one group per speaker in order of appearance, which is what `speaker_index` counts in."""
        self._settle()
        return self._by_speaker.groups()

    def conditions(self) -> dict[str, list[Group]]:
        """Return {division: one group per value in order of appearance}."""
        self._settle()
        return {name: division.groups() for name, division in self._by_condition.items()}

    def confusions(self, kind: str, number: int = 20) -> list[Confusion]:
        """Return the most frequent (reference unit, hypothesis unit, count) of a kind: "S", "D" or "I"."""
        return self._confusions.most(kind, number)

    @property
    def confusions_undercount(self) -> int:
        """By how much the counts of `confusions` may be too low; 0 as long as all pairs fitted."""
        return self._confusions.undercount

    @property
    def error_counts(self) -> np.ndarray:
        """(utterances,) int32: errors of each utterance, in the order they were added."""
        self._settle()
        return np.array(self._errors)

    @property
    def reference_lengths(self) -> np.ndarray:
        """(utterances,) int32: units of each reference, in the same order."""
        self._settle()
        return np.array(self._lengths)

    @property
    def speaker_index(self) -> np.ndarray:
        """(utterances,) int32: the place of each utterance's speaker in `speakers()`, -1 where it is not known."""
        self._settle()
        return np.array(self._speakers)

    @property
    def rtf(self) -> np.ndarray:
        """(utterances that have one,) float32: real-time factors, in the order they were added."""
        return np.array(self._rtf)

    @property
    def mean_utterance_cer(self) -> float:
        """Mean of the utterances' own rates; those with an empty reference have none and are left out."""
        errors, lengths = self.error_counts, self.reference_lengths
        rated = lengths > 0
        if not rated.any():
            return self.total.cer
        # Exactly rounded, so that the order of the utterances does not show in the last digit.
        return math.fsum((errors[rated] / lengths[rated]).tolist()) / int(rated.sum())

    def worst(self) -> list[CerUtterance]:
        """Return the kept utterances with the highest rate, of equal ones those with more errors first, then by id."""
        return [entry[-1] for entry in sorted(self._worst, reverse=True)]

    def notes(self) -> list[str]:
        """Return what a reader of the rate must know: hypotheses that are missing, references that are empty."""
        total, notes = self.total, []
        if total.missing:
            notes.append(
                f"{total.missing} of {total.utterances} utterances have no hypothesis: deletions "
                f"(first: {self._first_missing})"
            )
        if self._empty:
            notes.append(
                f"{self._empty} references are empty after normalisation: insertions count, but they have no rate of "
                f"their own in the mean per utterance (first: {self._first_empty})"
            )
        return notes
