"""A converted model written again with fewer bits, module by module as a recipe says. Imports mlx, never torch."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convert import output
from convert.card import precision_of, with_precision
from convert.packing import packings_of
from convert.pipeline import SHARD_BYTES, name_parts, write_last
from convert.quantize import BITS, check_options, quantize_files
from convert.verify_conversion import read_conversion
from mlx_model.errors import UsageError
from mlx_model.files.destination import staged
from mlx_model.loading import read_config
from reports.writing import write_json, write_text

REWRITTEN = ("config.json", output.MARKER, "README.md", "model.safetensors.index.json")


def check_source(model: Path) -> None:
    """Raise UsageError where a directory is not a conversion that can be quantised."""
    if not output.is_conversion(model):
        raise UsageError(f"{model} is no conversion of ours; make one with `mlx-funasr convert SRC {model}` first")
    config = read_config(model)
    read_conversion(model)
    if config.get("quantization") is not None:
        raise UsageError(f"{model} is quantised already ({precision_of(config)}); give the unquantised conversion")


def check(model: Path, out: Path, levels: Sequence[int], group_size: int, *, overwrite: bool) -> None:
    """Raise what `requantize` would, before hours of measuring."""
    check_source(model)
    for bits in levels:
        check_options(bits, group_size)
    output.check_target(out, model, overwrite=overwrite)


def requantize(
    model: Path, out: Path, modules: Mapping[str, int], *, group_size: int, about: str, overwrite: bool = False
) -> Path:
    """Write `model` to `out` with the named modules quantised, everything else copied, verified as `convert` does.

    Args:
        model: an unquantised conversion.
        out: directory to write.
        modules: {name of a linear layer: 8, 6 or 4 bits}, at least one.
        group_size: weights that share a scale and a bias.
        about: one sentence on how the recipe was found, for the model card and conversion.json.
        overwrite: replace an earlier conversion.

    Raises:
        UsageError: `model` is no unquantised conversion of ours, or bits and group size are none that are offered.
        OutputError: `out` may not be written, or what was written reads back differently.
    """
    check(model, out, sorted(set(modules.values())), group_size, overwrite=overwrite)
    files = sorted(model.glob("*.safetensors"))
    output.check_space(out, sum(file.stat().st_size for file in files))
    settings = {"bits": min(modules.values()), "group_size": group_size, "modules": dict(sorted(modules.items()))}
    with staged(out, overwrite=overwrite, apart_from=[model]) as stage:
        name_parts(quantize_files(files, stage, packings_of(settings), limit=SHARD_BYTES))
        for item in model.iterdir():
            if item.is_file() and item.name not in REWRITTEN and item not in files:
                shutil.copyfile(item, stage / item.name)
        _describe(model, out, stage, settings, about)
    return out


def _describe(model: Path, out: Path, stage: Path, settings: dict[str, Any], about: str) -> None:
    before = read_conversion(model)
    counts = {str(bits): list(settings["modules"].values()).count(bits) for bits in BITS}
    after = dataclasses.replace(
        before,
        output=str(out),
        options={**before.options, "modules_by_bits": counts, "group_size": settings["group_size"]},
        config={**before.config, "quantization": settings},
        notes=[*before.notes, about],
    )
    card = (model / "README.md").read_text("utf-8").rstrip()
    card = with_precision(card, precision_of(before.config), precision_of(after.config))
    write_text(stage / "README.md", f"{card}\n\n## Precision\n\n{about}\n")
    write_last(stage, after)


def write_document(out: Path, document: Mapping[str, Any]) -> Path:
    """Write how a recipe was found beside the model it made."""
    return write_json(out / "recipe.json", document)
