"""The ways in which a weight is stored in fewer bits: MLX's affine groups, and int8 with a scale for each output.

Each says what tensors it makes of one, makes them, and how far what is stored is from the original in multiples of what
rounding explains. Imports mlx (through mlx_model), never torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from convert.dtypes import PRECISIONS, widen
from convert.safetensors_file import TensorInfo
from convert.verify import Written
from mlx_model.config.sections import INT8

if TYPE_CHECKING:
    import mlx.core as mx

# Error allowed per weight, in quantisation steps: half from rounding, up to one because mx.quantize moves a group's
# range so that zero stays exact. Scales and biases are themselves rounded to 16 bits, by half a unit in the last place.
ROUNDING_STEPS = 1.5
FACTORS = {"float32": "float16", "float16": "float16", "bfloat16": "bfloat16"}  # what scales and biases are kept in
HALF_UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # relative, from the least normal number on; below it, of that
LEAST_NORMAL = {"float16": 2.0**-14, "bfloat16": 2.0**-126}
# The same of int8: half a step, and float32's rounding of the scale, up to 127 times.
INT8_STEPS = 0.5 + 127 * 2.0**-23


class Packing(Protocol):
    """What is done to the weight (Dout, Din) of one module."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the tensors that are stored in its place, `weight` first."""
        ...

    @property
    def words(self) -> str:
        """How weights are stored, for notes."""
        ...

    def against(self, shape: tuple[int, ...], dtype: str) -> str:
        """Return why a weight of `dtype` is not stored so, "" where it is."""
        ...

    def infos(self, stem: str, shape: tuple[int, ...], dtype: str) -> list[TensorInfo]:
        """Return what is stored of the weight of module `stem`."""
        ...

    def made(self, written: Written, name: str) -> Sequence[np.ndarray]:
        """Return the tensors to store of a weight, in the order of `parts`."""
        ...

    def worst(self, packed: Written, original: Written, name: str) -> float:
        """Return a stored weight's largest error, in multiples of what rounding explains."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """MLX's: so many bits, a scale and a bias for each group of inputs; zeros fill a row's last group."""

    bits: int
    group_size: int
    parts = ("weight", "scales", "biases")

    @property
    def words(self) -> str:
        """How weights are stored."""
        return f"{self.bits} bits, groups of {self.group_size}"

    def against(self, shape: tuple[int, ...], dtype: str) -> str:
        """Return that it takes no less room than in `dtype`, where it does not."""
        from mlx_model.parts.quantized import quantizing_pays

        itemsize = PRECISIONS[dtype].storage.itemsize
        if quantizing_pays(shape, itemsize, group_size=self.group_size, bits=self.bits):
            return ""
        return f"{self.bits} bits in groups of {self.group_size} take no less room at input width {shape[1]}"

    def infos(self, stem: str, shape: tuple[int, ...], dtype: str) -> list[TensorInfo]:
        """Return what is stored: uint32, and two numbers of 16 bits for each group."""
        from mlx_model.parts.quantized import padded_width

        rows, width = shape[0], padded_width(shape[1], self.group_size)
        return [
            TensorInfo(name=f"{stem}.weight", shape=(rows, width * self.bits // 32), dtype="uint32"),
            TensorInfo(name=f"{stem}.scales", shape=(rows, width // self.group_size), dtype=FACTORS[dtype]),
            TensorInfo(name=f"{stem}.biases", shape=(rows, width // self.group_size), dtype=FACTORS[dtype]),
        ]

    def made(self, written: Written, name: str) -> Sequence[np.ndarray]:
        """Return weight, scales and biases."""
        from mlx_model.parts.quantized import quantize_weight

        return [_to_numpy(part) for part in quantize_weight(_to_mlx(written, name), self.group_size, self.bits)]

    def worst(self, packed: Written, original: Written, name: str) -> float:
        """Return a stored weight's largest error, in multiples of what rounding explains."""
        from mlx_model.machine.blas import mx
        from mlx_model.parts.quantized import restore_weight

        stem = name.removesuffix(".weight")
        codes, scales, biases = (_to_mlx(packed, f"{stem}.{part}") for part in self.parts)
        restored = restore_weight(codes, scales, biases, group_size=self.group_size, bits=self.bits)
        sizes = (mx.abs(part.astype(mx.float32)) for part in (scales, biases))
        scale, bias = (mx.repeat(size, self.group_size, axis=-1) for size in sizes)
        weight = _to_mlx(original, name).astype(mx.float32)
        padding = restored.shape[1] - weight.shape[1]
        error = mx.abs(restored - mx.pad(weight, [(0, 0), (0, padding)]))
        kept = FACTORS[original.dtype(name)]
        rounded = 2**self.bits * mx.maximum(scale, LEAST_NORMAL[kept]) + mx.maximum(bias, LEAST_NORMAL[kept])
        return float(np.array(error / (ROUNDING_STEPS * scale + HALF_UNIT[kept] * rounded)).max())


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8:
    """-127 to 127, and a scale for each output (mlx_model/parts/int8.py); inputs are rounded when it computes."""

    parts = ("weight", "scales")

    @property
    def words(self) -> str:
        """How weights are stored."""
        return "int8, inputs rounded as they come"

    def against(self, shape: tuple[int, ...], dtype: str) -> str:
        """Return that sums do not fit 32 bits, where they may not: room is not what it is for."""
        from mlx_model.parts.int8 import can_round

        return "" if can_round(shape) else f"a sum of {shape[1]} products of int8 may not fit 32 bits"

    def infos(self, stem: str, shape: tuple[int, ...], dtype: str) -> list[TensorInfo]:
        """Return what is stored: int8, and float32 scales."""
        return [
            TensorInfo(name=f"{stem}.weight", shape=shape, dtype="int8"),
            TensorInfo(name=f"{stem}.scales", shape=shape[:1], dtype="float32"),
        ]

    def made(self, written: Written, name: str) -> Sequence[np.ndarray]:
        """Return weight and scales."""
        from mlx_model.parts.int8 import round_weight

        return round_weight(_wide(written, name))

    def worst(self, packed: Written, original: Written, name: str) -> float:
        """Return a stored weight's largest error, in multiples of what rounding explains."""
        stem = name.removesuffix(".weight")
        codes, scales = (packed.read(f"{stem}.{part}") for part in self.parts)
        steps = scales[:, None].astype(np.float64)
        error = np.abs(codes * steps - _wide(original, name))
        return float((error / np.maximum(INT8_STEPS * steps, np.finfo(np.float64).tiny)).max())


def packings_of(settings: Mapping[str, Any]) -> dict[str, Packing]:
    """Return {module: how its weight is stored} of config.json's `quantization`."""
    modules: Any = settings["modules"]  # {name: bits} of a recipe, or the names of those that are stored alike
    if settings.get("mode") == INT8:
        return dict.fromkeys(modules, Int8())
    bits = modules if isinstance(modules, dict) else dict.fromkeys(modules, int(settings["bits"]))
    return {name: Affine(bits=each, group_size=settings["group_size"]) for name, each in bits.items()}


def _wide(written: Written, name: str) -> np.ndarray:
    return widen(written.read(name), written.dtype(name)).astype(np.float32)


def _to_mlx(written: Written, name: str) -> mx.array:
    from mlx_model.machine.blas import mx

    array = mx.array(written.read(name))
    return array.view(mx.bfloat16) if written.dtype(name) == "bfloat16" else array


def _to_numpy(array: mx.array) -> np.ndarray:
    from mlx_model.machine.blas import mx

    if array.dtype == mx.bfloat16:
        array = array.view(mx.uint16)
    return np.array(array)
