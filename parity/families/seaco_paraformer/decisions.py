"""What a SeacoParaformer decides beside a BiCifParaformer: which hotwords are kept, whose token it is. No torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mlx_model.parts.seaco import KEPT
from parity.decisions.decision import rounding
from parity.decisions.ranking import ranking_differences
from parity.decisions.threshold import threshold_differences
from parity.families.bicif_paraformer import decisions
from parity.families.bicif_paraformer.decisions import PER_TOKEN
from parity.sides.candidate import CandidateRun
from parity.taps.trace import Recorded, TracedUtterance
from reports.schema import DecisionRow

OUTPUT, SCORES, FILTER = "hotword_output_layer", "filter.scores", "filter.kept"
BRANCH = ("seaco_decoder", "attended.", "branch.", OUTPUT, "merge")  # what follows from the entries that are kept


class Decisions(decisions.Decisions):
    """Firings and counts, the entries kept, who has each token, then tokens, peaks and times."""

    LOGITS = "merge"

    def decide(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> list[DecisionRow]:
        """Return every decision on which the sides differ, in the order in which they come about.

        Where rounding explains a filter, or whose token it is, it explains the tokens and times that follow from it.
        """
        found = super().decide(utterance, recorded, run)
        if any(row.kind == "count" for row in found) or OUTPUT not in recorded.propagated or OUTPUT not in run.taps:
            return found
        kept = self._filter(utterance.utt_id, recorded, run)
        chosen = self._choices(utterance.utt_id, recorded, run)
        by_place = {row.position: row for row in chosen}
        if rounding(kept, "filter"):
            chosen, by_place = [_caused(row, kept[0]) for row in chosen], dict.fromkeys(range(MOST), kept[0])
        tokens = [_caused(row, by_place.get(row.position, row)) for row in found if row.kind == "token"]
        before, after = ([row for row in found if row.kind in kinds] for kinds in (("firing",), ("peak", "time")))
        causes = [*kept, *chosen, *tokens]
        if tokens and all(row.explained for row in causes):
            after = [_caused(row, causes[0]) if row.kind == "time" else row for row in after]
        return [*before, *causes, *after]

    def _filter(self, utt_id: str, recorded: Recorded, run: CandidateRun) -> list[DecisionRow]:
        if FILTER not in recorded.plain or FILTER not in run.taps:
            return []
        (truth, single), sides = recorded.propagated[SCORES], (recorded.plain[FILTER][0], run.taps[FILTER][0])
        noise = float(2.0 * self.allowance * np.abs(single - truth).max())
        return ranking_differences("filter", utt_id, truth[0], noise, sides, KEPT)

    def _choices(self, utt_id: str, recorded: Recorded, run: CandidateRun) -> list[DecisionRow]:
        truth, single = (side[0] for side in recorded.propagated[OUTPUT])
        sides = (recorded.plain["merge.abstains"][0], run.taps["merge.abstains"][0])

        def margins(token: int) -> tuple[float, float]:
            second, best = np.sort(truth[token])[-2:]
            return best - second, float(2.0 * self.allowance * np.abs(single[token] - truth[token]).max())

        if truth.shape != single.shape:
            return []
        words = {True: "the recogniser's token", False: "the bias branch's token"}
        return threshold_differences("bias", utt_id, *sides, margins, lambda _, abstains: words[abstains])

    def made(self, utterance: TracedUtterance, recorded: Recorded) -> dict[str, int]:
        """Return how many frames, counts, filters, choices and tokens FunASR decided."""
        chosen = recorded.plain.get("merge.abstains")
        branch = {"filter": int(FILTER in recorded.plain), "bias": 0 if chosen is None else chosen.size}
        return {**super().made(utterance, recorded), **branch}

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of token ids as FunASR prints it: without times, without the spaces."""
        if self.candidate.model.config.predictor_class == "CifPredictorV3":
            return super().text(ids)
        return self.candidate.model.tokenizer.decode(list(ids))

    def skipped(self, recorded: Recorded, run: CandidateRun, decided: Sequence[DecisionRow]) -> tuple[str, ...]:
        """Return what follows from a decision on which the sides differ, and which rounding explains."""
        found = super().skipped(recorded, run, decided)
        if PER_TOKEN[0] in found:
            return (*found, *BRANCH, "filter.")
        if rounding(decided, "filter"):
            return (*found, *BRANCH)
        return (*found, "merge") if rounding(decided, "bias") else found

    def order(self, names: list[str]) -> list[str]:
        """Return tap names in the order in which they come about: the vectors and the branch's states first."""
        place = {name: number for number, name in enumerate(ORDER)}
        branch = [name for name in names if name.startswith(WITHIN)]
        rest = [name for name in names if name not in branch]
        last = [name for name in rest if name in ("token_ids", *SECOND)]
        rest = [name for name in rest if name not in last]
        stack = [name for name in branch if name.startswith("seaco_decoder.")]
        before = sorted((name for name in branch if place.get(name, 99) < ORDER.index(SCORES)), key=place.__getitem__)
        after = sorted((name for name in branch if name not in (*stack, *before)), key=place.__getitem__)
        return [*super().order(rest), *before, *stack, *after, *last]


ORDER = (
    "hotwords.ids", "bias_encoder.vectors", "branch.states", SCORES, FILTER, "attended.cif", "attended.states",
    "attended.sum", OUTPUT, "merge.abstains", "merge",
)  # fmt: skip
WITHIN = ("seaco_decoder.", *ORDER)
SECOND = ("predictor.us_alphas", "predictor.us_peaks")
MOST = 1 << 16  # tokens of an utterance


def _caused(row: DecisionRow, cause: DecisionRow) -> DecisionRow:
    """Return a decision that follows from another, with that one's margin."""
    return dataclasses.replace(row, margin=cause.margin, noise=cause.noise, explained=cause.explained)
