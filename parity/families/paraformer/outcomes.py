"""What a Paraformer decides: where tokens fire, how many there are, which they are, and the text. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from parity.decisions.decision import line, rounding
from parity.decisions.outcomes import Facts, Outcomes
from parity.families.paraformer.cif import (
    count_difference,
    firing_differences,
    integrate,
    token_differences,
    unexplained_count,
)
from parity.families.paraformer.pictures import cif_picture
from parity.layers import invariance
from parity.sides.candidate import Candidate
from parity.sides.runner import Heard
from parity.taps.distances import Comparison
from parity.taps.tapset import Precision
from parity.taps.trace import Recorded, Trace, TracedUtterance
from reports.schema import DecisionRow, FiringPicture, InvarianceRow, PathRow, Pictures, UtteranceRow

LOGITS = "decoder.output_layer"
PER_TOKEN = ("decoder.", "predictor.acoustic_embeds")  # taps with a row per token
KINDS = ("firing", "count", "token")


class ParaformerOutcomes(Outcomes):
    """Firings, counts, tokens and text."""

    DECIDED: ClassVar = {"firing": "predictor.fires", "count": "predictor.token_num", "token": "token_ids"}

    def __init__(self, trace: Trace, candidate: Candidate, precision: Precision):
        super().__init__(trace, candidate, precision)
        self.pictures: list[FiringPicture] = []
        self.paths: list[PathRow] = []

    def decide(self, utt_id: str, recorded: Recorded, heard: Heard) -> list[DecisionRow]:
        """Return every firing, every count and every arg-max on which the sides differ."""
        taps = heard.taps
        truth, single = recorded.own["predictor.alphas"]
        fires = (recorded.plain["predictor.fires"][0], taps["predictor.fires"][0])
        firing = firing_differences(utt_id, truth[0], single[0], *fires, self.allowance)
        firing += count_difference(utt_id, truth[0], single[0], _counts(recorded, heard), self.allowance)
        if LOGITS not in recorded.own or LOGITS not in taps:
            reference = len(recorded.own[LOGITS][1][0]) if LOGITS in recorded.own else 0
            candidate = len(taps[LOGITS][0]) if LOGITS in taps else 0
            if reference == candidate:
                return firing
            return firing or [unexplained_count(utt_id, reference, candidate)]
        truth, single = recorded.own[LOGITS]
        if truth.shape != single.shape or single.shape != taps[LOGITS].shape:
            return firing or [unexplained_count(utt_id, len(single[0]), len(taps[LOGITS][0]))]
        name = self.candidate.model.tokenizer.tokens.__getitem__
        return [*firing, *token_differences(utt_id, truth[0], single[0], taps[LOGITS][0], self.allowance, name)]

    def excused(self, decided: Sequence[DecisionRow]) -> frozenset[str]:
        """Return the discrete taps whose differences rounding explains."""
        taps = {"predictor.fires": ("firing",), "predictor.token_num": ("firing", "count"), "token_ids": KINDS}
        return frozenset(tap for tap, kinds in taps.items() if rounding(decided, *kinds))

    def skipped(self, recorded: Recorded, heard: Heard, decided: Sequence[DecisionRow]) -> tuple[str, ...]:
        """Return CIF's inside, which has an oracle of its own, and what has a row per token where counts may differ."""
        reference, candidate = _counts(recorded, heard)
        other = reference != candidate and rounding(decided, "firing", "count")
        return ("cif.", *PER_TOKEN) if other else ("cif.",)

    def order(self, names: list[str]) -> list[str]:
        """Return tap names with CIF's inside where it happens: after the alphas."""
        inside = [name for name in names if name.startswith("cif.")]
        rest = [name for name in names if not name.startswith("cif.")]
        place = rest.index("predictor.alphas") + 1
        return [*rest[:place], *inside, *rest[place:]]

    def compare(
        self,
        comparison: Comparison,
        utterance: TracedUtterance,
        recorded: Recorded,
        heard: Heard,
        decided: Sequence[DecisionRow],
    ) -> UtteranceRow:
        """Compare CIF with a loop, token ids and text from the waveform on; return the utterance's row."""
        add_cif(comparison, utterance.utt_id, heard.taps)
        text = self._end_to_end(comparison, utterance, heard.outcome, excused=rounding(decided, *KINDS))
        self.paths += [_path(utterance.utt_id, **row) for row in utterance.cif_paths]
        compared = {"firing": recorded.plain["predictor.fires"].size, "count": 1, "token": len(utterance.token_ids)}
        return UtteranceRow(
            utt_id=utterance.utt_id,
            path=utterance.path,
            duration_s=utterance.duration_s,
            reference_text=utterance.text,
            candidate_text=text,
            found={"token": list(_counts(recorded, heard))},
            outcomes=self.counted(decided, compared),
            explanation="; ".join(map(line, decided)),
        )

    def _end_to_end(self, comparison: Comparison, utterance: TracedUtterance, ids: list[int], *, excused: bool) -> str:
        total, decode = comparison.total, self.candidate.model.tokenizer.decode
        text, decoded = decode(ids), decode(utterance.token_ids)
        total("tokenizer").add_discrete(utterance.utt_id, [utterance.text], [decoded])  # the reference's own ids
        excused = excused or self.precision.multiple > 1.0  # below float32 the decisions table says what flips and why
        total("end_to_end.token_ids").add_discrete(utterance.utt_id, utterance.token_ids, ids, explained=excused)
        total("end_to_end.text").add_discrete(utterance.utt_id, [utterance.text], [text], explained=excused)
        return text

    def picture(self, utterance: TracedUtterance, recorded: Recorded, heard: Heard) -> None:
        """Keep CIF of one utterance, to be drawn."""
        config, pieces = self.candidate.model.config.frontend, self.candidate.model.tokenizer.tokens
        sides = [recorded.own[LOGITS][1] if LOGITS in recorded.own else None, heard.taps.get(LOGITS)]
        tokens = [[] if side is None else [pieces[int(i)] for i in side[0].argmax(-1)] for side in sides]
        lfr = (config.lfr_n, config.lfr_n * config.frame_shift / 1000.0)
        alphas = recorded.own["predictor.alphas"][1][0]
        self.pictures.append(
            cif_picture(utterance.utt_id, recorded.plain, alphas, heard.taps, lfr, (tokens[0], tokens[1]))
        )

    def structure(self) -> Facts:
        """Return LayerNorm eps, heads, FSMN padding and the predictor's settings, under FunASR's names for them."""
        facts: Facts = {"LayerNorm eps": {}, "attention heads": {}, "FSMN padding": {}}
        for name, module in self.candidate.model.named_modules():
            if hasattr(module, "eps"):
                facts["LayerNorm eps"][name] = module.eps
            if hasattr(module, "heads"):
                facts["attention heads"][name] = module.heads
            if hasattr(module, "fsmn_block"):
                facts["FSMN padding"][name] = [module.fsmn_block.left, module.fsmn_block.right]
        predictor = self.candidate.model.predictor
        thresholds = ("tail_threshold", "smooth_factor", "noise_threshold")
        facts["predictor"] = {name: getattr(predictor, name) for name in thresholds}
        facts["predictor"]["threshold"] = 1.0  # tokens fire at whole sums by construction; config.py refuses any other
        return facts

    def invariance(self) -> list[InvarianceRow]:
        """Return one row per thing the result must not depend on, and FunASR's own batch rows from the trace."""
        return [*invariance.check_batches(self.candidate, self.trace), *reference_rows(self.trace)]

    def notes(self) -> list[str]:
        """Return how FunASR's CIF was run."""
        return [
            "Distances are from FunASR in float64. Its vectorised CIF would round running sums to float32 even there, "
            "so the truth uses FunASR's own frame-by-frame loop in float64."
        ]

    def fields(self) -> dict[str, Any]:
        """Return FunASR's CIF paths and the pictures."""
        return {"paths": self.paths, "pictures": Pictures(firing=self.pictures)}

    @staticmethod
    def nothing_heard(trace: Trace) -> str | None:
        """Return that no recording yields a token, where that is so."""
        if any(utterance.token_ids for utterance in trace.utterances):
            return None
        heard = f"{len(trace.utterances)} heard"
        return f"no recording yields a token in FunASR ({heard}): nothing to compare, give speech"


def _path(
    utt_id: str, path: str, tokens: int | None, firings_differ: int, max_abs: float | None, note: str = ""
) -> PathRow:
    return PathRow(
        computation="CIF", utt_id=utt_id, path=path, kind="firing", found=tokens, differ=firings_differ,
        max_abs=max_abs, note=note,
    )  # fmt: skip


def _counts(recorded: Recorded, heard: Heard) -> tuple[int, int]:
    reference, candidate = (int(side["predictor.token_num"].max()) for side in (recorded.plain, heard.taps))
    return reference, candidate


def add_cif(comparison: Comparison, utt_id: str, taps: dict[str, np.ndarray]) -> None:
    """Hold the candidate's running sum and weights against a float64 loop over its own alphas."""
    exact = integrate(taps["predictor.alphas"][0])
    comparison.total("cif.running_sum").add_absolute(utt_id, exact.running_sum, taps["cif.running_sum"][0])
    weights = taps["cif.weights"][0]
    both = min(len(weights), len(exact.weights))
    if both:
        comparison.total("cif.weights").add_absolute(utt_id, exact.weights[:both], weights[:both])


def reference_rows(trace: Trace) -> list[InvarianceRow]:
    """Return FunASR's own batch defect, as recorded: an utterance alone against beside a longer one."""
    rows = []
    names = {utterance.path: utterance.utt_id for utterance in trace.utterances}
    for found in trace.meta["reference_batch"]:
        rows.append(
            InvarianceRow(
                name="batch composition",
                side="reference",
                status="note",
                kind="token",
                compared=found["tokens"],
                differ=found["tokens_differ"],
                max_abs=found["max_abs"],
                limit=None,
                detail=f"FunASR, {names[found['path']]} beside a longer one: alphas move by "
                f"{found['alphas_max_abs']:.1e} (padding leaks through its predictor's convolution)",
            )
        )
    return rows
