"""Recorded arrays in a little over half their size: a float64 truth in 5 bytes an element, the float32 reference in 2.

Compressors gain 7 % on mantissas. What is stored instead: the truth rounded to float32 and the rest of it in 1/254 of
float32's last place (2e-10 relative); the reference as its distance from the truth, in float16 of the largest one.
Pure numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

PARTS = ("truth", "rest", "distance", "unit")
STEPS = 254.0  # of one float32 step, which the rest fills from -1/2 to 1/2


def pack(truth: np.ndarray, reference: np.ndarray) -> dict[str, np.ndarray]:
    """Return the four parts of a float64 truth and a float32 reference of the same shape.

    Where either holds NaN or infinities, float16 and int8 could not say so: they are then stored as they are.
    """
    if truth.shape != reference.shape or not (np.isfinite(truth).all() and np.isfinite(reference).all()):
        return {"truth": truth.astype(np.float64), "reference": reference}
    high = truth.astype(np.float32)
    rest = np.rint((truth - high) / _step(high).astype(np.float64) * STEPS)
    distance = reference.astype(np.float64) - truth
    unit = float(np.abs(distance).max(initial=0.0)) or 1.0
    return {
        "truth": high,
        "rest": np.clip(rest, -127, 127).astype(np.int8),
        "distance": (distance / unit).astype(np.float16),
        "unit": np.array([unit]),
    }


class Pair(Sequence[np.ndarray]):
    """One tap: (float64 truth, float32 reference), each unpacked when asked for, and distances from them.

    `parts` are `pack`'s, or a truth and a reference as they are. A check asks for distances only, and those need no
    float64: a value is close to the truth's own float32, so their difference is exact (Sterbenz), and the rest of the
    truth is taken from it in float32 of the difference's size.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: Mapping[str, np.ndarray]):
        self.parts = parts

    @classmethod
    def of(cls, truth: np.ndarray, reference: np.ndarray) -> Pair:
        """Return the pair of two arrays as they are."""
        return cls({"truth": truth, "reference": reference})

    @property
    def shape(self) -> tuple[int, ...]:
        """The truth's shape."""
        return self.parts["truth"].shape

    @property
    def settled(self) -> bool:
        """Whether both runs have the same shape (the same number of tokens)."""
        return "reference" not in self.parts or self.parts["reference"].shape == self.shape

    def __len__(self) -> int:
        return 2

    def __getitem__(self, side: Any) -> Any:
        return (self.truth, self.reference)[side]() if isinstance(side, int) else tuple(self)[side]

    def truth(self) -> np.ndarray:
        """Return the float64 run's array."""
        if "reference" in self.parts:
            return self.parts["truth"]
        truth = self.parts["rest"].astype(np.float64)  # in place from here on: at full size this is much traffic
        truth *= _step(self.parts["truth"])
        truth /= STEPS
        truth += self.parts["truth"]
        return truth

    def reference(self) -> np.ndarray:
        """Return the float32 run's array."""
        if "reference" in self.parts:
            return self.parts["reference"]
        reference = self.parts["distance"].astype(np.float64)
        reference *= float(self.parts["unit"][0])
        reference += self.truth()
        return reference.astype(np.float32)

    def size(self) -> float:
        """Return |truth|, its Euclidean norm."""
        flat = self.parts["truth"].reshape(-1)
        square = float(np.dot(flat, flat))
        return math.sqrt(square) if 1e-30 < square < 1e30 else float(np.linalg.norm(flat.astype(np.float64)))

    def off(self, value: np.ndarray) -> np.ndarray:
        """Return value - truth, element by element."""
        if "reference" in self.parts:
            return np.subtract(value, self.parts["truth"], dtype=np.float64)
        rest = _step(self.parts["truth"])
        rest *= self.parts["rest"]
        rest *= np.float32(1.0 / STEPS)
        difference = np.subtract(value, self.parts["truth"])
        difference -= rest
        return difference

    def floor(self) -> np.ndarray:
        """Return reference - truth, element by element."""
        if "reference" in self.parts:
            return self.off(self.parts["reference"])
        return self.parts["distance"].astype(np.float32) * np.float32(self.parts["unit"][0])


def _step(values: np.ndarray) -> np.ndarray:
    """Return float32's distance to the next larger magnitude, a power of two, as float32; np.spacing, faster.

    Below 2^-102, where that distance is no normal number, it is the smallest there: 2^-126.
    """
    exponent = values.view(np.int32) & np.int32(0x7F800000)
    np.maximum(exponent, (1 + 23) << 23, out=exponent)
    exponent -= 23 << 23
    return exponent.view(np.float32)
