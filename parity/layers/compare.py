"""Distances between reference and candidate, tap by tap, and the verdict on each. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parity.layers.tapset import DISCRETE, TapSet, TapSpec
from reports.schema import TapRow

PASS, FAIL = "pass", "fail"


def rel_l2(truth: np.ndarray, value: np.ndarray) -> float:
    """Return |value - truth| / |truth| in float64 (0 where both vanish, inf where only the truth does)."""
    difference = np.linalg.norm(value.astype(np.float64) - truth.astype(np.float64))
    size = np.linalg.norm(truth.astype(np.float64))
    return float(difference / size) if size else (0.0 if difference == 0.0 else float("inf"))


@dataclass(slots=True, kw_only=True)
class TapTotals:
    """One tap, accumulated over utterances: the worst of each distance, and what made it fail."""

    name: str
    max_abs: float = 0.0
    rel_l2: float | None = None
    floor: float | None = None
    ratio: float | None = None
    distances: list[tuple[float, float]] = field(default_factory=list)
    worst: dict[str, Any] | None = None
    failures: list[str] = field(default_factory=list)

    def add_distance(
        self, utt_id: str, truth: np.ndarray, reference: np.ndarray, value: np.ndarray, least: float
    ) -> None:
        """Note a continuous tap's distances from the float64 truth: the candidate's, and the float32 reference's."""
        if not self._comparable(utt_id, truth, value):
            return
        self.distances.append((rel_l2(truth, value), max(rel_l2(truth, reference), least)))
        self._keep_worst(utt_id, truth, reference, value)

    def judge(self) -> None:
        """Set rel_l2, floor and ratio to those of the worst utterance, the largest multiple of its floor.

        An utterance's own floor is one draw of the rounding error, and a short one may draw low; so no floor is taken
        below the root mean square of all of them.
        """
        if not self.distances:
            return
        typical = float(np.sqrt(np.mean([floor**2 for _, floor in self.distances])))
        judged = [(distance, max(floor, typical)) for distance, floor in self.distances]
        self.rel_l2, self.floor = max(judged, key=lambda pair: pair[0] / pair[1])
        self.ratio = self.rel_l2 / self.floor

    def add_absolute(self, utt_id: str, reference: np.ndarray, value: np.ndarray) -> None:
        """Judge a tap that has no float64 truth (the front end) by its largest absolute difference."""
        if not self._comparable(utt_id, reference, value):
            return
        self._keep_worst(utt_id, reference, reference, value)
        self.rel_l2 = max(self.rel_l2 or 0.0, rel_l2(reference, value))

    def add_discrete(self, utt_id: str, reference: Any, value: Any, *, explained: bool = False) -> None:
        """Judge an outcome entry by entry; `max_abs` counts the entries that differ."""
        reference, value = np.asarray(reference), np.asarray(value)
        if reference.shape != value.shape:
            count, where = abs(reference.size - value.size) or 1, f"length {value.size} for {reference.size}"
        else:
            differs = np.flatnonzero(reference.ravel() != value.ravel())
            count, where = len(differs), f"entry {int(differs[0])}" if len(differs) else ""
        self.max_abs += count
        if count and not explained:
            self.failures.append(f"{utt_id}: {where}")

    def row(self, spec: TapSpec | None) -> TapRow:
        """Return the finished row; `spec` is None for outcomes that must agree exactly."""
        self.judge()
        ratio_limit = spec.ratio if spec is not None else None
        if ratio_limit is not None and self.ratio is not None and not self.ratio <= ratio_limit:
            self.failures.append(f"{self.ratio:.1f} times the floor, {ratio_limit:g} allowed")
        if spec is not None and spec.max_abs is not None and not self.max_abs <= spec.max_abs:
            self.failures.append(f"max_abs {self.max_abs:.2e}, {spec.max_abs:g} allowed")
        reason = "; ".join(self.failures[:3]) or (spec.reason if spec is not None else "must agree exactly")
        return TapRow(
            name=self.name,
            max_abs=self.max_abs,
            rel_l2=self.rel_l2,
            floor_rel_l2=self.floor,
            ratio=self.ratio,
            tolerance_ratio=ratio_limit,
            status=FAIL if self.failures else PASS,
            reason=reason,
            worst=self.worst,
        )

    def _comparable(self, utt_id: str, reference: np.ndarray, value: np.ndarray) -> bool:
        """NaN never passes, nor does a shape that differs, nor an empty array."""
        if reference.shape != value.shape:
            self.failures.append(f"{utt_id}: shape {value.shape}, expected {reference.shape}")
        elif reference.size == 0:
            self.failures.append(f"{utt_id}: nothing to compare, the tap is empty")
        elif not (np.isfinite(value).all() and np.isfinite(reference).all()):
            self.failures.append(f"{utt_id}: NaN or infinite values")
        else:
            return True
        return False

    def _keep_worst(self, utt_id: str, truth: np.ndarray, reference: np.ndarray, value: np.ndarray) -> None:
        difference = np.abs(value.astype(np.float64) - truth)
        index = np.unravel_index(int(difference.argmax()), difference.shape)
        if self.worst is None or float(difference[index]) > self.max_abs:
            self.max_abs = max(self.max_abs, float(difference[index]))
            self.worst = {
                "utt_id": utt_id,
                "index": [int(i) for i in index],
                "truth": float(truth[index]),
                "reference": float(reference[index]),
                "candidate": float(value[index]),
            }


class Comparison:
    """All taps of a run, in network order; `add` takes one utterance at a time so that memory stays flat."""

    def __init__(self, tapset: TapSet):
        self.tapset = tapset
        self.totals: dict[str, TapTotals] = {}

    def total(self, name: str) -> TapTotals:
        """Return the accumulator of a tap, made at its first use (which fixes its place in the order)."""
        return self.totals.setdefault(name, TapTotals(name=name))

    def add_frontend(self, utt_id: str, reference: dict[str, np.ndarray], candidate: dict[str, np.ndarray]) -> None:
        """Compare fbank and features."""
        for name, value in candidate.items():
            self.total(name).add_absolute(utt_id, reference[name], value)

    def add_network(
        self,
        utt_id: str,
        truth: dict[str, np.ndarray],
        reference: dict[str, np.ndarray],
        candidate: dict[str, np.ndarray],
        explained: frozenset[str] = frozenset(),
    ) -> None:
        """Compare every tap both sides have; a tap on one side only fails.

        `explained` names discrete taps whose differences the noise floor accounts for.
        """
        for name in dict.fromkeys([*truth, *candidate]):
            if name not in truth or name not in candidate:
                self.total(name).failures.append(
                    f"{utt_id}: only the {'candidate' if name in candidate else 'reference'} has it"
                )
            elif name.rsplit(".", 1)[-1] in DISCRETE:
                self.total(name).add_discrete(utt_id, reference[name], candidate[name], explained=name in explained)
            elif truth[name].size or candidate[name].size:  # an utterance without tokens has empty decoder taps
                self.total(name).add_distance(
                    utt_id, truth[name], reference[name], candidate[name], self.tapset.floor_rel_l2
                )

    def rows(self) -> list[TapRow]:
        """Return one row per tap."""
        rows = []
        for total in self.totals.values():
            try:
                spec: TapSpec | None = self.tapset.spec(total.name)
            except KeyError:
                spec = None
            if total.name.rsplit(".", 1)[-1] in DISCRETE:
                spec = None
            rows.append(total.row(spec))
        return rows
