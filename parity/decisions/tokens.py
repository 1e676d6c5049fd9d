"""Tokens and text: what a recognizer decides by the arg-max of its scores. Families add what comes before (CIF)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from parity.decisions.argmax import argmax_differences
from parity.decisions.base import Decisions
from parity.decisions.count import unexplained_count
from parity.decisions.decision import line, rounding
from parity.sides.candidate import CandidateRun
from parity.taps.distances import Comparison
from parity.taps.trace import Recorded, TracedUtterance
from reports.schema import DecisionRow, UtteranceRow


class TokenDecisions(Decisions):
    """The arg-max over the rows of one tap, token ids and text."""

    LOGITS: str  # the tap whose rows are decided by arg-max

    def token(self, number: int) -> str:
        """Return a token id in words."""
        return self.candidate.model.tokenizer.tokens[number]

    def apart(self) -> float:
        """Return how far two right results' scores may lie apart: each within its tap's limit of the truth."""
        return 2 * (self.candidate.full_tapset.spec(self.LOGITS).ratio or 0.0) * self.noise

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, as FunASR prints it."""
        return self.candidate.model.tokenizer.decode(list(ids), as_funasr=True)

    def decoded(self, recorded: Recorded, run: CandidateRun) -> tuple[int, int]:
        """Return how many rows of scores the reference and the candidate have."""
        reference = len(recorded.propagated[self.LOGITS][1][0]) if self.LOGITS in recorded.propagated else 0
        return reference, len(run.taps[self.LOGITS][0]) if self.LOGITS in run.taps else 0

    def counts(self, recorded: Recorded, run: CandidateRun) -> tuple[int, int]:
        """Return how many tokens of an utterance are shown as the reference's and the candidate's."""
        return self.decoded(recorded, run)

    def made(self, utterance: TracedUtterance, recorded: Recorded) -> dict[str, int]:
        """Return how many decisions of each kind FunASR made of an utterance."""
        return {"token": len(utterance.token_ids)}

    def decide(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> list[DecisionRow]:
        """Return every arg-max on which the sides differ; where there are not as many, that is the difference."""
        if self.LOGITS not in recorded.propagated or self.LOGITS not in run.taps:
            reference, candidate = self.decoded(recorded, run)
            return [] if reference == candidate else [unexplained_count(utterance.utt_id, reference, candidate)]
        pair, candidate = recorded.propagated[self.LOGITS], run.taps[self.LOGITS]
        (truth, reference), single = pair, pair.single  # `reference` is the run whose noise is the floor
        if truth.shape == reference.shape:
            self.noise = max(self.noise, float(np.abs(truth - reference).max(initial=0.0)))
        if not truth.shape == reference.shape == single.shape == candidate.shape:
            return [unexplained_count(utterance.utt_id, *self.decoded(recorded, run))]
        scores = (truth[0], reference[0], candidate[0])
        return argmax_differences(utterance.utt_id, *scores, self.allowance, self.token, decided=single[0])

    def compare(
        self,
        comparison: Comparison,
        utterance: TracedUtterance,
        recorded: Recorded,
        run: CandidateRun,
        decided: Sequence[DecisionRow],
    ) -> UtteranceRow:
        """Compare token ids and text from the waveform on; return the utterance's row."""
        moved = [] if decided else self.moved(utterance.utt_id, recorded, run)
        text = self._end_to_end(comparison, utterance, run.outcome, [*decided, *moved])
        return UtteranceRow(
            utt_id=utterance.utt_id,
            path=utterance.path,
            duration_s=utterance.duration_s,
            reference_text=utterance.text,
            candidate_text=text,
            found={"token": [*self.counts(recorded, run)]},
            outcomes=self.counted(decided, self.made(utterance, recorded)),
            explanation="; ".join([*map(line, decided), *(f"from the waveform on: {line(row)}" for row in moved)]),
        )

    def moved(self, utt_id: str, recorded: Recorded, run: CandidateRun) -> list[DecisionRow]:
        """Return every token that differs with the candidate's own features, of what is the same on the reference's.

        The front ends' rounding moves scores: by how much is read from the candidate, which with the reference's
        features is proved at every tap; features that are farther away fail by themselves. Nothing where anything that
        comes before the tokens was decided otherwise, too.
        """
        own, plain, pair = run.own.get(self.LOGITS), run.taps.get(self.LOGITS), recorded.propagated.get(self.LOGITS)
        if own is None or plain is None or pair is None:
            return []
        discrete = self.candidate.full_tapset.is_discrete
        before = [tap for tap in self.decided.values() if tap in run.own and discrete(tap) and tap != "token_ids"]
        (truth, reference), single = pair, pair.single
        same = truth.shape == reference.shape == single.shape == own.shape == plain.shape
        if not same or any(not np.array_equal(run.own[tap], run.taps[tap]) for tap in before):
            return []
        return argmax_differences(
            utt_id, truth[0], reference[0], own[0], self.allowance, self.token, decided=single[0],
            moved=np.abs(own[0] - plain[0]).max(axis=-1, initial=0.0),
        )  # fmt: skip

    def _end_to_end(
        self, comparison: Comparison, utterance: TracedUtterance, ids: list[int], decided: Sequence[DecisionRow]
    ) -> str:
        total, text = comparison.total, self.text(ids)
        own = self.text(utterance.token_ids)  # the reference's ids
        total("tokenizer").add_discrete(utterance.utt_id, [utterance.text], [own])
        # Below float32 the decisions table says what flips and why.
        excused = rounding(decided, *self.decided) or self.candidate.precision != "float32"
        total("end_to_end.token_ids").add_discrete(utterance.utt_id, utterance.token_ids, ids, explained=excused)
        total("end_to_end.text").add_discrete(utterance.utt_id, [utterance.text], [text], explained=excused)
        return text

    def heard(self, utterance: TracedUtterance) -> bool:
        """Return whether FunASR found a token."""
        return bool(utterance.token_ids)
