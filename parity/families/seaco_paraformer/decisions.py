"""What a SeacoParaformer decides beside a Paraformer: which hotwords are kept, whose token it is. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mlx_model.parts.seaco import KEPT
from parity.decisions import tokens
from parity.decisions.decision import decision, rounding
from parity.decisions.ranking import ranking_differences
from parity.decisions.threshold import threshold_differences
from parity.families.paraformer import decisions
from parity.sides.candidate import CandidateRun
from parity.taps.distances import Comparison
from parity.taps.trace import Recorded, TracedUtterance
from reports.schema import DecisionRow, UtteranceRow

OUTPUT, SCORES, FILTER = "hotword_output_layer", "filter.scores", "filter.kept"
BRANCH = ("seaco_decoder", "attended.", "branch.", OUTPUT, "merge")  # what follows from the entries that are kept


class Decisions(decisions.Decisions):
    """Firings and counts, the entries kept, who has each token, then tokens and text."""

    LOGITS = "merge"

    def decide(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> list[DecisionRow]:
        """Return every decision on which the sides differ.

        Where rounding explains a filter, or whose token it is, it explains the tokens that follow from it.
        """
        found = self._before_times(utterance, recorded, run)
        return [*found, *self._times(utterance, recorded, run, found)]

    def _before_times(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> list[DecisionRow]:
        found = super().decide(utterance, recorded, run)
        if any(row.kind == "count" for row in found) or OUTPUT not in recorded.propagated or OUTPUT not in run.taps:
            return found
        kept = self._filter(utterance.utt_id, recorded, run)
        chosen = self._choices(utterance.utt_id, recorded, run)
        if rounding(kept, "filter"):
            chosen = [_caused(row, kept[0]) for row in chosen]
        first, rest = [row for row in found if row.kind != "token"], [row for row in found if row.kind == "token"]
        by_place = {row.position: row for row in chosen}
        causes = [by_place.get(row.position, kept[0] if rounding(kept, "filter") else row) for row in rest]
        followed = [row if cause is row else _caused(row, cause) for row, cause in zip(rest, causes, strict=True)]
        return [*first, *kept, *chosen, *followed]

    def _times(
        self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun, decided: Sequence[DecisionRow]
    ) -> list[DecisionRow]:
        """Return the first time that differs; explained where FunASR's own two runs differ, or tokens do."""
        theirs, ours = recorded.plain["times"][0], run.taps["times"][0]
        if np.array_equal(theirs, ours):
            return []
        both = min(len(theirs), len(ours))
        at = next((place for place in range(both) if theirs[place] != ours[place]), both)
        sides = tuple(f"{side[at]} ms" if at < len(side) else "nothing" for side in (theirs, ours))
        settled = utterance.more["times_settled"] and not rounding(decided, *self.decided)
        return [decision("time", utterance.utt_id, at // 2, (sides[0], sides[1]), np.inf if settled else 0.0, 0.0)]

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
        return {**super().made(utterance, recorded), **branch, "time": recorded.plain["times"].size}

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, as FunASR prints it."""
        return self.candidate.text(ids)  # pyright: ignore[reportAttributeAccessIssue]

    def skipped(self, recorded: Recorded, run: CandidateRun, decided: Sequence[DecisionRow]) -> tuple[str, ...]:
        """Return what follows from a decision on which the sides differ, and which rounding explains."""
        more: tuple[str, ...] = ()
        if rounding(decided, "firing", "count") and super().skipped(recorded, run, decided) != ("cif.",):
            more = (*BRANCH, "filter.")
        elif rounding(decided, "filter"):
            more = BRANCH
        elif rounding(decided, "bias"):
            more = ("merge",)
        return (*super().skipped(recorded, run, decided), *more)

    def order(self, names: list[str]) -> list[str]:
        """Return tap names in the order in which they come about: the vectors and the branch's states first."""
        place = {name: number for number, name in enumerate(ORDER)}
        branch = [name for name in names if name.startswith(WITHIN)]
        rest = [name for name in names if name not in branch]
        last = [name for name in rest if name in ("token_ids", "times")]
        rest = [name for name in rest if name not in last]
        stack = [name for name in branch if name.startswith("seaco_decoder.")]
        before = sorted((name for name in branch if place.get(name, 99) < ORDER.index(SCORES)), key=place.__getitem__)
        after = sorted((name for name in branch if name not in (*stack, *before)), key=place.__getitem__)
        return [*super().order(rest), *before, *stack, *after, *last]

    def compare(
        self,
        comparison: Comparison,
        utterance: TracedUtterance,
        recorded: Recorded,
        run: CandidateRun,
        decided: Sequence[DecisionRow],
    ) -> UtteranceRow:
        """Compare token ids and text from the waveform on; return the utterance's row."""
        return tokens.TokenDecisions.compare(self, comparison, utterance, recorded, run, decided)

    def picture(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> None:
        """Draw nothing."""


ORDER = (
    "hotwords.ids", "bias_encoder.vectors", "branch.states", SCORES, FILTER, "attended.cif", "attended.states",
    "attended.sum", OUTPUT, "merge.abstains", "merge",
)  # fmt: skip
WITHIN = ("seaco_decoder.", *ORDER)


def _caused(row: DecisionRow, cause: DecisionRow) -> DecisionRow:
    """Return a decision that follows from another, with that one's margin."""
    return dataclasses.replace(row, margin=cause.margin, noise=cause.noise, explained=cause.explained)
