"""Recorded arrays in a little over half their size: a float64 truth in 5 bytes an element, the float32 reference in 2.

Compressors gain 7 % on mantissas. What is stored instead: the truth rounded to float32 and the rest of it in 1/254 of
float32's last place (2e-10 relative); the reference as its distance from the truth, in float16 of the largest one.
What a check asks of the reference every time, its own error per frame, is taken once, exactly, and stored beside it.
FunASR in a half precision, where it was run as well, is stored as the float32 reference is. Pure numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

STEPS = 254.0  # of one float32 step, which the rest fills from -1/2 to 1/2


def pack(
    truth: np.ndarray, reference: np.ndarray, halves: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Return the parts of a float64 truth and a float32 reference of the same shape.

    Where either holds NaN or infinities, float16 and int8 could not say so: they are then stored as they are. `halves`
    are {precision: what the reference gave in it}; their parts are named `float16.distance`, ...
    """
    others = {name: value.astype(np.float32) for name, value in (halves or {}).items()}
    if truth.shape != reference.shape or not (np.isfinite(truth).all() and np.isfinite(reference).all()):
        plain = {f"{name}.reference": value for name, value in others.items()}
        return {"truth": truth.astype(np.float64), "reference": reference} | plain
    high = truth.astype(np.float32)
    rest = np.rint((truth - high) / _step(high).astype(np.float64) * STEPS)
    parts = {"truth": high, "rest": np.clip(rest, -127, 127).astype(np.int8), **_strayed(truth, reference)}
    for name, value in others.items():
        fits = value.shape == truth.shape and np.isfinite(value).all()
        found = _strayed(truth, value) if fits else {"reference": value}
        parts |= {f"{name}.{part}": array for part, array in found.items()}
    return parts


def _strayed(truth: np.ndarray, reference: np.ndarray) -> dict[str, np.ndarray]:
    """Return a reference as its distance from the truth, and its error per frame."""
    distance = reference.astype(np.float64) - truth
    unit = float(np.abs(distance).max(initial=0.0)) or 1.0
    return {
        "distance": (distance / unit).astype(np.float16),
        "unit": np.array([unit]),
        "floors": frame_errors(distance, float(np.linalg.norm(truth))) if truth.size else np.zeros(0),
    }


def frame_errors(difference: np.ndarray, size: float, largest: float | None = None) -> np.ndarray:
    """Return |difference| of every frame over the root mean square frame of the truth; (1, T, D) or (1, T) -> (T,).

    Their root mean square is rel_l2. `size` is |truth|; `largest` the difference's largest magnitude, where known.
    """
    largest = float(np.abs(difference).max(initial=0.0)) if largest is None else largest
    # Over the largest first: float32's squares would vanish below 1e-23, and a difference with them.
    rows = (difference * (1.0 / largest if largest else 1.0)).reshape(difference.shape[1], -1)
    length = np.sqrt(np.einsum("td,td->t", rows, rows), dtype=np.float64) * (largest or 1.0)
    return length * np.sqrt(len(rows)) / size if size else np.where(length == 0.0, 0.0, np.inf)


class Pair(Sequence[np.ndarray]):
    """One tap: (float64 truth, float32 reference), each unpacked when asked for, and distances from them.

    `under` gives the same with the reference's run in a half precision, whose noise is then the floor.

    `parts` are `pack`'s, or a truth and a reference as they are. A check asks for distances only, and those need no
    float64: a value is close to the truth's own float32, so their difference is exact (Sterbenz), and the rest of the
    truth is taken from it in float32 of the difference's size.
    """

    __slots__ = ("_single", "parts")

    def __init__(self, parts: Mapping[str, np.ndarray], single: Pair | None = None):
        self.parts, self._single = parts, single

    @classmethod
    def of(cls, truth: np.ndarray, reference: np.ndarray, halves: Mapping[str, np.ndarray] | None = None) -> Pair:
        """Return the pair of two arrays as they are, and with them what the reference gave in half precisions."""
        others = {f"{name}.reference": value for name, value in (halves or {}).items()}
        return cls({"truth": truth, "reference": reference, **others})

    def halves(self) -> dict[str, np.ndarray]:
        """Return {precision: array} of a pair made by `of`: what the reference gave in half precisions."""
        names = [name.removesuffix(".reference") for name in self.parts if name.endswith(".reference")]
        return {name: self.parts[f"{name}.reference"] for name in names}

    def under(self, precision: str) -> Pair | None:
        """Return (float64 truth, the reference in a half precision), None where it was not run in that one.

        What the float32 run decides is still known to it: `single`.
        """
        prefix = f"{precision}."
        found = {name.removeprefix(prefix): part for name, part in self.parts.items() if name.startswith(prefix)}
        if not found:
            return None
        truth = {name: part for name, part in self.parts.items() if name in ("truth", "rest")}
        if "reference" in found and "rest" in truth:
            truth = {"truth": self.truth()}
        return Pair(truth | found, self)

    @property
    def single(self) -> np.ndarray:
        """The float32 run's array, whichever run this pair holds beside the truth: what decisions are compared with."""
        return self.reference() if self._single is None else self._single.reference()

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

    def floors(self) -> np.ndarray:
        """Return the reference's `frame_errors`."""
        if "reference" in self.parts:
            return frame_errors(self.off(self.parts["reference"]), self.size())
        return self.parts["floors"]

    def at(self, index: tuple[int, ...]) -> tuple[float, float]:
        """Return (truth, reference) of one element."""
        known = {name: part for name, part in self.parts.items() if "." not in name}
        parts = {name: part if name in ("unit", "floors") else part[index][None] for name, part in known.items()}
        one = Pair(parts)
        return float(one.truth()[0]), float(one.reference()[0])


def _step(values: np.ndarray) -> np.ndarray:
    """Return float32's distance to the next larger magnitude, a power of two, as float32; np.spacing, faster.

    Below 2^-102, where that distance is no normal number, it is the smallest there: 2^-126.
    """
    exponent = values.view(np.int32) & np.int32(0x7F800000)
    np.maximum(exponent, (1 + 23) << 23, out=exponent)
    exponent -= 23 << 23
    return exponent.view(np.float32)
