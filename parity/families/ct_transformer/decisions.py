"""What a punctuation model decides: the mark of every word in every window, where windows end, and the text.

A mark is the best of six scores. Where a window ends, what is emitted, and the text follow from marks by arithmetic on
whole numbers: they differ only where a mark does, or because of a bug.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from parity.decisions import base
from parity.decisions.argmax import argmax_differences
from parity.decisions.boundary import first_difference
from parity.decisions.decision import line, rounding
from parity.families.ct_transformer.candidate import Outcome
from parity.sides.candidate import CandidateRun
from parity.taps.distances import Comparison
from parity.taps.trace import Recorded, TracedUtterance
from reports.schema import DecisionRow, UtteranceRow

SCORES = "decoder"


class Decisions(base.Decisions):
    """Marks on the reference's windows; words, ids, windows, marks and text from the text on."""

    def decide(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> list[DecisionRow]:
        """Return every mark on which the sides differ, and the first window and text that do."""
        pair, candidate = recorded.propagated[SCORES], run.taps[SCORES]
        truth, reference = pair
        if not truth.shape == reference.shape == candidate.shape:
            return []
        self.noise = max(self.noise, float(np.abs(truth - reference).max(initial=0.0)))
        marks = argmax_differences(
            utterance.utt_id, truth[0], reference[0], candidate[0], self.allowance, self._mark, kind="mark",
            decided=pair.single[0],
        )  # fmt: skip
        outcome: Outcome | None = run.outcome
        if outcome is None:
            return marks
        windows = first_difference(
            "window", utterance.utt_id, recorded.plain["windows"], np.array(outcome.windows), marks
        )
        texts = (np.array(utterance.more["texts"]), np.array(outcome.texts))
        return [*marks, *windows, *first_difference("text", utterance.utt_id, *texts, marks)]

    def _mark(self, number: int) -> str:
        return self.candidate.model.config.marks.punc_list[number]

    def apart(self) -> float:
        """Return how far two right results' scores may lie apart: each within its tap's limit of the truth."""
        return 2 * (self.candidate.full_tapset.spec(SCORES).ratio or 0.0) * self.noise

    def compare(
        self,
        comparison: Comparison,
        utterance: TracedUtterance,
        recorded: Recorded,
        run: CandidateRun,
        decided: Sequence[DecisionRow],
    ) -> UtteranceRow:
        """Compare words, ids, windows, marks and text from the text on; return the text's row."""
        outcome: Outcome = run.outcome
        more, utt_id, total = utterance.more, utterance.utt_id, comparison.total
        excused = rounding(decided, "mark") or self.candidate.precision != "float32"
        total("end_to_end.words").add_discrete(utt_id, flat(more["words"]), flat(outcome.words))
        known = {"ids": (flat(more["ids"]), flat(outcome.ids))}
        known |= {"windows": (recorded.plain["windows"], outcome.windows)}
        known |= {"windows.ids": (recorded.plain["feats"][0], outcome.read)}
        known |= {"punctuation": (flat(more["punctuation"]), flat(outcome.punctuation))}
        known |= {"text": (more["texts"], outcome.texts)}
        for name, (reference, candidate) in known.items():
            total(f"end_to_end.{name}").add_discrete(utt_id, reference, candidate, explained=excused)
        text = "|".join(outcome.texts)
        none = self.candidate.model.config.marks.punc_list.index("_")
        carried = [sum(mark != none for mark in flat(side)) for side in (more["punctuation"], outcome.punctuation)]
        counts = {"mark": recorded.plain["feats"].shape[1], "window": len(recorded.plain["windows"])}
        return UtteranceRow(
            utt_id=utt_id,
            path=utterance.path,
            duration_s=utterance.duration_s,
            reference_text=utterance.text,
            candidate_text=text,
            found={"mark": carried},
            outcomes=self.counted(decided, {**counts, "text": len(more["texts"])}),
            explanation="; ".join(map(line, decided[:8])),
        )

    def order(self, names: list[str]) -> list[str]:
        """Return the names of a text's taps in the order in which they come about: the table of words first."""
        return sorted(names, key=lambda name: name != "embed")

    def heard(self, utterance: TracedUtterance) -> bool:
        """Return whether FunASR found a word."""
        return any(utterance.more["words"])


def flat(calls: Sequence[Sequence[object]]) -> list[object]:
    """Return what all calls gave, one behind the other."""
    return [each for call in calls for each in call]
