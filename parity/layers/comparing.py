"""One trace against one candidate: utterance by utterance, then the whole report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mlx_model.errors import OutputError, UsageError
from parity.candidate import Candidate, product_error
from parity.layers import invariance
from parity.layers.cif import count_difference, firing_differences, line, token_differences, unexplained_count
from parity.layers.compare import PASS, Comparison
from parity.layers.pictures import cif_picture, heat_map
from parity.layers.trace import Recorded, Trace, TracedUtterance
from parity.layers.verdict import candidate_structure, conclude, structure
from reports.environment import describe
from reports.schema import CifPathRow, CifPicture, DecisionRow, HeatMap, ParityReport, TapRow, UtteranceRow

LOGITS = "decoder.output_layer"
PER_TOKEN = ("decoder.", "predictor.acoustic_embeds")  # taps with a row per token
PICTURES = 3  # utterances drawn
KINDS = ("firing", "count", "token")


def same_checkpoint(trace: Trace, candidate: Candidate) -> None:
    """Raise OutputError where the trace was recorded from another model.pt than the candidate was converted from."""
    found, wanted = candidate.checkpoint_sha256, trace.meta["checkpoint_sha256"]
    if found is not None and found != wanted:
        raise OutputError(
            f"{trace.directory} was recorded from a checkpoint with sha256 {wanted[:12]}..., but {candidate.path} was "
            f"converted from {found[:12]}...; record {trace.meta['source']} again or convert it"
        )


class Comparing:
    """One trace against one candidate, utterance by utterance; `report` sums up."""

    def __init__(self, trace: Trace, candidate: Candidate, *, pictures: int = PICTURES):
        same_checkpoint(trace, candidate)
        precisions = candidate.tapset.precisions
        if candidate.precision not in precisions:
            raise UsageError(f"no tolerances for {candidate.precision} candidates; there are {', '.join(precisions)}")
        self.trace, self.candidate = trace, candidate
        self.precision = precisions[candidate.precision]
        self.comparison = Comparison(candidate.full_tapset, self.precision)
        self.rows: list[UtteranceRow] = []
        self.decisions: list[DecisionRow] = []
        self.pictures: list[CifPicture] = []
        self.pictures_wanted = pictures
        self.paths: list[CifPathRow] = []
        self.compared = 0

    @property
    def allowance(self) -> float:
        """How many times the reference's own error a decision may hang on: the reference's once, the candidate's."""
        return 1.0 + 4.0 * self.precision.multiple

    def add(self, utterance: TracedUtterance, arrays: Recorded, ahead: Callable[[], None] = lambda: None) -> None:
        """Compare one utterance: front end on the waveform, network on the reference's features, text end to end.

        `ahead` is called when the products on all cores are through: one of those waits for its slowest thread.
        """
        recorded = self.chosen(arrays)
        plain, utt_id = recorded.plain, utterance.utt_id
        front = self.candidate.frontend(plain["waveform"])
        self.comparison.add_frontend(utt_id, plain, front)
        steps = self.trace.meta["steps"]
        taps, heard, alone = self.candidate.at_once(plain["feats"], front["feats"], recorded.inputs, steps=steps)
        ahead()
        decided = self.decide(utt_id, recorded, taps)
        self.comparison.place(_order([*taps]), [name for name in recorded.alone if name in alone])
        counts = [int(side["predictor.token_num"].max()) for side in (plain, taps)]
        skip = PER_TOKEN if counts[0] != counts[1] and _rounding(decided, "firing", "count") else ()
        self.comparison.add_own(utt_id, _kept(recorded, taps), taps, excused(decided), skip)
        settled = {name: pair for name, pair in recorded.alone.items() if pair.settled}
        self.comparison.add_alone(utt_id, settled, alone)
        self.comparison.add_cif(utt_id, taps)
        text = self.end_to_end(utterance, heard, rounding=_rounding(decided, *KINDS))
        self.note(utterance, text, counts, decided)
        if len(self.pictures) < self.pictures_wanted:
            self.pictures.append(self.picture(utterance, recorded, taps))

    def chosen(self, recorded: Recorded) -> Recorded:
        """Return what was recorded, without the taps that were not asked for.

        Raises:
            UsageError: a tap was asked for that the trace does not hold.
        """
        wanted = self.candidate.asked_for
        missing = [name for name in self.candidate.restricted_to if name not in recorded.inputs.keys() | recorded.own]
        if missing and self.trace.meta["taps"]:
            raise UsageError(
                f"{self.trace.directory} was recorded with --taps {', '.join(self.trace.meta['taps'])} and does not "
                f"hold {missing[0]}; record it again"
            )
        return Recorded(
            plain=recorded.plain,
            own={name: pair for name, pair in recorded.own.items() if wanted(name)},
            alone={name: pair for name, pair in recorded.alone.items() if wanted(name, alone=True)},
            inputs=recorded.inputs,
        )

    def decide(self, utt_id: str, recorded: Recorded, taps: dict[str, np.ndarray]) -> list[DecisionRow]:
        """Return every firing and every arg-max on which the sides differ."""
        truth, single = recorded.own["predictor.alphas"]
        fires = (recorded.plain["predictor.fires"][0], taps["predictor.fires"][0])
        firing = firing_differences(utt_id, truth[0], single[0], *fires, self.allowance)
        counts = (int(recorded.plain["predictor.token_num"].max()), int(taps["predictor.token_num"].max()))
        firing += count_difference(utt_id, truth[0], single[0], counts, self.allowance)
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

    def end_to_end(self, utterance: TracedUtterance, ids: list[int], *, rounding: bool) -> str:
        """Compare token ids and text from the waveform on; return the candidate's text."""
        total, decode = self.comparison.total, self.candidate.model.tokenizer.decode
        text, decoded = decode(ids), decode(utterance.token_ids)
        total("tokenizer").add_discrete(utterance.utt_id, [utterance.text], [decoded])  # the reference's own ids
        excused = rounding or self.precision.multiple > 1.0  # below float32 the decisions table says what flips and why
        total("end_to_end.token_ids").add_discrete(utterance.utt_id, utterance.token_ids, ids, explained=excused)
        total("end_to_end.text").add_discrete(utterance.utt_id, [utterance.text], [text], explained=excused)
        return text

    def note(self, utterance: TracedUtterance, text: str, counts: list[int], decided: list[DecisionRow]) -> None:
        """Write down one utterance."""
        self.decisions += decided
        self.compared += len(utterance.token_ids)
        self.paths += [CifPathRow(utt_id=utterance.utt_id, **row) for row in utterance.cif_paths]
        kinds = [row.kind for row in decided]
        self.rows.append(
            UtteranceRow(
                utt_id=utterance.utt_id,
                path=utterance.path,
                duration_s=utterance.duration_s,
                reference_text=utterance.text,
                candidate_text=text,
                reference_token_num=counts[0],
                candidate_token_num=counts[1],
                firing_mismatches=kinds.count("firing"),
                flipped_tokens=kinds.count("token"),
                explanation="; ".join(map(line, decided)),
            )
        )

    def picture(self, utterance: TracedUtterance, recorded: Recorded, taps: dict[str, np.ndarray]) -> CifPicture:
        """Return CIF of one utterance, to be drawn."""
        config, pieces = self.candidate.model.config.frontend, self.candidate.model.tokenizer.tokens
        sides = [recorded.own[LOGITS][1] if LOGITS in recorded.own else None, taps.get(LOGITS)]
        tokens = [[] if side is None else [pieces[int(i)] for i in side[0].argmax(-1)] for side in sides]
        lfr = (config.lfr_n, config.lfr_n * config.frame_shift / 1000.0)
        alphas = recorded.own["predictor.alphas"][1][0]
        return cif_picture(utterance.utt_id, recorded.plain, alphas, taps, lfr, (tokens[0], tokens[1]))

    def heat(self, taps: Sequence[TapRow]) -> HeatMap | None:
        """Return the worst tap's error map, from the utterance it is worst in (computed again)."""
        measured = [row for row in taps if row.ratio is not None and row.worst and len(row.worst["index"]) == 3]
        if not measured:
            return None
        guilty = [row for row in measured if row.status != PASS][:1]
        worst = (guilty or sorted(measured, key=lambda row: -(row.ratio or 0.0) / (row.tolerance_ratio or 1.0)))[0]
        utt_id = (worst.worst or {})["utt_id"]
        utterance = next(row for row in self.trace.utterances if row.utt_id == utt_id)
        recorded = self.trace.arrays(utterance)
        if worst.scope == "inner":
            inputs = {module: given for module, given in recorded.inputs.items() if worst.name.startswith(module)}
            return heat_map(
                worst.name, utt_id, recorded.alone[worst.name], self.candidate.alone(inputs, steps=True)[worst.name]
            )
        return heat_map(
            worst.name, utt_id, recorded.own[worst.name], self.candidate.network(recorded.plain["feats"])[worst.name]
        )

    def report(self, invariants: bool) -> ParityReport:
        """Return the report over all utterances added."""
        taps = self.comparison.rows()
        facts = structure(self.trace.meta["structure"], candidate_structure(self.candidate.model))
        checks = invariance.check(self.candidate, self.trace) if invariants else []
        verdict = conclude(taps, facts, self.decisions, checks, self.candidate.precision)
        return ParityReport(
            verdict="pass" if verdict.passed else "fail",
            first_failure=verdict.first_failure,
            reference=str(self.trace.meta["source"]),
            candidate=str(self.candidate.path),
            taps=taps,
            cif={"utterances": len(self.rows), **_counted(self.decisions, "firing", "firing_mismatches")},
            tokens={"compared": self.compared, **_counted(self.decisions, "token", "flipped")},
            utterances=self.rows,
            structure=facts,
            notes=notes(self.candidate, self.precision.reason),
            environment=describe(
                reference=self.trace.meta.get("environment", {}), float32_product_error=product_error()
            ),
            precision=self.candidate.precision,
            address=verdict.address,
            sentence=verdict.sentence,
            decisions=self.decisions,
            cif_paths=self.paths,
            invariance=checks,
            pictures=self.pictures,
            heatmap=self.heat(taps) if self.pictures_wanted else None,
        )


def _order(names: list[str]) -> list[str]:
    """Return tap names with CIF's inside where it happens: after the alphas."""
    inside = [name for name in names if name.startswith("cif.")]
    rest = [name for name in names if not name.startswith("cif.")]
    place = rest.index("predictor.alphas") + 1
    return [*rest[:place], *inside, *rest[place:]]


def _kept(recorded: Recorded, taps: dict[str, np.ndarray]) -> Recorded:
    """Return the recorded taps without those whose float64 and float32 runs disagree in shape (in token count)."""
    own = {name: pair for name, pair in recorded.own.items() if pair.settled}
    dropped = recorded.own.keys() - own.keys()
    for name in dropped:
        taps.pop(name, None)
    return Recorded(plain=recorded.plain, own=own, alone=recorded.alone, inputs=recorded.inputs)


def _rounding(decided: Sequence[DecisionRow], *kinds: str) -> bool:
    """Return whether decisions of these kinds differ, and rounding explains every one."""
    rows = [row for row in decided if row.kind in kinds]
    return bool(rows) and all(row.explained for row in rows)


def excused(decided: Sequence[DecisionRow]) -> frozenset[str]:
    """Return the discrete taps whose differences rounding explains."""
    taps = {"predictor.fires": ("firing",), "predictor.token_num": ("firing", "count"), "token_ids": KINDS}
    return frozenset(tap for tap, kinds in taps.items() if _rounding(decided, *kinds))


def _counted(decisions: Sequence[DecisionRow], kind: str, name: str) -> dict[str, int]:
    rows = [row for row in decisions if row.kind == kind]
    return {name: len(rows), "explained": sum(row.explained for row in rows)}


def notes(candidate: Candidate, reason: str) -> list[str]:
    """Return what a reader must know to read the numbers."""
    return [
        f"Candidate precision: {candidate.precision} ({reason}).",
        "The network taps are fed the reference's own features, so that the front end's rounding hides no fault; "
        "the end_to_end rows start from the waveform.",
        "Distances are from FunASR in float64. Its vectorised CIF would round running sums to float32 even there, so "
        "the truth uses FunASR's own frame-by-frame loop in float64.",
        "Introduced error: each module run alone on the float64 reference's inputs, as float32; rows inside a module "
        "come from that run.",
        "Dither is 0 on both sides; FunASR runs one utterance at a time.",
    ]
