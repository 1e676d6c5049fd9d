"""What a ParaformerStreaming decides: where tokens fire, how many a window has, which they are, and the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from parity.decisions import tokens
from parity.decisions.cif_chunk import Sums, firing_differences
from parity.decisions.count import unexplained_count
from parity.decisions.decision import rounding
from parity.sides.candidate import CandidateRun
from parity.taps.distances import Comparison
from parity.taps.trace import Recorded, TracedUtterance
from reports.schema import DecisionRow, UtteranceRow

FIRES, SUMS = "predictor.fires", "predictor.integrals"
AFTER = ("decoder.", "predictor.acoustic_embeds", "predictor.carry", "windows.")  # what follows from a firing


class Decisions(tokens.TokenDecisions):
    """Firings, then tokens and text."""

    LOGITS = "decoder.output_layer"

    def decide(self, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun) -> list[DecisionRow]:
        """Return every firing and every arg-max on which the sides differ; the latter follow from the former."""
        utt_id, fires = utterance.utt_id, (recorded.plain[FIRES][0], run.taps[FIRES][0])
        if len(fires[0]) != len(fires[1]):
            return [unexplained_count(utt_id, len(fires[0]), len(fires[1]), "frames decided on")]
        truth, (exact, single) = recorded.propagated["predictor.alphas"][0][0], recorded.propagated[SUMS]
        sums = Sums(truth, exact[0], single[0], recorded.plain[FIRES][0], self.allowance)
        firing = firing_differences(utt_id, sums, *fires)
        if firing:
            return firing
        return super().decide(utterance, recorded, run)

    def made(self, utterance: TracedUtterance, recorded: Recorded) -> dict[str, int]:
        """Return how many frames, windows and tokens FunASR decided."""
        windows = len(recorded.plain["windows.tokens"])
        return {"firing": recorded.plain[FIRES].size, "count": windows, "token": len(utterance.token_ids)}

    def counts(self, recorded: Recorded, run: CandidateRun) -> tuple[int, int]:
        """Return how many tokens fired on either side."""
        reference, candidate = (int(side["windows.tokens"].sum()) for side in (recorded.plain, run.taps))
        return reference, candidate

    def skipped(self, recorded: Recorded, run: CandidateRun, decided: Sequence[DecisionRow]) -> tuple[str, ...]:
        """Return what follows from a firing, where one may come a frame earlier."""
        return (SUMS, *AFTER) if rounding(decided, "firing") else ()

    def order(self, names: list[str]) -> list[str]:
        """Return tap names with what a layer keeps behind the layer: what it introduces itself stands before."""
        kept = [name for name in names if name.endswith((".keys", ".values", ".past"))]
        order = [name for name in names if name not in kept]
        for name in kept:
            layer = name.rsplit(".", 2)[0]
            order.insert(order.index(layer) + 1 if layer in order else len(order), name)
        return order

    def compare(
        self,
        comparison: Comparison,
        utterance: TracedUtterance,
        recorded: Recorded,
        run: CandidateRun,
        decided: Sequence[DecisionRow],
    ) -> UtteranceRow:
        """Compare windows, texts of calls and token ids from the waveform on; the row's explanation has the setting."""
        heard, utt_id = run.outcome, utterance.utt_id
        own = run._replace(outcome=heard.ids)
        wanted, more = recorded.plain["windows.feats"], utterance.more
        comparison.total("end_to_end.windows").add_discrete(utt_id, wanted, heard.windows)
        row = super().compare(comparison, utterance, recorded, own, decided)
        excused = rounding(decided, *self.decided) or self.candidate.precision != "float32"
        calls = comparison.total("end_to_end.calls")
        calls.add_discrete(utt_id, more["calls"], heard.calls, explained=excused)
        return replace(row, explanation="; ".join(filter(None, [more["setting"], row.explanation])))
