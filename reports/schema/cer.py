"""What a character error rate report and a paired comparison of two hold. Stdlib only; read through reports.schema.

Everything is bounded, whatever the size of the test set: groups, the most frequent confusions, the worst utterances.
All utterances stand in `utterances.jsonl` beside the report, one CerUtterance a line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from reports.checking import no_interval, not_pairs
from reports.schema.hotwords import CerHotwords
from reports.schema.latency import CerLatency


@dataclass(frozen=True, slots=True, kw_only=True)
class CerUtterance:
    """One scored utterance. `hypothesis` is None where it is missing (its reference counts as deletions).

    `alignment` holds [reference, hypothesis] pairs: a stretch that agrees is one pair, every error is one of its own,
    None on the side that has nothing. `audio` is a data: URI of the recording where it was kept for a listener.
    """

    utt_id: str
    reference: str
    hypothesis: str | None
    substitutions: int
    deletions: int
    insertions: int
    hits: int
    speaker: str | None = None
    duration_s: float | None = None
    error: str | None = None
    alignment: list[list[str | None]] = field(default_factory=list)
    audio: str | None = None

    def unfit(self) -> str:
        """Return what of a row that was read cannot be shown, "" where all can."""
        return not_pairs("alignment", self.alignment)


@dataclass(frozen=True, slots=True, kw_only=True)
class CerGroup:
    """Sums over some utterances: of a speaker, of a range of lengths, of a condition. Rates are fractions."""

    name: str
    utterances: int
    substitutions: int
    deletions: int
    insertions: int
    hits: int
    missing: int
    cer: float
    ser: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CerDivision:
    """One way to divide the utterances: "speaker", "length", "duration", "rate" (units a second), "condition"."""

    name: str
    groups: list[CerGroup]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """How often one unit was taken for another: kind "S", "D" (hypothesis None) or "I" (reference None)."""

    kind: str
    reference: str | None
    hypothesis: str | None
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One bar of a histogram: its label and how many utterances it holds."""

    label: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One recording that could not be recognised, and why."""

    utt_id: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """Tokens with a confidence from `low` to `high`: how many, how sure on average, and which share is right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float
    ci95: list[float]

    def unfit(self) -> str:
        """Return what of a bin that was read cannot be shown, "" where all can."""
        return no_interval("ci95", self.ci95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Confidences of the hypotheses' units against whether the alignment calls these right; deletions have none.

    `ece` is the expected calibration error: how far confidence and accuracy of a bin are apart, weighted by tokens.
    `auc` is how often a wrong unit is less sure than a right one (None where all are of one kind); `roc` are points
    [share of right units, share of wrong ones] below a threshold. `left_out` units came of no token that is known.
    """

    tokens: int
    left_out: int
    accuracy: float
    confidence: float
    ece: float
    auc: float | None
    bins: list[CalibrationBin]
    roc: list[list[float]]

    def unfit(self) -> str:
        """Return what of it that was read cannot be shown, "" where all can."""
        uneven = [point for point in self.roc if len(point) != 2]
        return f"roc holds {uneven[0]}; expected [share, share]" if uneven else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CerReport:
    """Character (or word, or mixed) error rate of one hypothesis set. Rates are fractions (0.05 = 5 %).

    `ci95` is bootstrapped over utterances, `ci95_speakers` over whole speakers (None where they are not known).
    `failures` holds the first of `failed`, `worst` the utterances with the highest rate. `dataset_path` is where the
    data set was read from: a path or a hub id. `options` are those given of the model's family, as language.
    `confidence` is None where the engine gave none, as FunASR's and texts without a model.
    `hotwords` is there where a list was given, `latency` where a streaming model's was asked for (`delay_bins`: ms).
    """

    SCHEMA: ClassVar[str] = "cer/1"
    cer: float
    substitutions: int
    deletions: int
    insertions: int
    hits: int
    reference_length: int
    utterances: int
    missing: int
    failed: int
    ci95: list[float]
    ser: float
    mean_utterance_cer: float
    normalizer: str
    normalizer_steps: list[str]
    dataset: str
    engine: str
    model: str
    unit: str = "char"
    normalizer_version: int = 1
    normalizer_fingerprint: str = ""
    ci95_speakers: list[float] | None = None
    audio_s: float | None = None
    wall_s: float | None = None
    rtf: float | None = None
    data_sha256: str | None = None
    model_sha256: str | None = None
    dataset_path: str | None = None
    divisions: list[CerDivision] = field(default_factory=list)
    confusions: list[Confusion] = field(default_factory=list)
    rate_bins: list[Bin] = field(default_factory=list)
    rtf_bins: list[Bin] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    worst: list[CerUtterance] = field(default_factory=list)
    dataset_notes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    numerics: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    confidence: Calibration | None = None
    hotwords: CerHotwords | None = None
    latency: CerLatency | None = None
    delay_bins: list[Bin] = field(default_factory=list)

    def unfit(self) -> str:
        """Return what of a report that was read cannot be shown, "" where all can."""
        return no_interval("ci95", self.ci95) or no_interval("ci95_speakers", self.ci95_speakers)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSide:
    """One of the two runs of a comparison, in the numbers of its own report."""

    run: str
    engine: str
    model: str
    cer: float
    ci95: list[float]
    substitutions: int
    deletions: int
    insertions: int
    hits: int
    ser: float
    missing: int
    rtf: float | None = None

    def unfit(self) -> str:
        """Return what of a side that was read cannot be shown, "" where all can."""
        return no_interval("ci95", self.ci95)


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferingUtterance:
    """One utterance on which the two hypotheses differ; errors and alignments of both against the same reference.

    `margin` says how narrow the decisions were, where a parity report over the same utterance was at hand.
    """

    utt_id: str
    reference: str
    hypothesis_a: str | None
    hypothesis_b: str | None
    errors_a: int
    errors_b: int
    alignment_a: list[list[str | None]]
    alignment_b: list[list[str | None]]
    speaker: str | None = None
    duration_s: float | None = None
    audio: str | None = None
    margin: str | None = None

    def unfit(self) -> str:
        """Return what of a row that was read cannot be shown, "" where all can."""
        return not_pairs("alignment_a", self.alignment_a) or not_pairs("alignment_b", self.alignment_b)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedGroup:
    """Both rates over the same group of utterances; `difference` is b - a."""

    name: str
    utterances: int
    cer_a: float
    cer_b: float
    difference: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareReport:
    """Two runs on the same utterances, compared pair by pair. `difference` is b - a: below 0, b is better.

    `p_mapsswe` is the two-sided p of NIST's matched-pairs test. `utterances_needed` is how many utterances like these
    would resolve the observed difference with 80 % power; None where there is no difference to resolve. `differing`
    holds the first of `differing_total`, those with the largest difference in errors first.
    """

    SCHEMA: ClassVar[str] = "cer_compare/1"
    difference: float
    ci95: list[float]
    probability_of_improvement: float
    p_mapsswe: float
    sentence: str
    a: CompareSide
    b: CompareSide
    utterances: int
    identical: int
    reference_length: int
    normalizer: str
    unit: str
    ci95_speakers: list[float] | None = None
    mapsswe_z: float | None = None
    mapsswe_segments: int = 0
    utterances_needed: int | None = None
    better_a: int = 0
    better_b: int = 0
    differing_total: int = 0
    differing: list[DifferingUtterance] = field(default_factory=list)
    groups: list[PairedGroup] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)

    def unfit(self) -> str:
        """Return what of a report that was read cannot be shown, "" where all can."""
        return no_interval("ci95", self.ci95) or no_interval("ci95_speakers", self.ci95_speakers)
