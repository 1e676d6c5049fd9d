"""What a Paraformer decides: where tokens fire, how many there are, which they are, and the text. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from parity.decisions import tokens
from parity.decisions.cif import add_cif, firing_differences, token_count_difference
from parity.decisions.decision import rounding
from parity.sides.candidate import CandidateRun
from parity.taps.distances import Comparison
from parity.taps.pictures import cif_picture
from parity.taps.trace import Recorded, TracedUtterance
from reports.schema import DecisionRow, FiringPicture, PathRow, Pictures, UtteranceRow

PEAKS = "predictor.peaks"
PER_TOKEN = ("decoder.", "predictor.acoustic_embeds")  # taps with a row per token


class Decisions(tokens.TokenDecisions):
    """Firings and counts, then tokens and text."""

    LOGITS = "decoder.output_layer"

    def __init__(self, *given: Any):
        super().__init__(*given)
        self.pictures: list[FiringPicture] = []
        self.paths: list[PathRow] = []

    def decide(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> list[DecisionRow]:
        """Return every firing, every count and every arg-max on which the sides differ.

        Tokens of different number are held against each other where the predictors agree alone.
        """
        utt_id, (truth, single) = utterance.utt_id, recorded.propagated["predictor.alphas"]
        fires = (recorded.plain["predictor.fires"][0], run.taps["predictor.fires"][0])
        firing = firing_differences(utt_id, truth[0], single[0], *fires, self.allowance)
        firing += token_count_difference(utt_id, truth[0], single[0], self.counts(recorded, run), self.allowance)
        found = super().decide(utterance, recorded, run)
        return firing or found if any(row.kind == "count" for row in found) else [*firing, *found]

    def made(self, utterance: TracedUtterance, recorded: Recorded) -> dict[str, int]:
        """Return how many frames, counts and tokens FunASR decided."""
        return {"firing": recorded.plain["predictor.fires"].size, "count": 1, "token": len(utterance.token_ids)}

    def counts(self, recorded: Recorded, run: CandidateRun) -> tuple[int, int]:
        """Return the predictors' token counts."""
        reference, candidate = (int(side["predictor.token_num"].max()) for side in (recorded.plain, run.taps))
        return reference, candidate

    def skipped(self, recorded: Recorded, run: CandidateRun, decided: Sequence[DecisionRow]) -> tuple[str, ...]:
        """Return CIF's inside, which has an oracle of its own; its peaks where a token may fire a frame earlier.

        And what has a row per token where counts may differ. Traces of the version before hold no peaks.
        """
        reference, candidate = self.counts(recorded, run)
        other = reference != candidate and rounding(decided, "firing", "count")
        moved = rounding(decided, "firing") or PEAKS not in recorded.propagated
        return ("cif.", *((PEAKS,) if moved else ()), *(PER_TOKEN if other else ()))

    def order(self, names: list[str]) -> list[str]:
        """Return tap names with CIF's inside where it happens: after the alphas."""
        inside = [name for name in names if name.startswith(("cif.", PEAKS))]
        rest = [name for name in names if name not in inside]
        place = rest.index("predictor.alphas") + 1
        return [*rest[:place], *inside, *rest[place:]]

    def compare(
        self,
        comparison: Comparison,
        utterance: TracedUtterance,
        recorded: Recorded,
        run: CandidateRun,
        decided: Sequence[DecisionRow],
    ) -> UtteranceRow:
        """Compare CIF with a loop, token ids and text from the waveform on; return the utterance's row."""
        add_cif(comparison, utterance.utt_id, run.taps)
        self.paths += [PathRow(utt_id=utterance.utt_id, **row) for row in utterance.more["paths"]]
        return super().compare(comparison, utterance, recorded, run, decided)

    def picture(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> None:
        """Keep CIF of one utterance, to be drawn."""
        config = self.candidate.model.config.frontend
        logits = [recorded.propagated[self.LOGITS][1] if self.LOGITS in recorded.propagated else np.zeros((1, 0, 1))]
        logits += [run.taps.get(self.LOGITS, np.zeros((1, 0, 1)))]
        reference, candidate = ([self.token(int(i)) for i in side[0].argmax(-1)] for side in logits)
        lfr = (config.lfr_n, config.lfr_n * config.frame_shift / 1000.0)
        alphas = recorded.propagated["predictor.alphas"][1][0]
        picture = cif_picture(utterance.utt_id, recorded.plain, alphas, run.taps, lfr, (reference, candidate))
        self.pictures.append(picture)

    def fields(self) -> dict[str, Any]:
        """Return FunASR's CIF paths and the pictures."""
        return {"paths": self.paths, "pictures": Pictures(firing=self.pictures)}
