"""LoRA: low-rank matrices beside the weights they adapt, merged into them where the configuration says by how much.

FunASR's layers (models/lora/layers.py, from loralib) add B A alpha / rank to what a linear layer computes; in its
attention one `lora_A` serves the enabled ones of q, k and v, each with `rank` rows. peft's names are known as well. The
product is computed in float64 and rounded once to the weight's own precision. Pure numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convert.dtypes import PRECISIONS, cast, widen
from convert.unwrap import Tensor
from mlx_model.errors import CheckpointError, ConfigError

LORA_A, LORA_B = ".lora_A", ".lora_B"
ANY_LORA = ".lora_"
DEFAULT_RANK, DEFAULT_ALPHA = 8, 16  # of FunASR's SANMEncoder and ParaformerSANMDecoder, where lora_list is set
# Layers that hold several projections in one weight: the letters of lora_list, in the order of their rows.
MERGED_LINEAR = {"linear_q_k_v": "qkv", "linear_k_v": "kv"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What the configuration says about LoRA: rank, alpha, and the letters of lora_list (None where it is not set)."""

    rank: int
    alpha: float
    letters: str | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MergedTensor:
    """A weight with its LoRA matrices merged in; `rows`: for each group of `rank` rows of A, the rows it adapts."""

    name: str
    weight: Tensor
    a: Tensor
    b: Tensor
    scaling: Scaling
    rows: tuple[slice, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's shape."""
        return self.weight.shape

    @property
    def dtype(self) -> str:
        """The weight's precision."""
        return self.weight.dtype

    def read(self) -> np.ndarray:
        """Return W + B A alpha / rank, computed in float64 and rounded once to the precision of W."""
        merged, a, b = (_float64(item) for item in (self.weight, self.a, self.b))
        rank, begin = self.scaling.rank, 0
        for index, rows in enumerate(self.rows):
            count = rows.stop - rows.start
            product = b[begin : begin + count] @ a[index * rank : (index + 1) * rank]
            merged[rows] += product * (self.scaling.alpha / rank)
            begin += count
        return cast(merged, "float64", self.dtype, self.name)

    def release(self) -> None:
        """Give the memory of all three back."""
        for item in (self.weight, self.a, self.b):
            item.release()


def without_peft(name: str) -> str:
    """Return the name that a tensor has in loralib's manner, where peft wrote it; any other name as it is."""
    name = name.replace(".base_layer.", ".")
    for matrix in (LORA_A, LORA_B):
        front, found, rest = name.partition(matrix + ".")
        if found and rest.endswith("weight") and rest.count(".") <= 1:
            return front + matrix
    return name


def merge(path: Path, tensors: dict[str, Any], config: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return the tensors with LoRA matrices merged into the weights they adapt; unchanged where there are none.

    Args:
        path: for errors.
        tensors: name -> tensor, names as FunASR's.
        config: config.yaml, which says rank and alpha.
        notes: gets a line about what was merged.

    Raises:
        CheckpointError: LoRA of another kind, of unknown alpha, or without the weights.
        ConfigError: rank or alpha are no numbers.
    """
    parts = [name for name in tensors if ANY_LORA in name]
    if not parts:
        return tensors
    odd = next((name for name in parts if not name.endswith((LORA_A, LORA_B))), None)
    if odd is not None:
        raise CheckpointError(f"{path} holds {odd!r}, LoRA of a kind that is not merged here; {_how_to_merge()}")
    owners = list(dict.fromkeys(name[: -len(LORA_A)] for name in parts))
    merged = {owner: _merged(path, owner, tensors, config) for owner in owners}
    scalings = {(item.scaling.rank, item.scaling.alpha) for item in merged.values()}
    notes.append(
        f"LoRA merged into {len(merged)} weights ({', '.join(f'rank {r}, alpha {a:g}' for r, a in sorted(scalings))}): "
        "W + B A alpha / rank, computed in float64 and rounded once; these are the source that was compared"
    )
    if any(item.scaling.letters is None for item in merged.values()):
        notes.append("FunASR 1.4.16 builds LoRA only where lora_list is set: with this config.yaml it would drop it")
    kept = {name: tensor for name, tensor in tensors.items() if ANY_LORA not in name}
    return {name: merged.get(name.removesuffix(".weight"), tensor) if name.endswith(".weight") else tensor
            for name, tensor in kept.items()}  # fmt: skip


def _merged(path: Path, owner: str, tensors: Mapping[str, Any], config: Mapping[str, Any]) -> MergedTensor:
    missing = [name for name in (owner + LORA_A, owner + LORA_B, f"{owner}.weight") if name not in tensors]
    if missing:
        raise CheckpointError(
            f"{path} holds LoRA matrices for {owner!r} without {missing[0]!r}: an adapter alone is no model; "
            f"{_how_to_merge()}"
        )
    scaling = _scaling(config, owner)
    if scaling is None:
        raise CheckpointError(
            f"{path} holds LoRA matrices beside the weights ({owner + LORA_A!r}, ...), and config.yaml does not say "
            f"their rank and alpha: put `lora_rank:` and `lora_alpha:` of the training under {_section_name(owner)}, "
            f"or {_how_to_merge()}"
        )
    a, b, weight = (tensors[name] for name in (owner + LORA_A, owner + LORA_B, f"{owner}.weight"))
    for part, tensor in (("lora_A", a), ("lora_B", b), ("weight", weight)):
        if len(tensor.shape) != 2 or not PRECISIONS[tensor.dtype].is_float:
            raise CheckpointError(f"{path}: {owner}.{part} is {tensor.dtype} {tensor.shape}, expected a float matrix")
    rows = _rows(owner, weight.shape, a.shape, b.shape, scaling)
    if rows is None:
        raise CheckpointError(
            f"{path}: LoRA of {owner!r} does not fit: lora_A {a.shape}, lora_B {b.shape}, weight {weight.shape}, while "
            f"config.yaml says rank {scaling.rank} for {scaling.letters or 'the whole layer'}; {_how_to_merge()}"
        )
    return MergedTensor(name=f"{owner}.weight", weight=weight, a=a, b=b, scaling=scaling, rows=rows)


def _rows(
    owner: str, weight: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...], scaling: Scaling
) -> tuple[slice, ...] | None:
    """Return which rows of the weight each group of `rank` rows of A adapts, or None where the shapes do not fit."""
    if a[1] != weight[1] or b[1] != scaling.rank or a[0] % scaling.rank:
        return None
    if a[0] == scaling.rank and b[0] == weight[0]:
        return (slice(0, weight[0]),)
    letters = MERGED_LINEAR.get(owner.rpartition(".")[2], "")
    if not letters or weight[0] % len(letters):
        return None
    size = weight[0] // len(letters)
    enabled = [index for index, letter in enumerate(letters) if scaling.letters is None or letter in scaling.letters]
    if a[0] != scaling.rank * len(enabled) or b[0] != size * len(enabled):
        return None
    return tuple(slice(index * size, (index + 1) * size) for index in enabled)


def _section_name(owner: str) -> str:
    return f"{owner.partition('.')[0]}_conf"


def _scaling(config: Mapping[str, Any], owner: str) -> Scaling | None:
    """Return rank and alpha from the part's own section, else from the top of config.yaml."""
    name = _section_name(owner)
    for where, section in ((name, config.get(name)), ("config.yaml", config)):
        if not isinstance(section, Mapping):
            continue
        nested = section.get("lora_conf")
        inner = nested if isinstance(nested, Mapping) else {}
        letters = section.get("lora_list")
        fallback = (None, None) if letters is None else (DEFAULT_RANK, DEFAULT_ALPHA)
        rank = section.get("lora_rank", section.get("lora_r", inner.get("r", fallback[0])))
        alpha = section.get("lora_alpha", inner.get("lora_alpha", fallback[1]))
        if rank is None or alpha is None:
            continue
        if type(rank) is not int or rank < 1:
            raise ConfigError(f"{where}: the rank of LoRA is {rank!r}, expected a whole number of at least 1")
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
            raise ConfigError(f"{where}: lora_alpha is {alpha!r}, expected a number")
        if letters is not None and not _are_letters(letters):
            raise ConfigError(f"{where}: lora_list is {letters!r}, expected letters out of q, k, v, o")
        return Scaling(rank=rank, alpha=float(alpha), letters=None if letters is None else "".join(letters))
    return None


def _are_letters(value: Any) -> bool:
    return isinstance(value, (str, list)) and all(isinstance(item, str) and item in tuple("qkvo") for item in value)


def _how_to_merge() -> str:
    return (
        "merge them before converting: W + lora_B @ lora_A * alpha / rank for each layer (peft: merge_and_unload()), "
        "and save the state dict without lora_ tensors"
    )


def _float64(tensor: Tensor) -> np.ndarray:
    return widen(tensor.read(), tensor.dtype).astype(np.float64)
