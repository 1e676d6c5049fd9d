"""What a parity run and the harness's self-test write down: taps, decisions, invariance, pictures. Stdlib only.

Part of schema.py (which re-exports every name here); it stands apart for length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from reports.checking import no_rectangle

LONGEST_FRAME_S = 10.0  # of a picture: more is no frame, and a tick for every second of it would never end


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduced:
    """What a module adds by itself: both sides fed the same inputs, the float64 reference's. Numbers as in TapRow."""

    max_abs: float
    rel_l2: float
    floor_rel_l2: float
    ratio: float
    status: str
    worst: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TapRow:
    """One tap over all utterances. Distances are from the float64 reference; `floor_rel_l2` is the float32 reference's.

    `ratio` = rel_l2 / floor_rel_l2, judged against `tolerance_ratio` (a multiple of the floor). `status`: "pass" or
    "fail". `scope` says what kind of row it is:

    - "propagated": each side on its own inputs, so earlier errors show; `introduced` is the module's own share.
    - "introduced": a step inside a module, measured in the introduced run only (the module fed the reference's inputs).
    - "frontend": no float64 truth; judged by `max_abs`, the difference from the float32 reference.
    - "oracle": CIF arithmetic against a float64 loop over the candidate's own alphas; judged by `max_abs`.
    - "discrete": firing frames, token ids, text; `max_abs` counts the entries that differ, other numbers are None.

    `worst` holds {utt_id, index, truth, reference, candidate} of the largest difference, `worst_frame` {utt_id, frame,
    rel_l2, floor_rel_l2, ratio} of the frame that stands furthest from the floor.
    """

    name: str
    max_abs: float
    rel_l2: float | None
    floor_rel_l2: float | None
    ratio: float | None
    tolerance_ratio: float | None
    status: str
    reason: str = ""
    worst: dict[str, Any] | None = None
    scope: str = "propagated"
    worst_frame: dict[str, Any] | None = None
    introduced: Introduced | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceRow:
    """One utterance of a parity run: both texts, token counts, firing frames that differ and why."""

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
class DecisionRow:
    """One discrete decision on which the two sides differ: a firing ("firing") or an arg-max ("token").

    `margin` is the truth's distance from the decision's edge, `noise` what rounding may move it by; a difference with
    margin <= noise is explained, any other is a bug. `position` is the frame of a firing, the index of a token.
    """

    kind: str
    utt_id: str
    position: int
    reference: str
    candidate: str
    margin: float
    noise: float
    explained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CifPathRow:
    """FunASR's own CIF code paths on one utterance's alphas ("vectorised", "loop", "export"), against a float64 loop.

    `tokens` is None where the path raised; `note` says what.
    """

    utt_id: str
    path: str
    tokens: int | None
    firings_differ: int
    max_abs: float | None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvarianceRow:
    """A result that must not depend on something: batch, padding, dtype, device, compilation, file format, order.

    `side` is "candidate" or "reference"; `status` "pass", "fail", "note" (the reference's own known defect, or a change
    of precision, shown and not judged) or "skipped". `tokens_differ` of `tokens`; `max_abs` of logits where compared.
    """

    name: str
    side: str
    status: str
    tokens: int
    tokens_differ: int
    max_abs: float | None
    limit: float | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CifPicture:
    """CIF over one utterance's spectrogram. Lists over LFR frames; `fbank` is mel bins (low first) x frames, 0..255.

    `*_fires` are frame indices; `tokens` the reference's pieces, one per firing, `candidate_tokens` the candidate's.
    Tail frames (one past the last) are included in alphas and running sums.
    """

    utt_id: str
    frame_s: float
    fbank: list[list[int]]
    reference_alphas: list[float]
    candidate_alphas: list[float]
    running_sum: list[float]
    reference_fires: list[int]
    candidate_fires: list[int]
    tokens: list[str]
    candidate_tokens: list[str]

    def unfit(self) -> str:
        """Return what of a picture that was read cannot be drawn, "" where all can."""
        if not 0 < self.frame_s <= LONGEST_FRAME_S:
            return f"frame_s is {self.frame_s}; expected seconds above 0, {LONGEST_FRAME_S:g} at most"
        if any(value > 255 for row in self.fbank for value in row):
            return "fbank holds a number above 255"
        return no_rectangle("fbank", self.fbank)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Where one tap's error sits: channels (groups, first row = channel 0) x frames, |candidate - truth|.

    `values` are log10 of the error as a multiple of the tap's floor (root mean square of truth x floor_rel_l2).
    """

    tap: str
    utt_id: str
    channels: int
    values: list[list[float]]

    def unfit(self) -> str:
        """Return what of a picture that was read cannot be drawn, "" where all can."""
        return no_rectangle("values", self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """Reference against candidate. `cif` and `tokens` are the counters of the contract; taps stand in network order.

    `first_failure` is the first tap out of tolerance, `address` the first that *introduces* error where that could be
    told apart (a module's name, or None). `sentence` says the outcome in words. `structure` rows are {fact, status,
    where}: what distances could miss (LayerNorm eps), asserted as such.

    A family without tokens leaves `cif` and `tokens` empty and fills `outcomes`, {what: {compared, differ, explained}};
    `words` are its own for the columns of the utterances: texts, tokens, firing mismatches, flipped tokens.
    `model_sha256` is reports.environment.directory_sha256 of the candidate, as in a CerReport: whose proof this is.
    """

    SCHEMA: ClassVar[str] = "parity/1"
    verdict: str
    first_failure: str | None
    reference: str
    candidate: str
    taps: list[TapRow]
    cif: dict[str, int]
    tokens: dict[str, int]
    utterances: list[UtteranceRow]
    structure: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    numerics: dict[str, Any] = field(default_factory=dict)
    precision: str = "float32"
    address: str | None = None
    sentence: str = ""
    decisions: list[DecisionRow] = field(default_factory=list)
    cif_paths: list[CifPathRow] = field(default_factory=list)
    invariance: list[InvarianceRow] = field(default_factory=list)
    pictures: list[CifPicture] = field(default_factory=list)
    heatmap: HeatMap | None = None
    outcomes: dict[str, dict[str, int]] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    model_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRow:
    """One seeded fault: the module it was put into, whether it was caught, by which tap, and with which address.

    `right_address` is True where `address` lies in `module`. `needs` says what audio would show a fault not caught;
    `visible` is False where it changes no number at all on the audio given, so that no harness could catch it.
    """

    name: str
    module: str
    description: str
    caught: bool
    address: str | None
    right_address: bool
    first_failure: str | None
    ratio: float | None
    seconds: float
    needs: str = ""
    visible: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SelftestReport:
    """The harness on itself. `false_alarms` counts healthy candidates that did not pass; `healthy` names them all.

    `healthy` rows are {name, verdict, first_failure}.
    """

    SCHEMA: ClassVar[str] = "selftest/1"
    verdict: str
    reference: str
    faults: list[FaultRow]
    caught: int
    right_address: int
    total: int
    false_alarms: int
    healthy: list[dict[str, Any]]
    utterances: list[str]
    seconds: float
    notes: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    numerics: dict[str, Any] = field(default_factory=dict)
