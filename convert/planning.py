"""What a conversion will do, settled before the first byte is written: all checks, every tensor's fate.

Imports no torch, and mlx only where the target model is laid out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convert.architectures import Family
from convert.assets import modern, read_config, read_tokens
from convert.checkpoint import Checkpoint, open_checkpoint
from convert.cmvn import Cmvn, read_cmvn
from convert.dtypes import PRECISIONS, is_exact
from convert.identify import check_tensors, family_of_config
from convert.safetensors_file import TensorInfo
from convert.sources import Source
from convert.weight_map import Assignment, Shape
from mlx_model.config.sections import ModelConfig
from mlx_model.errors import AssetError, CheckpointError, ConfigError
from reports.environment import describe, file_sha256
from reports.schema import ConversionReport, TensorRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is known before the first byte is written."""

    source: Source
    family: Family
    config: ModelConfig
    tokens: list[str] | None
    checkpoint: Checkpoint
    assignments: list[Assignment]
    cmvn: dict[str, np.ndarray]
    model: Any

    @property
    def infos(self) -> list[TensorInfo]:
        """The tensors to write, CMVN first: names, shapes in MLX's layout, precisions."""
        found = [TensorInfo(name=name, shape=values.shape, dtype="float32") for name, values in self.cmvn.items()]
        for item in self.assignments:
            if item.target is not None:
                shape = item.op.shape(self.checkpoint.infos[item.source].shape)
                found.append(TensorInfo(name=item.target, shape=shape, dtype=self.config.dtype))
        return found


def make_plan(source: Source, dtype: str) -> Plan:
    """Return the plan for `source`, or raise what is wrong with it."""
    family = family_of_config(modern(source))
    tokens = read_tokens(source) if family.has_tokens else None
    config = read_config(source, family, None if tokens is None else len(tokens), dtype)
    checkpoint = open_checkpoint(source.weights, config=source.raw, evidence=family.evidence, inside=family.inside)
    source.notes.extend(checkpoint.notes)
    check_tensors(family, checkpoint.infos)
    shapes = {name: info.shape for name, info in checkpoint.infos.items()}
    if family.output_layer is not None:
        _check_vocabulary(source, family.output_layer, tokens or [], shapes)
    _check_blocks(config, len(shapes))
    model = family.model(config)
    if tokens is not None:
        model.set_tokens(tokens)  # what load would refuse is refused before a directory is made that does not load
    target = parameter_shapes(model)
    cmvn = _cmvn_tensors(source, family, config, target)
    assignments = family.weights.plan(shapes, target)
    _check_floats(checkpoint, assignments)
    _note_rounding(checkpoint, assignments, dtype, source.notes)
    return Plan(
        source=source, family=family, config=config, tokens=tokens, checkpoint=checkpoint,
        assignments=assignments, cmvn=cmvn, model=model,
    )  # fmt: skip


def parameter_shapes(model: Any) -> dict[str, Shape]:
    """Return the names and shapes of a model's parameters; nothing is evaluated, so nothing is allocated."""
    from mlx_model.machine.blas import tree_flatten

    leaves: Any = tree_flatten(model.parameters())
    return {name: tuple(array.shape) for name, array in leaves}


def _check_vocabulary(source: Source, output_layer: str, tokens: list[str], shapes: dict[str, Shape]) -> None:
    shape = shapes[output_layer]
    rows = shape[0] if shape else 1
    if rows != len(tokens):
        where = source.tokens or source.bpe_model or source.config
        raise AssetError(
            f"{where} has {len(tokens)} tokens, but the output layer {output_layer!r} has {rows} rows; "
            "FunASR would leave the layer random. Use the vocabulary the model was trained with"
        )


def _check_blocks(config: ModelConfig, tensors: int) -> None:
    for where, blocks in config.blocks().items():
        if blocks > tensors:
            raise ConfigError(f"{where}: {blocks} blocks, but the checkpoint has only {tensors} tensors")


def _check_floats(checkpoint: Checkpoint, assignments: Sequence[Assignment]) -> None:
    for item in assignments:
        dtype = checkpoint.infos[item.source].dtype
        if item.target is not None and not PRECISIONS[dtype].is_float:
            raise CheckpointError(
                f"tensor {item.source!r} is {dtype}; expected floating point (a quantised checkpoint?)"
            )


def _note_rounding(checkpoint: Checkpoint, assignments: Sequence[Assignment], dtype: str, notes: list[str]) -> None:
    kinds = {checkpoint.infos[item.source].dtype for item in assignments if item.target is not None}
    lossy = sorted(kind for kind in kinds if not is_exact(kind, dtype))
    if lossy:
        notes.append(f"{' and '.join(lossy)} weights are rounded to {dtype}, to nearest even")
    widened = sorted(kind for kind in kinds if kind != dtype and is_exact(kind, dtype))
    if widened:
        notes.append(f"{' and '.join(widened)} weights are widened to {dtype}, exactly")


def _cmvn_tensors(source: Source, family: Family, config: Any, target: dict[str, Shape]) -> dict[str, np.ndarray]:
    """Return the CMVN tensors and take their names off `target`: they are filled from am.mvn, not the checkpoint."""
    if source.cmvn is None or family.cmvn is None:
        return {}
    cmvn: Cmvn = read_cmvn(source.cmvn, config.frontend.output_size)
    tensors = dict(zip(family.cmvn, (cmvn.shift, cmvn.scale), strict=True))
    for name, values in tensors.items():
        if target.pop(name, None) != values.shape:
            raise CheckpointError(
                f"the {family.name} model has no {name!r} of shape {values.shape} for {source.cmvn.name}"
            )
    source.notes.append(
        f"{source.cmvn.name}: {cmvn.shift.size} values each of shift and scale -> {', '.join(tensors)} (float32)"
    )
    return tensors


def hashes(plan: Plan) -> dict[str, str]:
    """Return the sha256 of every source file, by its path in the model directory; elsewhere, by its whole path."""
    files = [*plan.checkpoint.files, *plan.source.files()]
    root = plan.source.directory
    named = {str(path.relative_to(root) if path.is_relative_to(root) else path): path for path in files}
    return {name: file_sha256(path) for name, path in named.items()}


def report(
    plan: Plan,
    *,
    output_path: Path | None,
    options: dict[str, Any],
    sha256: dict[str, str],
    quantization: dict[str, Any] | None = None,
) -> ConversionReport:
    """Return the facts of a conversion, or of one that was only planned."""
    infos = plan.checkpoint.infos
    rows = [
        TensorRow(
            source=item.source,
            target=item.target,
            op="drop" if item.target is None else item.op.name,
            shape=list(infos[item.source].shape),
            dtype=infos[item.source].dtype,
            reason=item.reason,
        )
        for item in plan.assignments
    ]
    return ConversionReport(
        family=plan.family.name,
        name=plan.source.name,
        source=plan.source.named,
        output=None if output_path is None else str(output_path),
        parameters=sum(info.size for info in infos.values()),
        converted_parameters=sum(infos[item.source].size for item in plan.assignments if item.target is not None),
        tensors=rows,
        sha256=sha256,
        options=options,
        config=_config_document(plan, quantization),
        notes=list(plan.source.notes),
        environment=describe(),
    )


def _config_document(plan: Plan, quantization: dict[str, Any] | None) -> dict[str, Any]:
    document = plan.config.to_dict()
    document["quantization"] = quantization
    return document
