"""Precisions and exact casts between them. numpy has no bfloat16: such tensors are carried as their uint16 bits.

Pure numpy; imports neither torch nor mlx.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlx_model.errors import CheckpointError, UsageError
from mlx_model.machine.safetensors import STORAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """One element type: its name, its code in a safetensors header, and the numpy type that holds its bits.

    `mantissa` and `exponent` are the bits of a float format, None for integers; they decide whether a cast is exact.
    """

    name: str
    code: str
    storage: np.dtype
    mantissa: int | None = None
    exponent: int | None = None

    @property
    def is_float(self) -> bool:
        """Whether this is a floating-point format."""
        return self.mantissa is not None


def _precision(name: str, code: str, mantissa: int | None = None, exponent: int | None = None) -> Precision:
    return Precision(name=name, code=code, storage=STORAGE[code], mantissa=mantissa, exponent=exponent)


PRECISIONS: dict[str, Precision] = {
    item.name: item
    for item in (
        _precision("float64", "F64", 52, 11),
        _precision("float32", "F32", 23, 8),
        _precision("float16", "F16", 10, 5),
        _precision("bfloat16", "BF16", 7, 8),
        _precision("int64", "I64"),
        _precision("int32", "I32"),
        _precision("int16", "I16"),
        _precision("int8", "I8"),
        _precision("uint8", "U8"),
        _precision("uint32", "U32"),
        _precision("bool", "BOOL"),
    )
}
BY_CODE: dict[str, Precision] = {item.code: item for item in PRECISIONS.values()}
TARGETS = ("float32", "float16", "bfloat16")


def check_target(dtype: str) -> None:
    """Raise UsageError where `dtype` is none that a model can be written in."""
    if dtype not in TARGETS:
        raise UsageError(f"dtype {dtype!r} is not supported; choose {', '.join(TARGETS)}")


def is_exact(source: str, target: str) -> bool:
    """Return whether every finite value of `source` has the same value in `target`."""
    a, b = PRECISIONS[source], PRECISIONS[target]
    if source == target:
        return True
    if a.mantissa is None or b.mantissa is None or a.exponent is None or b.exponent is None:
        return False
    return a.mantissa <= b.mantissa and a.exponent <= b.exponent


def cast(array: np.ndarray, source: str, target: str, name: str) -> np.ndarray:
    """Return the tensor in another precision, rounded to nearest even where bits are lost.

    Args:
        array: elements in the storage type of `source` (uint16 bits for bfloat16).
        source: name of its precision, a float.
        target: name of the wanted one, a float.
        name: of the tensor, for errors.

    Raises:
        CheckpointError: not a float tensor, NaN or infinity in it, or a value too large for `target`.
    """
    if not PRECISIONS[source].is_float or not PRECISIONS[target].is_float:
        raise CheckpointError(f"tensor {name!r} is {source}; weights must be floating point (a quantised checkpoint?)")
    if source == target:
        _check_finite(widen(array, source), name)
        return array
    wide = widen(array, source)
    _check_finite(wide, name)
    narrow = _narrow(wide, target)
    if not np.isfinite(widen(narrow, target)).all():
        largest = float(np.abs(wide).max())
        raise CheckpointError(f"tensor {name!r} holds {largest:.6g}, too large for {target}; use float32 or bfloat16")
    return narrow


def widen(array: np.ndarray, source: str) -> np.ndarray:
    """Return the values as numpy floats: bfloat16 bits become float32, exactly; others stay as they are."""
    if source != "bfloat16":
        return array
    return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _narrow(values: np.ndarray, target: str) -> np.ndarray:
    if target != "bfloat16":
        with np.errstate(over="ignore"):  # the caller looks for infinities and names the tensor
            return values.astype(PRECISIONS[target].storage)
    return _float32_to_bfloat16(_round_to_odd_float32(values))


def _round_to_odd_float32(values: np.ndarray) -> np.ndarray:
    """Return float32 values from which a second rounding gives what one rounding from float64 would have given."""
    if values.dtype != np.float64:
        return values.astype(np.float32)
    with np.errstate(over="ignore"):
        nearest = values.astype(np.float32)
    bits = np.ascontiguousarray(nearest).view(np.uint32)
    # Where float32 rounded away from zero, step back; then mark the inexact ones with an odd last bit.
    away = np.abs(nearest.astype(np.float64)) > np.abs(values)
    inexact = nearest.astype(np.float64) != values
    return ((bits - away.astype(np.uint32)) | inexact.astype(np.uint32)).view(np.float32)


def _float32_to_bfloat16(values: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)


def _check_finite(values: np.ndarray, name: str) -> None:
    # A sum is NaN or infinite wherever an element is, needs no temporary, and overflows only on absurd weights.
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum(dtype=np.float64)
    if not np.isfinite(total) and not np.isfinite(values).all():
        raise CheckpointError(
            f"tensor {name!r} holds NaN or infinity; the checkpoint is damaged or its training diverged"
        )
