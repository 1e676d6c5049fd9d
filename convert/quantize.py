"""Weights in fewer bits, a second step after a verified conversion. Imports mlx (through mlx_model), never torch.

Tensor by tensor: the verified weights are read back, packed (packing.py says how), and what that makes of each is
written in its place; everything else is copied bit for bit. Then all of it is compared with the originals again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convert.architectures import Family
from convert.packing import Packing
from convert.safetensors_file import SafetensorsWriter, TensorInfo, shards
from convert.verify import Written
from convert.weight_map import matches
from mlx_model.errors import OutputError, UsageError

BITS = (8, 6, 4)
GROUP_SIZES = (32, 64, 128)


def check_options(bits: int | None, group_size: int, *, int8: bool = False) -> None:
    """Raise UsageError for bits or group sizes that are not offered, or both kinds of quantisation at once."""
    if bits is not None and int8:
        raise UsageError(f"int8 and bits = {bits}: choose one; int8 rounds weights and inputs, bits weights alone")
    if bits is not None and bits not in BITS:
        raise UsageError(f"bits = {bits} is not supported; choose {', '.join(map(str, BITS))}, or leave it out")
    if bits is not None and group_size not in GROUP_SIZES:
        raise UsageError(f"group size {group_size} is not supported; choose {', '.join(map(str, GROUP_SIZES))}")


def choose_modules(model: Any, family: Family, packing: Packing, *, dtype: str) -> tuple[list[str], dict[str, str]]:
    """Return the modules to quantise, and those with a linear layer that stay, each with its reason."""
    from mlx_model.machine.blas import nn

    chosen, kept = [], {}
    for name, module in sorted(model.named_modules()):
        if not isinstance(module, nn.Linear):
            continue
        shape = module.weight.shape
        if any(matches(pattern, name) for pattern in family.protected):
            kept[name] = "protected: decides where tokens fire, or which token it is"
        elif reason := packing.against(shape, dtype):
            kept[name] = reason
        else:
            chosen.append(name)
    return chosen, kept


def quantize_files(source: Sequence[Path], out: Path, modules: Mapping[str, Packing], *, limit: int) -> list[Path]:
    """Write the quantised tensors into the directory `out` and return its files, verified.

    Args:
        source: the verified full-precision files.
        out: an empty directory.
        modules: {name of a module whose `weight` is quantised: how}.
        limit: largest file, in bytes.
    """
    written = Written(source)
    wanted = {f"{name}.weight": packing for name, packing in modules.items()}
    infos = [info for name in sorted(written.names) for info in _infos(written, name, wanted.get(name))]
    files = []
    for index, group in enumerate(shards(infos, limit)):
        path = out / f"quantized-{index}.safetensors"
        with SafetensorsWriter(path, group, {"format": "mlx"}) as writer:
            for info in writer.order:
                writer.write(info.name, _tensor(written, info.name, wanted))
        files.append(path)
    for difference in inexact(Written(files), written, modules):
        raise OutputError(f"verification failed: {difference}")
    return files


def _infos(written: Written, name: str, packing: Packing | None) -> list[TensorInfo]:
    shape, dtype = written.shape(name), written.dtype(name)
    if packing is None:
        return [TensorInfo(name=name, shape=shape, dtype=dtype)]
    return packing.infos(name.removesuffix(".weight"), shape, dtype)


def _tensor(written: Written, name: str, wanted: Mapping[str, Packing]) -> np.ndarray:
    """Return one tensor to store; a quantised weight's parts are each computed anew, to hold only one."""
    stem, _, part = name.rpartition(".")
    packing = wanted.get(f"{stem}.weight")
    if packing is None or part not in packing.parts:
        return written.read(name)
    return packing.made(written, f"{stem}.weight")[packing.parts.index(part)]


def inexact(quantised: Written, original: Written, modules: Mapping[str, Packing]) -> Iterator[str]:
    """Yield what of the quantised tensors the original and rounding do not explain; nothing where all is well.

    Every untouched tensor must be the original's bit for bit, every quantised weight as near as rounding leaves it.
    """
    wanted = {f"{name}.weight": packing for name, packing in modules.items()}
    known = {name: wanted.get(name) for name in sorted(original.names)}
    infos = [info for name, packing in known.items() for info in _infos(original, name, packing)]
    misshapen = {
        info.name for info in infos
        if info.name in quantised.names
        and (quantised.shape(info.name), quantised.dtype(info.name)) != (info.shape, info.dtype)
    }  # fmt: skip
    surplus = quantised.names ^ {info.name for info in infos} | misshapen | (wanted.keys() - original.names)
    if surplus:
        yield f"the written tensors differ by {sorted(surplus)[:5]}"
        return
    for name, packing in known.items():
        if packing is None and quantised.read(name).tobytes() != original.read(name).tobytes():
            yield f"{name!r} reads back differently after quantisation"
        elif packing is not None and not (worst := packing.worst(quantised, original, name)) <= 1.0:
            yield f"{name!r} is off by {worst:.2f} times what rounding explains"
