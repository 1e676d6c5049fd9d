"""parity/1, as reports of record and those on people's disks hold it, and what it is in parity/2. Stdlib only.

Its words were Paraformer's; the only other family that wrote it, FSMN-VAD, put its transitions where firings stood and
its frames where flipped tokens stood. What parity/1 did not count stays None.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from reports.schema.parity import DecisionRow, InvarianceRow, Outcome, ParityReport, PathRow, TapRow, UtteranceRow
from reports.schema.pictures import FiringPicture, HeatMap, Pictures

PLURALS = {"frames": "frame", "transitions": "transition", "segments": "segment"}  # FSMN-VAD's outcomes
WORDS = {"firing": "firings", "count": "token counts", "token": "tokens", "text": "texts"}
VAD_WORDS = {"frame": "frames", "transition": "transitions", "segment": "segments", "text": "segments"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceRow1:
    """An utterance's row."""

    utt_id: str
    path: str
    duration_s: float
    reference_text: str
    candidate_text: str
    reference_token_num: int
    candidate_token_num: int
    firing_mismatches: int
    flipped_tokens: int
    explanation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CifPathRow1:
    """One of FunASR's code paths for CIF, on one utterance."""

    utt_id: str
    path: str
    tokens: int | None
    firings_differ: int
    max_abs: float | None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvarianceRow1:
    """What the result must not depend on."""

    name: str
    side: str
    status: str
    tokens: int
    tokens_differ: int
    max_abs: float | None
    limit: float | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport1:
    """Reference against candidate. FSMN-VAD filled `outcomes` and `words` and left `cif` and `tokens` empty."""

    SCHEMA: ClassVar[str] = "parity/1"
    verdict: str
    first_failure: str | None
    reference: str
    candidate: str
    taps: list[TapRow]
    cif: dict[str, int]
    tokens: dict[str, int]
    utterances: list[UtteranceRow1]
    structure: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    numerics: dict[str, Any] = field(default_factory=dict)
    precision: str = "float32"
    address: str | None = None
    sentence: str = ""
    decisions: list[DecisionRow] = field(default_factory=list)
    cif_paths: list[CifPathRow1] = field(default_factory=list)
    invariance: list[InvarianceRow1] = field(default_factory=list)
    pictures: list[FiringPicture] = field(default_factory=list)
    heatmap: HeatMap | None = None
    outcomes: dict[str, dict[str, int]] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    model_sha256: str | None = None


def upgrade(old: ParityReport1) -> ParityReport:
    """Return the same report in today's form."""
    vad = bool(old.outcomes)
    return ParityReport(
        verdict=old.verdict,
        first_failure=old.first_failure,
        reference=old.reference,
        candidate=old.candidate,
        taps=[replace(row, scope="introduced") if row.scope == "inner" else row for row in old.taps],
        outcomes=_segments(old) if vad else _tokens(old),
        utterances=[_utterance(row, old.decisions, vad) for row in old.utterances],
        words=VAD_WORDS if vad else WORDS,
        structure=old.structure,
        notes=old.notes,
        environment=old.environment,
        numerics=old.numerics,
        precision=old.precision,
        address=old.address,
        sentence=old.sentence,
        decisions=old.decisions,
        paths=[_path(row) for row in old.cif_paths],
        invariance=[_invariance(row, vad) for row in old.invariance],
        pictures=Pictures(firing=old.pictures),
        heatmap=old.heatmap,
        model_sha256=old.model_sha256,
    )


def _tokens(old: ParityReport1) -> dict[str, Outcome]:
    outcomes = {}
    if "firing_mismatches" in old.cif:
        outcomes["firing"] = _outcome(old.cif, "firing_mismatches")
    if "flipped" in old.tokens:
        outcomes["token"] = _outcome(old.tokens, "flipped")
    return outcomes


def _segments(old: ParityReport1) -> dict[str, Outcome]:
    return {PLURALS.get(name, name): _outcome(counts, "differ") for name, counts in old.outcomes.items()}


def _outcome(counts: dict[str, int], differ: str) -> Outcome:
    return Outcome(compared=counts.get("compared"), differ=counts.get(differ, 0), explained=counts.get("explained"))


def _utterance(row: UtteranceRow1, decisions: list[DecisionRow], vad: bool) -> UtteranceRow:
    counted = {"transition": row.firing_mismatches, "frame": row.flipped_tokens}
    if not vad:
        counted = {"firing": row.firing_mismatches, "token": row.flipped_tokens}
    own = [decision for decision in decisions if decision.utt_id == row.utt_id and decision.explained]
    return UtteranceRow(
        utt_id=row.utt_id,
        path=row.path,
        duration_s=row.duration_s,
        reference_text=row.reference_text,
        candidate_text=row.candidate_text,
        found={"segment" if vad else "token": [row.reference_token_num, row.candidate_token_num]},
        outcomes={
            kind: Outcome(compared=None, differ=differ, explained=sum(decision.kind == kind for decision in own))
            for kind, differ in counted.items()
        },
        explanation=row.explanation,
    )


def _path(row: CifPathRow1) -> PathRow:
    return PathRow(
        computation="CIF", utt_id=row.utt_id, path=row.path, kind="firing", found=row.tokens, differ=row.firings_differ,
        max_abs=row.max_abs, note=row.note,
    )  # fmt: skip


def _invariance(row: InvarianceRow1, vad: bool) -> InvarianceRow:
    segments = row.name == "arrival of samples" or row.name.startswith("chunks of ")  # FSMN-VAD's other rows: frames
    kind = ("segment" if segments else "frame") if vad else "token"
    return InvarianceRow(
        name=row.name, side=row.side, status=row.status, kind=kind, compared=row.tokens, differ=row.tokens_differ,
        max_abs=row.max_abs, limit=row.limit, detail=row.detail,
    )  # fmt: skip
