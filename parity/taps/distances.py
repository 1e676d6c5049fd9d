"""Distances between reference and candidate, tap by tap, and the verdict on each. Pure numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parity.taps.packing import Pair, frame_errors
from parity.taps.tapset import Precision, TapSet, TapSpec
from parity.taps.trace import Recorded
from reports.schema import Introduced, TapRow

PASS, FAIL = "pass", "fail"
NOT_FINITE = "NaN or infinite values"
MOST_REL_L2 = 0.7  # a tensor of zeros is 1.0 away, an unrelated one of the same size 1.4


def rel_l2(truth: np.ndarray, value: np.ndarray) -> float:
    """Return |value - truth| / |truth| in float64 (0 where both vanish, inf where only the truth does)."""
    difference = np.linalg.norm(value.astype(np.float64) - truth.astype(np.float64))
    size = np.linalg.norm(truth.astype(np.float64))
    return float(difference / size) if size else (0.0 if difference == 0.0 else float("inf"))


def incomparable(reference: np.ndarray, value: np.ndarray) -> str | None:
    """Return why two arrays cannot agree: NaN never passes, nor does a shape that differs, nor an empty array."""
    problem = mismatch(reference.shape, value)
    finite = problem is not None or (np.isfinite(value).all() and np.isfinite(reference).all())
    return problem if finite else NOT_FINITE


def mismatch(shape: tuple[int, ...], value: np.ndarray) -> str | None:
    """Return why an array cannot be held against one of that shape, None where it can."""
    if shape != value.shape:
        return f"shape {value.shape}, expected {shape}"
    return None if value.size else "nothing to compare, the tap is empty"


def added_up(addends: Pair, sums: Pair) -> float:
    """Return the floor of running sums: what the addends' errors, and float32's at every sum, add up to if independent.

    Both (1, T). The error of a running sum is carried from place to place, so that all of a recording's places have
    nearly the same one: the reference's own is one draw, and it is near 0 as often as any draw is.
    """
    if addends.shape[:2] != sums.shape[:2] or not sums.size():
        return 0.0
    values = sums.parts["truth"].reshape(-1)
    errors = addends.floors() * addends.size() / np.sqrt(len(values))
    variances = errors**2 + np.spacing(np.abs(values).astype(np.float32)).astype(np.float64) ** 2 / 12.0
    return float(np.sqrt(np.cumsum(variances).sum())) / sums.size()


def worst_element(utt_id: str, truth: np.ndarray, reference: np.ndarray, value: np.ndarray) -> tuple[float, dict]:
    """Return the largest absolute difference from the truth, and where it is with all three values."""
    difference = np.abs(np.subtract(value, truth, dtype=np.float64))
    place = int(difference.argmax())
    return float(difference.flat[place]), _element(utt_id, Pair.of(truth, reference), value, place)


def _element(utt_id: str, pair: Pair, value: np.ndarray, place: int) -> dict[str, Any]:
    """Return one element's index and its three values; `place` counts along the flat array."""
    index = tuple(int(i) for i in np.unravel_index(place, value.shape))
    truth, reference = pair.at(index)
    values = {"truth": truth, "reference": reference, "candidate": float(value[index])}
    return {"utt_id": utt_id, "index": list(index)} | values


@dataclass(slots=True, kw_only=True)
class Distances:
    """A continuous tap over all utterances: each one's distance and floor, the worst element, the worst frame."""

    pairs: list[tuple[float, float]] = field(default_factory=list)
    frames: list[tuple[float, float, int, str]] = field(default_factory=list)
    max_abs: float = 0.0
    worst: dict[str, Any] | None = None
    failures: list[str] = field(default_factory=list)

    def add(self, utt_id: str, pair: Pair, value: np.ndarray, least: float) -> None:
        """Note one utterance's distances from the float64 truth: the candidate's, and the float32 reference's."""
        problem = mismatch(pair.shape, value)
        if problem is not None:
            self.failures.append(f"{utt_id}: {problem}")
            return
        difference, size = pair.off(value), pair.size()
        place = int(np.abs(difference).argmax())  # of the first NaN, where there is one
        largest = float(abs(difference.flat[place]))
        if not np.isfinite(largest + size):
            self.failures.append(f"{utt_id}: {NOT_FINITE}")
            return
        errors, floors = frame_errors(difference, size, largest), pair.floors()
        distance, own = (float(np.sqrt(np.mean(each**2))) for each in (errors, floors))  # rel_l2 of both
        self.pairs.append((distance, max(own, least)))
        frame = int((errors / np.maximum(floors, self.pairs[-1][1])).argmax())
        self.frames.append((float(errors[frame]), float(floors[frame]), frame, utt_id))
        if self.worst is None or largest > self.max_abs:
            self.max_abs, self.worst = largest, _element(utt_id, pair, value, place)

    @property
    def typical_floor(self) -> float:
        """The root mean square of all floors: a short utterance's own is one draw, and may be a low one."""
        return float(np.sqrt(np.mean([floor**2 for _, floor in self.pairs])))

    def settled(self) -> tuple[float, float, float]:
        """Return (rel_l2, floor, ratio) of the worst utterance; no floor is taken below the typical one."""
        judged = [(distance, max(floor, self.typical_floor)) for distance, floor in self.pairs]
        distance, floor = max(judged, key=lambda pair: pair[0] / pair[1])
        return distance, floor, distance / floor

    def worst_frame(self) -> dict[str, Any]:
        """Return the frame furthest from the truth as a multiple of its own floor, none taken below the typical one.

        Its own, because a frame may be ill-conditioned on both sides: a sigmoid's slope, a norm of small variance.
        """
        typical = self.typical_floor
        judged = [(frame[0] / max(frame[1], typical), *frame) for frame in self.frames]
        ratio, distance, floor, frame, utt_id = max(judged)
        return {"utt_id": utt_id, "frame": frame, "rel_l2": distance, "floor_rel_l2": floor, "ratio": ratio}

    def judge(self, limit: float | None, frames: float, unit: str = "frame") -> list[str]:
        """Return why the tap fails: what could not be compared, the ratio, or the ratio of a single frame, a `unit`."""
        problems = list(self.failures)
        if self.pairs and limit is not None:
            ratio, frame = self.settled()[2], self.worst_frame()
            if not ratio <= limit:
                problems.append(f"{ratio:.1f} times the floor, {limit:g} allowed")
            elif not frame["ratio"] <= limit * frames:
                problems.append(
                    f"{unit} {frame['frame']} of {frame['utt_id']}: {frame['ratio']:.1f} times the floor, "
                    f"{limit * frames:g} allowed for one {unit}"
                )
        return problems or ([] if self.pairs else ["never compared"])


@dataclass(slots=True, kw_only=True)
class TapTotals:
    """One tap over all utterances: propagated and introduced distances, or judged by absolute value or by entry."""

    name: str
    propagated: Distances | None = None
    introduced: Distances | None = None
    absolute: bool = False
    max_abs: float = 0.0
    rel_l2: float | None = None
    worst: dict[str, Any] | None = None
    failures: list[str] = field(default_factory=list)

    def add_absolute(self, utt_id: str, reference: np.ndarray, value: np.ndarray) -> None:
        """Judge a tap by its largest absolute difference (the front end, CIF against its oracle)."""
        self.absolute = True
        problem = incomparable(reference, value)
        if problem is not None:
            self.failures.append(f"{utt_id}: {problem}")
            return
        largest, where = worst_element(utt_id, reference, reference, value)
        self.rel_l2 = max(self.rel_l2 or 0.0, rel_l2(reference, value))
        if self.worst is None or largest > self.max_abs:
            self.max_abs, self.worst = largest, where

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

    def row(self, spec: TapSpec | None, precision: Precision, drift: float, unit: str = "frame") -> TapRow:
        """Return the finished row; `spec` is None for outcomes that must agree exactly."""
        if self.propagated is None and self.introduced is None:
            return self._plain_row(spec)
        limit = spec.ratio * precision.multiple if spec is not None and spec.ratio is not None else None
        shown = self.propagated or self.introduced or Distances()
        numbers = shown.settled() if shown.pairs else (None, None, None)
        grows = self.propagated is not None and spec is not None and bool(spec.introduced)
        wide = limit * drift if limit is not None and grows else limit
        problems = [*self.failures, *shown.judge(wide, precision.frames, unit)]
        if numbers[0] is not None and not numbers[0] <= MOST_REL_L2:
            problems.append(f"rel_l2 {numbers[0]:.2g}: no precision excuses more than {MOST_REL_L2:g}")
        both = self.propagated is not None and self.introduced is not None
        own = self.introduced.judge(limit, precision.frames, unit) if both and self.introduced is not None else []
        reasons = [*problems, *(f"introduced: {problem}" for problem in own)]
        return TapRow(
            name=self.name,
            max_abs=shown.max_abs,
            rel_l2=numbers[0],
            floor_rel_l2=numbers[1],
            ratio=numbers[2],
            tolerance_ratio=wide,
            status=FAIL if reasons else PASS,
            reason="; ".join(reasons[:3]) or (spec.reason if spec is not None else ""),
            worst=shown.worst,
            scope="propagated" if self.propagated is not None else "introduced",
            worst_frame=shown.worst_frame() if shown.frames else None,
            introduced=self._share(own) if self.propagated is not None else None,
        )

    def _share(self, problems: Sequence[str]) -> Introduced | None:
        if self.introduced is None or not self.introduced.pairs:
            return None
        distance, floor, ratio = self.introduced.settled()
        return Introduced(
            max_abs=self.introduced.max_abs,
            rel_l2=distance,
            floor_rel_l2=floor,
            ratio=ratio,
            status=FAIL if problems else PASS,
            worst=self.introduced.worst,
        )

    def _plain_row(self, spec: TapSpec | None) -> TapRow:
        limit = spec.max_abs if spec is not None and self.absolute else None
        if limit is not None and not self.max_abs <= limit:
            self.failures.append(f"max_abs {self.max_abs:.2e}, {limit:g} allowed")
        return TapRow(
            name=self.name,
            max_abs=self.max_abs,
            rel_l2=self.rel_l2,
            floor_rel_l2=None,
            ratio=None,
            tolerance_ratio=None,
            status=FAIL if self.failures else PASS,
            reason="; ".join(self.failures[:3]) or (spec.reason if spec and self.absolute else "must agree exactly"),
            worst=self.worst,
            scope=spec.kind if spec is not None and self.absolute else "discrete",
        )


class Comparison:
    """All taps of a run, in network order; `add_*` take one utterance at a time so that memory stays flat."""

    def __init__(self, tapset: TapSet, precision: Precision):
        self.tapset, self.precision = tapset, precision
        self.totals: dict[str, TapTotals] = {}
        self.order: list[str] = []  # of the utterance with most taps: one without tokens has no decoder

    def total(self, name: str) -> TapTotals:
        """Return the accumulator of a tap, made at its first use."""
        return self.totals.setdefault(name, TapTotals(name=name))

    def add_frontend(self, utt_id: str, plain: Mapping[str, np.ndarray], candidate: Mapping[str, np.ndarray]) -> None:
        """Compare fbank and features; `stream.60ms.feats` with `feats` where no array of that name was recorded."""
        for name, value in candidate.items():
            known = name if name in plain else name.rsplit(".", 1)[-1]
            self.total(name).add_absolute(utt_id, plain[known], value)

    def place(self, propagated: Sequence[str], introduced: Sequence[str]) -> None:
        """Fix the order of rows: what happens inside a module stands before what comes out of it."""
        waiting, order = list(introduced), []
        for name in propagated:
            if name in waiting:
                until = waiting.index(name)
                order += waiting[:until]
                waiting = waiting[until + 1 :]
            order.append(name)
        self.order = max(self.order, [*order, *waiting], key=len)

    def add_propagated(
        self,
        utt_id: str,
        recorded: Recorded,
        taps: Mapping[str, np.ndarray],
        excused: frozenset[str],
        skip: tuple[str, ...] = (),
    ) -> None:
        """Compare every tap on each side's own inputs; a tap on one side only fails.

        Args:
            utt_id: whose.
            recorded: the reference's side.
            taps: the candidate's.
            excused: discrete taps whose differences the noise floor accounts for.
            skip: prefixes of taps left out, after such a difference in the number of tokens.
        """
        reference = {**recorded.propagated, **{name: recorded.plain[name] for name in recorded.plain if name in taps}}
        for name in dict.fromkeys([*recorded.propagated, *taps]):
            if name.startswith(skip):
                continue
            if name not in reference or name not in taps:
                side = "candidate" if name in taps else "reference"
                self.total(name).failures.append(f"{utt_id}: only the {side} has it")
            elif self.tapset.is_discrete(name):
                self.total(name).add_discrete(utt_id, reference[name], taps[name], explained=name in excused)
            elif math.prod(recorded.propagated[name].shape) or taps[name].size:  # without tokens: empty
                total = self.total(name)
                total.propagated = total.propagated or Distances()
                least = self.least(name, recorded.propagated)
                total.propagated.add(utt_id, recorded.propagated[name], taps[name], least)

    def least(self, name: str, recorded: Mapping[str, Pair]) -> float:
        """Return what a tap's floor is not taken below: what float32 can represent, and of running sums `added_up`."""
        least, addends = self.tapset.floor_rel_l2, recorded.get(self.tapset.sums.get(name, ""))
        return least if addends is None else max(least, added_up(addends, recorded[name]))

    def add_introduced(self, utt_id: str, recorded: Mapping[str, Pair], taps: Mapping[str, np.ndarray]) -> None:
        """Compare every tap of modules run alone, both sides fed the same inputs."""
        for name, pair in recorded.items():
            total = self.total(name)
            if name not in taps:
                total.failures.append(f"{utt_id}: only the reference has it")
            elif math.prod(pair.shape) or taps[name].size:
                total.introduced = total.introduced or Distances()
                total.introduced.add(utt_id, pair, taps[name], self.least(name, recorded))

    def rows(self) -> list[TapRow]:
        """Return one row per tap, in network order: the front end first, what has no place in the network last."""
        places = {name: place for place, name in enumerate(self.order)}
        first = {name for tap in self.tapset.taps if tap.kind == "frontend" for name in tap.name}

        def place(name: str) -> int:
            return -1 if name in first else places.get(name, len(places))

        rows = []
        for total in sorted(self.totals.values(), key=lambda total: place(total.name)):
            try:
                spec: TapSpec | None = self.tapset.spec(total.name)
            except KeyError:
                spec = None
            if self.tapset.is_discrete(total.name):
                spec = None
            rows.append(total.row(spec, self.precision, self.tapset.drift, self.tapset.unit))
        return rows
