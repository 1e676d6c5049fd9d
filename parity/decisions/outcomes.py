"""What a family's outcomes do for the comparison: say what was decided, where two sides differ, and whether rounding
explains it. comparing.py holds what is the same for all; each family's own stands in parity/families/NAME/outcomes.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from parity.decisions.decision import outcome
from parity.sides.candidate import Candidate
from parity.sides.runner import Heard
from parity.taps.distances import Comparison
from parity.taps.tapset import Precision
from parity.taps.trace import Recorded, Trace, TracedUtterance
from reports.schema import DecisionRow, InvarianceRow, Outcome, UtteranceRow

Facts = dict[str, dict[str, Any]]


class Outcomes(ABC):
    """What one candidate decides over a trace, utterance by utterance."""

    DECIDED: ClassVar[dict[str, str]]  # kind of a decision -> the tap it belongs to

    def __init__(self, trace: Trace, candidate: Candidate, precision: Precision):
        self.trace, self.candidate, self.precision = trace, candidate, precision
        self.decisions: list[DecisionRow] = []
        self.compared: Counter[str] = Counter()  # by kind of decision

    @property
    def allowance(self) -> float:
        """How many times the reference's own error a decision may hang on: the reference's once, the candidate's."""
        return 1.0 + 4.0 * self.precision.multiple

    @abstractmethod
    def decide(self, utt_id: str, recorded: Recorded, heard: Heard) -> list[DecisionRow]:
        """Return every decision on which the sides differ."""

    @abstractmethod
    def excused(self, decided: Sequence[DecisionRow]) -> frozenset[str]:
        """Return the discrete taps whose differences rounding explains."""

    @abstractmethod
    def skipped(self, recorded: Recorded, heard: Heard, decided: Sequence[DecisionRow]) -> tuple[str, ...]:
        """Return prefixes of taps that are not compared by distance, in this utterance."""

    @abstractmethod
    def compare(
        self,
        comparison: Comparison,
        utterance: TracedUtterance,
        recorded: Recorded,
        heard: Heard,
        decided: Sequence[DecisionRow],
    ) -> UtteranceRow:
        """Compare what the family has beside taps (end to end among it), and return the utterance's row."""

    def order(self, names: list[str]) -> list[str]:
        """Return the names of an utterance's taps in the order in which they come about."""
        return names

    def picture(self, utterance: TracedUtterance, recorded: Recorded, heard: Heard) -> None:  # noqa: B027  may draw none
        """Keep what is drawn of one utterance."""

    @abstractmethod
    def structure(self) -> Facts:
        """Return what distances could miss, {fact: {module: value}}, of the candidate, named as the recorder's."""

    @abstractmethod
    def invariance(self) -> list[InvarianceRow]:
        """Return one row per thing the result must not depend on, and the reference's own dependences."""

    @abstractmethod
    def notes(self) -> list[str]:
        """Return what a reader must know to read this family's numbers."""

    def counted(self, decided: Sequence[DecisionRow], compared: Mapping[str, int]) -> dict[str, Outcome]:
        """Return an utterance's outcomes, of so many decisions compared by kind, and keep that for the whole."""
        self.compared.update(compared)
        return {kind: outcome(decided, kind, compared[kind]) for kind in self.DECIDED}

    def outcomes(self) -> dict[str, Outcome]:
        """Return the outcomes over all utterances, by kind of decision."""
        return {kind: outcome(self.decisions, kind, self.compared[kind]) for kind in self.DECIDED}

    def fields(self) -> dict[str, Any]:
        """Return what else of the report this family fills: its pictures, the reference's own code paths."""
        return {}

    @staticmethod
    @abstractmethod
    def nothing_heard(trace: Trace) -> str | None:
        """Return why the recordings of a trace show nothing, or None where they do."""


def settled(recorded: Recorded, taps: dict[str, np.ndarray]) -> Recorded:
    """Return the recorded taps without those whose float64 and float32 runs disagree in shape (in token count)."""
    own = {name: pair for name, pair in recorded.own.items() if pair.settled}
    dropped = recorded.own.keys() - own.keys()
    for name in dropped:
        taps.pop(name, None)
    return Recorded(plain=recorded.plain, own=own, alone=recorded.alone, inputs=recorded.inputs)
