"""What a BiCifParaformer decides: as a Paraformer, then where its second head fires, and times. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from mlx_model.decoding.peak_times import spaced
from mlx_model.parts.integrals import PEAK
from parity.decisions.cif import firing_differences, token_count_difference
from parity.decisions.decision import rounding
from parity.decisions.times import Sums, peak_differences, time_differences, why_other
from parity.decisions.tokens import TokenDecisions
from parity.families.bicif_paraformer.candidate import ALPHAS, PEAKS, Candidate
from parity.sides.candidate import CandidateRun
from parity.taps.distances import Comparison
from parity.taps.trace import Recorded, TracedUtterance
from reports.schema import DecisionRow, UtteranceRow

PER_TOKEN = ("decoder.", "predictor.acoustic_embeds")  # taps with a row per token
SECOND = ("predictor.us_",)


class Decisions(TokenDecisions):
    """Firings, counts and tokens, then peaks and times."""

    LOGITS = "decoder.output_layer"

    @property
    def model_side(self) -> Candidate:
        """The candidate, which is this family's."""
        return cast("Candidate", self.candidate)

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of token ids as FunASR prints it beside times: a space between all words."""
        return spaced([self.token(token) for token in ids if token not in self.candidate.model.tokenizer.silent])

    def decide(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> list[DecisionRow]:
        """Return every decision on which the sides differ, in the order in which they come about."""
        utt_id, (truth, single) = utterance.utt_id, recorded.propagated["predictor.alphas"]
        fires = (recorded.plain["predictor.fires"][0], run.taps["predictor.fires"][0])
        firing = firing_differences(utt_id, truth[0], single[0], *fires, self.allowance)
        firing += token_count_difference(utt_id, truth[0], single[0], self.counts(recorded, run), self.allowance)
        found = super().decide(utterance, recorded, run)
        found = firing or found if any(row.kind == "count" for row in found) else [*firing, *found]
        return [*found, *self._second(utterance, recorded, run, found)]

    def _second(
        self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun, before: Sequence[DecisionRow]
    ) -> list[DecisionRow]:
        """Return the peaks and the first time on which the sides differ; `before` is what they follow from."""
        if ALPHAS not in recorded.propagated or ALPHAS not in run.taps:
            return []
        truth, single = (side[0] for side in recorded.propagated[ALPHAS])
        fires = recorded.plain["fires"][0], run.taps[PEAKS][0] >= np.float32(PEAK)
        peaks = peak_differences(utterance.utt_id, Sums(truth, single, self.allowance), *fires)
        if peaks and rounding(before, "firing", "count"):  # another number of tokens, and all peaks with it
            peaks = [replace(row, margin=0.0, noise=0.0, explained=True) for row in peaks[:1]]
        wanted = len(utterance.token_ids) + 1
        rescaled = 1.0 if int(fires[0].sum()) == wanted else wanted / max(float(truth.sum()), 1e-30)
        sums = Sums(truth, single, self.allowance, rescaled)
        theirs = utterance.more["times"]
        ours = self.model_side.funasr_times(run.taps, self._ids(run))
        return [*peaks, *time_differences(utterance.utt_id, sums, theirs, ours, [*before, *peaks])]

    def _ids(self, run: CandidateRun) -> list[int]:
        """Return the token ids by the taps, special ones left out."""
        silent = self.candidate.model.tokenizer.silent
        return [token for token in self._all(run) if token not in silent]

    def _all(self, run: CandidateRun) -> list[int]:
        return [int(token) for token in run.taps[self.LOGITS][0].argmax(-1)] if self.LOGITS in run.taps else []

    def made(self, utterance: TracedUtterance, recorded: Recorded) -> dict[str, int]:
        """Return how many frames, counts, tokens, peaks and times FunASR decided."""
        frames = recorded.plain["fires"].size if "fires" in recorded.plain else 0
        found = {"firing": recorded.plain["predictor.fires"].size, "count": 1, "token": len(utterance.token_ids)}
        return {**found, "peak": frames, "time": len(utterance.more["times"] or [])}

    def counts(self, recorded: Recorded, run: CandidateRun) -> tuple[int, int]:
        """Return the predictors' token counts."""
        reference, candidate = (int(side["predictor.token_num"].max()) for side in (recorded.plain, run.taps))
        return reference, candidate

    def skipped(self, recorded: Recorded, run: CandidateRun, decided: Sequence[DecisionRow]) -> tuple[str, ...]:
        """Return what has a row per token where counts may differ, and the second head's where its peaks may."""
        reference, candidate = self.counts(recorded, run)
        other = reference != candidate and rounding(decided, "firing", "count")
        if other:
            return (*PER_TOKEN, *SECOND)
        return (PEAKS,) if rounding(decided, "peak") else ()

    def compare(
        self,
        comparison: Comparison,
        utterance: TracedUtterance,
        recorded: Recorded,
        run: CandidateRun,
        decided: Sequence[DecisionRow],
    ) -> UtteranceRow:
        """Return the utterance's row; its explanation says where times by default are not FunASR's, and why."""
        row = super().compare(comparison, utterance, recorded, run, decided)
        every, silent = self._all(run), self.candidate.model.tokenizer.silent
        kept = [token not in silent for token in every]
        own = self.model_side.own_times(run.taps, every, kept)
        tokens = [self.token(token) for token, keep in zip(every, kept, strict=True) if keep]
        why = why_other(utterance.more["times"], own, tokens, len(kept) - sum(kept))
        return replace(row, explanation="; ".join(filter(None, [row.explanation, why])))
