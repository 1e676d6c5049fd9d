"""MLX's affine quantisation, a second step after a verified conversion. Imports mlx (through mlx_model), never torch.

Tensor by tensor: the verified weights are read back, quantised as nn.quantize does (parts.quantized.quantize_weight:
zeros fill the last group of a row), and written beside them as `weight` (packed uint32), `scales` and `biases`;
everything else is copied bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convert.architectures import Family
from convert.dtypes import PRECISIONS
from convert.safetensors_file import SafetensorsWriter, TensorInfo, shards
from convert.verify import Written
from convert.weight_map import matches
from mlx_model.errors import OutputError, UsageError

if TYPE_CHECKING:
    import mlx.core as mx

BITS = (8, 6, 4)
GROUP_SIZES = (32, 64, 128)
# Error allowed per weight, in quantisation steps: half from rounding, up to one because mx.quantize moves a group's
# range so that zero stays exact. Scales and biases are themselves rounded to 16 bits, by half a unit in the last place.
ROUNDING_STEPS = 1.5
FACTORS = {"float32": "float16", "float16": "float16", "bfloat16": "bfloat16"}  # what scales and biases are kept in
HALF_UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # relative, from the least normal number on; below it, of that
LEAST_NORMAL = {"float16": 2.0**-14, "bfloat16": 2.0**-126}


def check_options(bits: int | None, group_size: int) -> None:
    """Raise UsageError for bits or group sizes that are not offered."""
    if bits is not None and bits not in BITS:
        raise UsageError(f"bits = {bits} is not supported; choose {', '.join(map(str, BITS))}, or leave it out")
    if bits is not None and group_size not in GROUP_SIZES:
        raise UsageError(f"group size {group_size} is not supported; choose {', '.join(map(str, GROUP_SIZES))}")


def choose_modules(
    model: Any, family: Family, *, bits: int, group_size: int, dtype: str
) -> tuple[list[str], dict[str, str]]:
    """Return the modules to quantise, and those with a linear layer that stay, each with its reason."""
    from mlx_model.machine.blas import nn
    from mlx_model.parts.quantized import quantizing_pays

    chosen, kept = [], {}
    for name, module in sorted(model.named_modules()):
        if not isinstance(module, nn.Linear):
            continue
        shape = module.weight.shape
        if any(matches(pattern, name) for pattern in family.protected):
            kept[name] = "protected: decides where tokens fire, or which token it is"
        elif not quantizing_pays(shape, PRECISIONS[dtype].storage.itemsize, group_size=group_size, bits=bits):
            kept[name] = f"{bits} bits in groups of {group_size} take no less room at input width {shape[1]}"
        else:
            chosen.append(name)
    return chosen, kept


def quantize_files(
    source: Sequence[Path], out: Path, modules: Mapping[str, int], *, group_size: int, limit: int
) -> list[Path]:
    """Write the quantised tensors into the directory `out` and return its files, verified.

    Args:
        source: the verified full-precision files.
        out: an empty directory.
        modules: {name of a module whose `weight` is quantised: 8, 6 or 4 bits}.
        group_size: weights that share one scale and bias.
        limit: largest file, in bytes.
    """
    written = Written(source)
    wanted = {f"{name}.weight": bits for name, bits in modules.items()}
    infos = [info for name in sorted(written.names) for info in _infos(written, name, wanted.get(name), group_size)]
    files = []
    for index, group in enumerate(shards(infos, limit)):
        path = out / f"quantized-{index}.safetensors"
        with SafetensorsWriter(path, group, {"format": "mlx"}) as writer:
            for info in writer.order:
                writer.write(info.name, _tensor(written, info.name, wanted, group_size))
        files.append(path)
    for difference in inexact(Written(files), written, modules, group_size):
        raise OutputError(f"verification failed: {difference}")
    return files


def _infos(written: Written, name: str, bits: int | None, group_size: int) -> list[TensorInfo]:
    shape, dtype = written.shape(name), written.dtype(name)
    if bits is None:
        return [TensorInfo(name=name, shape=shape, dtype=dtype)]
    from mlx_model.parts.quantized import padded_width

    stem, rows, width = name.removesuffix(".weight"), shape[0], padded_width(shape[1], group_size)
    return [
        TensorInfo(name=name, shape=(rows, width * bits // 32), dtype="uint32"),
        TensorInfo(name=f"{stem}.scales", shape=(rows, width // group_size), dtype=FACTORS[dtype]),
        TensorInfo(name=f"{stem}.biases", shape=(rows, width // group_size), dtype=FACTORS[dtype]),
    ]


def _tensor(written: Written, name: str, wanted: Mapping[str, int], group_size: int) -> np.ndarray:
    """Return one tensor to store; a quantised weight's three parts are each computed anew, to hold only one."""
    stem, _, part = name.rpartition(".")
    weight = f"{stem}.weight"
    if weight not in wanted or part not in ("weight", "scales", "biases"):
        return written.read(name)
    parts = _quantize(written, weight, wanted[weight], group_size)
    return _to_numpy(parts[("weight", "scales", "biases").index(part)])


def _quantize(written: Written, weight: str, bits: int, group_size: int) -> tuple[mx.array, mx.array, mx.array]:
    from mlx_model.parts.quantized import quantize_weight

    return quantize_weight(_to_mlx(written, weight), group_size, bits)


def _to_mlx(written: Written, name: str) -> mx.array:
    from mlx_model.machine.blas import mx

    array = mx.array(written.read(name))
    return array.view(mx.bfloat16) if written.dtype(name) == "bfloat16" else array


def _to_numpy(array: mx.array) -> np.ndarray:
    from mlx_model.machine.blas import mx

    if array.dtype == mx.bfloat16:
        array = array.view(mx.uint16)
    return np.array(array)


def inexact(quantised: Written, original: Written, modules: Mapping[str, int], group_size: int) -> Iterator[str]:
    """Yield what of the quantised tensors the original and rounding do not explain; nothing where all is well.

    Every untouched tensor must be the original's bit for bit, every quantised weight within one step of it.
    """
    wanted = {f"{name}.weight": bits for name, bits in modules.items()}
    known = {name: wanted.get(name) for name in sorted(original.names)}
    infos = [info for name, bits in known.items() for info in _infos(original, name, bits, group_size)]
    misshapen = {
        info.name for info in infos
        if info.name in quantised.names
        and (quantised.shape(info.name), quantised.dtype(info.name)) != (info.shape, info.dtype)
    }  # fmt: skip
    surplus = quantised.names ^ {info.name for info in infos} | misshapen | (wanted.keys() - original.names)
    if surplus:
        yield f"the written tensors differ by {sorted(surplus)[:5]}"
        return
    for name, bits in known.items():
        if bits is None and quantised.read(name).tobytes() != original.read(name).tobytes():
            yield f"{name!r} reads back differently after quantisation"
        elif bits is not None and not (worst := _worst(quantised, original, name, bits, group_size)) <= 1.0:
            yield f"{name!r} is off by {worst:.2f} times what rounding explains"


def _worst(quantised: Written, original: Written, name: str, bits: int, group_size: int) -> float:
    """Return a quantised weight's largest error, in multiples of what rounding explains."""
    from mlx_model.machine.blas import mx
    from mlx_model.parts.quantized import restore_weight

    stem = name.removesuffix(".weight")
    packed, scales, biases = (_to_mlx(quantised, f"{stem}.{part}") for part in ("weight", "scales", "biases"))
    restored = restore_weight(packed, scales, biases, group_size=group_size, bits=bits)
    scale, bias = (mx.repeat(mx.abs(part.astype(mx.float32)), group_size, axis=-1) for part in (scales, biases))
    weight = _to_mlx(original, name).astype(mx.float32)
    padding = restored.shape[1] - weight.shape[1]
    error = mx.abs(restored - mx.pad(weight, [(0, 0), (0, padding)]))
    kept = FACTORS[original.dtype(name)]
    rounded = 2**bits * mx.maximum(scale, LEAST_NORMAL[kept]) + mx.maximum(bias, LEAST_NORMAL[kept])
    return float(np.array(error / (ROUNDING_STEPS * scale + HALF_UNIT[kept] * rounded)).max())
