"""What a MonotonicAligner decides: where the second head fires, and so when each token of a text is said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlx_model.parts.integrals import PEAK
from parity.decisions import base
from parity.decisions.boundary import first_difference
from parity.decisions.decision import line, rounding
from parity.decisions.threshold import threshold_differences
from parity.sides.candidate import CandidateRun
from parity.taps.distances import Comparison
from parity.taps.trace import Recorded, TracedUtterance
from reports.schema import DecisionRow, UtteranceRow

PEAKS, TIMES = "predictor.us_peaks", "times"


class Decisions(base.Decisions):
    """Firings, then times, which follow from them and from nothing else."""

    def decide(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> list[DecisionRow]:
        """Return every place that fires on one side only, and the first token whose times differ."""
        if PEAKS not in run.taps:
            return []
        (truth, single), peaks = recorded.propagated[PEAKS], run.taps[PEAKS]

        def margins(place: int) -> tuple[float, float]:
            noise = self.allowance * float(np.abs(single[0, : place + 1] - truth[0, : place + 1]).max())
            return abs(float(truth[0, place]) - PEAK), noise

        def said(place: int, fires: bool) -> str:
            return f"a token begins at {place}" if fires else f"none at {place}"

        edge = np.float32(PEAK)
        fires = threshold_differences("firing", utterance.utt_id, single[0] >= edge, peaks[0] >= edge, margins, said)
        times = first_difference("time", utterance.utt_id, recorded.plain[TIMES], run.taps[TIMES], fires)
        return [*fires, *times]

    def order(self, names: list[str]) -> list[str]:
        """Return tap names with what is asked for in front of the second head, which is told it."""
        rest = [name for name in names if name != "asked"]
        place = next((at for at, name in enumerate(rest) if name.startswith("predictor")), len(rest))
        return [*rest[:place], "asked", *rest[place:]]

    def skipped(self, recorded: Recorded, run: CandidateRun, decided: Sequence[DecisionRow]) -> tuple[str, ...]:
        """Return the integrals, where one has fired a place apart: they are a whole token apart then."""
        return (PEAKS,) if rounding(decided, "firing") else ()

    def compare(
        self,
        comparison: Comparison,
        utterance: TracedUtterance,
        recorded: Recorded,
        run: CandidateRun,
        decided: Sequence[DecisionRow],
    ) -> UtteranceRow:
        """Compare the times from the waveform on; return the utterance's row."""
        theirs, ours = recorded.plain[TIMES], run.outcome.times
        excused = rounding(decided, *self.decided) or self.precision.multiple > 1.0
        total, utt_id, model = comparison.total, utterance.utt_id, self.candidate.model
        tokens = [model.tokenizer.tokens[number] for number in utterance.token_ids]
        total("tokenizer").add_discrete(utt_id, tokens, model.speller.funasr_tokens(utterance.more["aligned"]))
        total("end_to_end.times").add_discrete(utt_id, theirs.ravel(), ours.ravel(), explained=excused)
        words = [span for _, *span in run.outcome.words]
        total("end_to_end.words").add_discrete(utt_id, utterance.more["words"], words, explained=excused)
        text = " ".join(word for word, *_ in run.outcome.words)
        made = {"firing": recorded.propagated[PEAKS][1].size, "time": len(theirs)}
        return UtteranceRow(
            utt_id=utterance.utt_id,
            path=utterance.path,
            duration_s=utterance.duration_s,
            reference_text=utterance.text,
            candidate_text=text,
            found={"time": [len(theirs), len(ours)]},
            outcomes=self.counted(decided, made),
            explanation="; ".join(map(line, decided)),
        )

    def heard(self, utterance: TracedUtterance) -> bool:
        """Return whether there was a text to align."""
        return bool(utterance.token_ids)
