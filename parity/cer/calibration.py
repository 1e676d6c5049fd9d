"""Whether confidences mean what they say: of the tokens that are called 0.8, are eight in ten right?

Every unit of every hypothesis (a character, a word) has the confidence of the token that it was printed by, and the
alignment with the reference says whether it is right: hits are, substitutions and insertions are not. Deletions have no
token, so no confidence speaks of them. Counted in LEVELS steps, so that memory stays flat and nothing depends on the
order of the utterances; everything that is reported follows from the counts. Must not import mlx, torch or funasr.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mlx_model.text.confidence import together
from parity.cer.score import matching
from parity.cer.units import Unit
from reports.schema.cer import Calibration, CalibrationBin

LEVELS = 10_000  # steps of a confidence, which a journal keeps to four digits
BINS = 10
POINTS = 40  # of the curve, at most
Z = 1.959964  # of a normal distribution, for 95 %


class Confidences:
    """How many units of every confidence are right, and how many wrong: `add` one utterance after the other."""

    def __init__(self) -> None:
        self._counts = np.zeros((2, LEVELS + 1), np.int64)  # wrong and right
        self.left_out = 0  # units that no token could be found for

    def add(
        self, text: str, confidences: Sequence[float], alignment: Sequence[Sequence[str | None]], unit: Unit
    ) -> None:
        """Count one utterance.

        Args:
            text: as it was recognised.
            confidences: one for every character of it that is no white space.
            alignment: of the reference with the normalised text, see `CerUtterance`.
            unit: that is counted.
        """
        judged = [
            (piece, left == right)
            for left, right in alignment
            if right is not None
            for piece in (unit.cut(right) if left == right else [right])
        ]
        sure = _carried(text, confidences, "".join("".join(piece.split()) for piece, _ in judged))
        place = 0
        for piece, is_right in judged:
            size = len("".join(piece.split()))
            found = together([value for value in sure[place : place + size] if value is not None])
            place += size
            if found is not None:
                self._counts[int(is_right), round(min(max(found, 0.0), 1.0) * LEVELS)] += 1
            elif size:
                self.left_out += 1

    def report(self) -> Calibration | None:
        """Return what the counts say; None where no token had a confidence."""
        wrong, right = self._counts
        total = int(self._counts.sum())
        if not total:
            return None
        bins = self._bins()
        gaps = [abs(one.confidence - one.accuracy) * one.count for one in bins if one.count]
        values = np.arange(LEVELS + 1) / LEVELS
        return Calibration(
            tokens=total,
            left_out=self.left_out,
            accuracy=int(right.sum()) / total,
            confidence=float((self._counts.sum(0) * values).sum()) / total,
            ece=math.fsum(gaps) / total,
            auc=_auc(wrong, right),
            bins=bins,
            roc=_curve(wrong, right),
        )

    def _bins(self) -> list[CalibrationBin]:
        edges = [LEVELS * number // BINS for number in range(BINS + 1)]
        found = []
        for low, high in zip(edges, [*edges[1:-1], LEVELS + 1], strict=False):
            part = self._counts[:, low:high]
            count, right = int(part.sum()), int(part[1].sum())
            mean = float((part.sum(0) * np.arange(low, high)).sum()) / (LEVELS * count) if count else 0.0
            found.append(
                CalibrationBin(
                    low=low / LEVELS,
                    high=min(high, LEVELS) / LEVELS,
                    count=count,
                    confidence=mean,
                    accuracy=right / count if count else 0.0,
                    ci95=list(wilson(right, count)),
                )
            )
        return found


def _carried(text: str, confidences: Sequence[float], normalized: str) -> list[float | None]:
    """The confidences of the characters of a normalised text: of those that are, but for case, where they were."""
    before = "".join(text.split())
    if len(before) != len(confidences):
        return [None] * len(normalized)
    if before == normalized:
        return list(confidences)
    found: list[float | None] = [None] * len(normalized)
    for start, place, size in matching(*(_lower(one) for one in (before, normalized))):
        found[place : place + size] = confidences[start : start + size]
    return found


def _lower(text: str) -> str:
    """The text in lower case, character by character: some have two in it, and places would shift."""
    return "".join(low if len(low := one.lower()) == 1 else one for one in text)


def wilson(right: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927), which stays within 0 and 1; 0 to 1 of nothing."""
    if not count:
        return 0.0, 1.0
    share, spread = right / count, Z * Z / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _auc(wrong: np.ndarray, right: np.ndarray) -> float | None:
    """How often a wrong token is less sure than a right one, ties half; None where all are of one kind."""
    pairs = int(wrong.sum()) * int(right.sum())
    if not pairs:
        return None
    above = right[::-1].cumsum()[::-1]  # right ones from this level on
    return float((wrong * (above - right)).sum() + 0.5 * (wrong * right).sum()) / pairs


def _curve(wrong: np.ndarray, right: np.ndarray) -> list[list[float]]:
    """[share of right tokens, share of wrong ones] below a threshold, for thresholds from 0 up; [] as for `_auc`."""
    if not wrong.sum() or not right.sum():
        return []
    both = np.stack([right.cumsum() / right.sum(), wrong.cumsum() / wrong.sum()])
    steps = np.flatnonzero(wrong + right)
    wanted = np.interp(np.linspace(0, 1, POINTS), np.linspace(0, 1, len(steps)), np.arange(len(steps)))
    chosen = steps[np.unique(wanted.round().astype(int))]
    return [[0.0, 0.0], *both[:, chosen].T.tolist()]
