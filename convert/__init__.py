"""FunASR model directory -> MLX model directory, every tensor accounted for. See README.md beside this file.

Importing this package imports neither torch nor mlx: the work is done by pipeline.py, loaded at the first call.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.schema import ConversionReport

__all__ = ["command", "convert", "inspect"]


def command(family: str) -> str:
    """Return the command that uses a converted model of this family (as `ConversionReport.family` names it).

    `{}` in it stands for the model.
    """
    from convert.architectures import TABLES

    usage = next(item.usage for item in TABLES if item.name == family)
    given = "AUDIO" if usage.given.endswith(".wav") else "TEXT"
    return f"{usage.command} {{}} {given}{usage.more}"


def convert(
    src: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    dtype: str = "float32",
    bits: int | None = None,
    group_size: int = 64,
    int8: bool = False,
    overwrite: bool = False,
    revision: str | None = None,
    checkpoint: str | None = None,
    base: str | os.PathLike[str] | None = None,
) -> ConversionReport:
    """Convert `src` into the MLX directory `out` and return what was done (also stored as out/conversion.json).

    Args:
        src: a FunASR model directory, a trainer's folder, a weight file beside its config, a hub id (`iic/...` on
            ModelScope, `hf:org/name` on Hugging Face) or a short name of FunASR's, with an optional `@revision`.
        out: directory to create. It appears when it is whole, or not at all.
        dtype: float32, float16 or bfloat16; CMVN stays float32.
        bits: 8, 6 or 4 quantises the linear layers after the conversion was verified; None leaves them.
        group_size: 64, 32 or 128, for `bits`.
        int8: linear layers get weights of int8 and round their inputs as they come, instead of `bits`.
        overwrite: replace `out` if it is an earlier conversion; nothing else is ever replaced.
        revision: of a hub id; the same as `@revision`.
        checkpoint: name of the weights in a folder that holds several; left out, the one FunASR's AutoModel takes.
        base: directory or hub id of the model that training began with, for what is missing beside the weights.

    Raises:
        mlx_model.errors.MlxFunasrError: one clear line; nothing is left behind.
    """
    from convert import pipeline

    return pipeline.convert(
        src, Path(out), dtype=dtype, bits=bits, group_size=group_size, int8=int8, overwrite=overwrite,
        revision=revision, checkpoint=checkpoint, base=base,
    )  # fmt: skip


def inspect(
    src: str | os.PathLike[str],
    *,
    revision: str | None = None,
    checkpoint: str | None = None,
    base: str | os.PathLike[str] | None = None,
) -> ConversionReport:
    """Return the family, sizes and the fate of every tensor of `src`; nothing is written (`output` is None).

    Arguments are those of `convert`.

    Raises:
        mlx_model.errors.MlxFunasrError: whatever would make `convert` fail before it writes.
    """
    from convert import pipeline

    return pipeline.inspect(src, revision=revision, checkpoint=checkpoint, base=base)
