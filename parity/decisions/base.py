"""What a family's `Decisions` do for the comparison: say what was decided, and where two sides differ.

layers/check.py holds what is the same for all; each family's own stands in families/NAME/decisions.py, and what its
table already says (kinds, their taps, words) is read there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from parity.decisions.decision import outcome, rounding
from parity.sides.candidate import Candidate, CandidateRun
from parity.taps.distances import Comparison
from parity.taps.tapset import Precision
from parity.taps.trace import Recorded, Trace, TracedUtterance
from reports.schema import DecisionRow, Outcome, UtteranceRow


class Decisions(ABC):
    """What one candidate decides over a trace, utterance by utterance.

    `decided` is {kind: the tap it belongs to}, in the order in which they come about: one follows from those before it.
    """

    def __init__(self, trace: Trace, candidate: Candidate, precision: Precision, decided: Mapping[str, str]):
        self.trace, self.candidate, self.precision, self.decided = trace, candidate, precision, decided
        self.rows: list[DecisionRow] = []
        self.compared: Counter[str] = Counter()  # by kind

    @property
    def allowance(self) -> float:
        """How many times the reference's own error a decision may hang on: the reference's once, the candidate's."""
        return 1.0 + 4.0 * self.precision.multiple

    @abstractmethod
    def decide(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> list[DecisionRow]:
        """Return every decision on which the sides differ."""

    @abstractmethod
    def compare(
        self,
        comparison: Comparison,
        utterance: TracedUtterance,
        recorded: Recorded,
        run: CandidateRun,
        decided: Sequence[DecisionRow],
    ) -> UtteranceRow:
        """Compare what the family has beside taps (end to end among it), and return the utterance's row."""

    noise = 0.0  # the furthest that the reference's own float32 scores were from the truth

    def apart(self) -> float:
        """Return how far two right results' scores may lie apart on this audio; 0 where that was not looked at."""
        return 0.0

    @abstractmethod
    def heard(self, utterance: TracedUtterance) -> bool:
        """Return whether FunASR found anything in an utterance."""

    def excused(self, decided: Sequence[DecisionRow]) -> frozenset[str]:
        """Return the discrete taps whose differences rounding explains, their own and those they follow from."""
        kinds = tuple(self.decided)
        so_far = {tap: kinds[: place + 1] for place, tap in enumerate(self.decided.values())}
        return frozenset(tap for tap, up_to in so_far.items() if rounding(decided, *up_to))

    def skipped(self, recorded: Recorded, run: CandidateRun, decided: Sequence[DecisionRow]) -> tuple[str, ...]:
        """Return prefixes of taps that are not compared by distance, in this utterance; none by default."""
        return ()

    def order(self, names: list[str]) -> list[str]:
        """Return the names of an utterance's taps in the order in which they come about."""
        return names

    def picture(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> None:  # noqa: B027  may draw none
        """Keep what is drawn of one utterance."""

    def fields(self) -> dict[str, Any]:
        """Return the report's fields that only this family fills, as its pictures."""
        return {}

    def counted(self, decided: Sequence[DecisionRow], compared: Mapping[str, int]) -> dict[str, Outcome]:
        """Return an utterance's outcomes, of so many decisions compared by kind, and keep that for the whole."""
        self.compared.update(compared)
        return {kind: outcome(decided, kind, compared[kind]) for kind in self.decided}

    def outcomes(self) -> dict[str, Outcome]:
        """Return the outcomes over all utterances, by kind of decision."""
        return {kind: outcome(self.rows, kind, self.compared[kind]) for kind in self.decided}


def settled(recorded: Recorded, taps: dict[str, np.ndarray]) -> Recorded:
    """Return the recorded taps without those whose float64 and float32 runs disagree in shape (in token count)."""
    kept = {name: pair for name, pair in recorded.propagated.items() if pair.settled}
    for name in recorded.propagated.keys() - kept.keys():
        taps.pop(name, None)
    return Recorded(plain=recorded.plain, propagated=kept, introduced=recorded.introduced, inputs=recorded.inputs)
