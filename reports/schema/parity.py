"""What a parity run and the harness's self-test write down: taps, outcomes, decisions, invariance. Stdlib only.

No family's words stand here: a *kind* (of decision, of outcome) is the family's own word, "token", "firing", "frame",
and the report says how people call many of it (`words`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from reports.checking import shortened
from reports.schema.pictures import HeatMap, Pictures

PLAIN = "plain"  # the engine that is none: MLX, module by module


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
    - "oracle": the candidate's own numbers against plain arithmetic in float64 on them; judged by `max_abs`.
    - "discrete": decisions and their results; `max_abs` counts the entries that differ, other numbers are None.

    `engine` is what computed the candidate's side: "plain" or one of the machine's ("CPU engine", "lanes", "GPU path").
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
    engine: str = PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How many decisions of one kind were compared, differ, and differ by what rounding explains; None: not counted."""

    compared: int | None
    differ: int
    explained: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceRow:
    """One utterance of a parity run: what both sides made of it, as text, and what differs by kind of decision.

    `found` is {kind: [reference, candidate]}, how many of a kind each side found (tokens, segments).
    """

    utt_id: str
    path: str
    duration_s: float
    reference_text: str
    candidate_text: str
    found: dict[str, list[int]] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    explanation: str = ""

    def unfit(self) -> str:
        """Return what of a row that was read cannot be shown, "" where all can."""
        wrong = next((kind for kind, sides in self.found.items() if len(sides) != 2), None)
        if wrong is None:
            return ""
        return f"found[{shortened(wrong)}] has {len(self.found[wrong])} numbers; expected [reference, candidate]"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """One discrete decision on which the two sides differ.

    `margin` is the truth's distance from the decision's edge, `noise` what rounding may move it by; a difference with
    margin <= noise is explained, any other is a bug. `position` is where: a frame, the index of a token.
    """

    kind: str
    utt_id: str
    position: int
    reference: str
    candidate: str
    margin: float
    noise: float
    explained: bool
    engine: str = PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRow:
    """One of the reference's own code paths for a computation, on one utterance's numbers, against float64.

    `computation` ("CIF") has several paths ("vectorised", "loop", "export"), which decide a `kind` of thing: `found` so
    many, None where the path raised, of which `differ` from float64's. `note` says what happened.
    """

    computation: str
    utt_id: str
    path: str
    kind: str
    found: int | None
    differ: int
    max_abs: float | None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvarianceRow:
    """A result that must not depend on something: batch, padding, dtype, device, compilation, file format, order.

    `side` is "candidate" or "reference"; `status` "pass", "fail", "note" (the reference's own known defect, or a change
    of precision, shown and not judged) or "skipped". Of `compared` decisions of a `kind`, `differ` came out otherwise;
    `max_abs` is the most that a number before the decision (a logit) moves, where compared.
    """

    name: str
    side: str
    status: str
    kind: str
    compared: int
    differ: int
    max_abs: float | None
    limit: float | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """Reference against candidate, taps in network order.

    `first_failure` is the first tap out of tolerance, in `engine`; `address` the first that *introduces* error where
    that could be told apart (a module's name, or None). `sentence` says the outcome in words. `outcomes` are {kind:
    Outcome} over all utterances, in the order in which they are decided; `words` {kind: its plural}, and under "text"
    what the utterances' texts are. `structure` rows are {fact, status, where}: what distances could miss (LayerNorm
    eps), asserted as such. `model_sha256` is reports.environment.directory_sha256 of the candidate, as in a CerReport:
    whose proof this is.
    """

    SCHEMA: ClassVar[str] = "parity/2"
    DERIVED: ClassVar[tuple[str, ...]] = ("cif", "tokens")
    verdict: str
    first_failure: str | None
    reference: str
    candidate: str
    taps: list[TapRow]
    outcomes: dict[str, Outcome]
    utterances: list[UtteranceRow]
    words: dict[str, str] = field(default_factory=dict)
    structure: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    numerics: dict[str, Any] = field(default_factory=dict)
    precision: str = "float32"
    engine: str = PLAIN
    address: str | None = None
    sentence: str = ""
    decisions: list[DecisionRow] = field(default_factory=list)
    paths: list[PathRow] = field(default_factory=list)
    invariance: list[InvarianceRow] = field(default_factory=list)
    pictures: Pictures = field(default_factory=Pictures)
    heatmap: HeatMap | None = None
    model_sha256: str | None = None

    def derived(self) -> dict[str, dict[str, int | None]]:
        """Return `cif` and `tokens`, counters that scripts read, of a family that decides firings and tokens."""
        counters: dict[str, dict[str, int | None]] = {}
        if (found := self.outcomes.get("firing")) is not None:
            counts = {"firing_mismatches": found.differ, "explained": found.explained}
            counters["cif"] = {"utterances": len(self.utterances), **counts}
        if (found := self.outcomes.get("token")) is not None:
            counters["tokens"] = {"compared": found.compared, "flipped": found.differ, "explained": found.explained}
        return counters


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRow:
    """One seeded fault: the module it was put into, whether it was caught, by which tap, and with which address.

    `right_address` is True where `address` lies in `module`; `engine` is what computed the candidate. `needs` says what
    audio would show a fault not caught; `visible` is False where it changes no number at all on the audio given, so
    that no harness could catch it.
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
    engine: str = PLAIN


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
