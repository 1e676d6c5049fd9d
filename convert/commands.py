"""The commands `mlx-funasr inspect | convert`, each one call of an entry point here. mlx_funasr.py mounts them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import convert
from mlx_model.errors import UsageError
from reports.console import Base, Checkpoint, Json, Overwrite, Source, show, talk

Revision = Annotated[str | None, typer.Option(help="Pin a hub id to this revision.")]


def inspect_command(
    src: Source,
    revision: Revision = None,
    checkpoint: Checkpoint = None,
    base: Base = None,
    full: bool = False,
    json: Json = False,
) -> None:
    """Show the family, the sizes, and the fate of every tensor; convert nothing."""
    show(convert.inspect(src, revision=revision, checkpoint=checkpoint, base=base), json, full=full)


def convert_command(
    src: Source,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Directory to write; must not exist.")],
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "float32",
    bits: Annotated[int | None, typer.Option(help="Quantise the weights to 8, 6 or 4 bits.")] = None,
    group_size: Annotated[int | None, typer.Option(help="Weights that share a scale: 64 [default] or 32.")] = None,
    revision: Revision = None,
    checkpoint: Checkpoint = None,
    base: Base = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Convert a FunASR model to an MLX directory and verify it bit for bit."""
    if group_size is not None and bits is None:
        raise UsageError(f"--group-size {group_size} has no meaning without --bits: nothing is quantised")
    report = convert.convert(
        src, out, dtype=dtype, bits=bits, group_size=64 if group_size is None else group_size, overwrite=overwrite,
        revision=revision, checkpoint=checkpoint, base=base,
    )  # fmt: skip
    show(report, json)
    talk.print(f"Wrote {out}. Try: mlx-funasr {convert.command(report.family)} {out} AUDIO", highlight=False)
