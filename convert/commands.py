"""The commands `mlx-funasr inspect | convert | upload | verify`, each one call of an entry point here.

mlx_funasr.py mounts them.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import convert
from convert.output import check_target
from mlx_model.errors import UsageError
from mlx_model.files.destination import reserved
from reports.console import (
    SOURCE,
    Base,
    Checkpoint,
    Json,
    Overwrite,
    Source,
    folder,
    leave,
    show,
    show_facts,
    talk,
)
from reports.streams import put

Private = Annotated[bool, typer.Option("--private", help="Make the repository a private one, if it is made here.")]
Revision = Annotated[str | None, typer.Option(help="Pin a hub id to this revision.")]


def inspect_command(
    src: Annotated[str | None, typer.Argument(metavar="SRC", help=SOURCE)] = None,
    list_models: Annotated[
        bool, typer.Option("--list-models", help="Instead of a source: FunASR's short names, and which convert.")
    ] = False,
    revision: Revision = None,
    checkpoint: Checkpoint = None,
    base: Base = None,
    full: bool = False,
    json: Json = False,
) -> None:
    """Show the family, the sizes, and the fate of every tensor; convert nothing."""
    if list_models:
        given = {"SRC": src, "--revision": revision, "--checkpoint": checkpoint, "--base": base, "--full": full}
        if useless := [name for name, value in given.items() if value not in (None, False)]:
            raise UsageError(f"{', '.join(useless)} has no meaning beside --list-models, which reads no source")
        return _show_names(json)
    if src is None:
        raise UsageError("SRC is missing: what to inspect; --list-models shows the names that FunASR has for models")
    show(convert.inspect(src, revision=revision, checkpoint=checkpoint, base=base), json, full=full)


def _show_names(as_json: bool) -> None:
    """Print the short names: one JSON document, or a table."""
    from convert.names import list_models

    names = list_models()
    show_facts("models/1", as_json, models=[asdict(name) for name in names])
    if as_json:
        return
    rows = [
        (name.name, name.modelscope or "", name.hugging_face or "", name.funasr_class, "yes" if name.family else "no")
        for name in names
    ]
    from rich.console import Console

    if not Console().is_terminal:  # a table's cells would be broken over lines, and what reads a pipe wants none
        put("\n".join("\t".join(row) for row in rows))
        return
    from reports.tables import table

    made = table("name", (), "ModelScope", "Hugging Face (hf:NAME)", "class", "converts")
    made.columns[0].no_wrap = True  # to be copied
    for row in rows:
        made.add_row(*row)
    Console().print(made)


def convert_command(
    src: Source,
    out: Annotated[Path, typer.Argument(metavar="OUT", parser=folder, help="Directory to write; must not exist.")],
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "float32",
    bits: Annotated[int | None, typer.Option(help="Quantise the weights to 8, 6 or 4 bits.")] = None,
    group_size: Annotated[int | None, typer.Option(help="Weights that share a scale: 64 [default] or 32.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Products of weights and inputs in 8 bits, for CPUs.")] = False,
    revision: Revision = None,
    checkpoint: Checkpoint = None,
    base: Base = None,
    overwrite: Overwrite = False,
    upload: Annotated[str | None, typer.Option(metavar="REPO", help="Then upload it to ORG/NAME, as `upload`.")] = None,
    json: Json = False,
) -> None:
    """Convert a FunASR model to an MLX directory and verify it bit for bit."""
    if group_size is not None and bits is None:
        raise UsageError(f"--group-size {group_size} has no meaning without --bits: nothing is quantised")
    check_target(out, Path(src) if os.path.exists(src) else None, overwrite=overwrite)
    with reserved(out):  # before MLX is loaded
        if upload is not None:
            from convert.upload import check_access

            check_access(upload)  # before the work, not after it
        report = convert.convert(
            src, out, dtype=dtype, bits=bits, group_size=64 if group_size is None else group_size, int8=int8,
            overwrite=overwrite, revision=revision, checkpoint=checkpoint, base=base,
        )  # fmt: skip
    show(report, json)
    talk.print(f"Wrote {out}. Try: mlx-funasr {convert.command(report.family).format(out)}", highlight=False)
    if upload is not None:
        from convert.upload import upload as send

        talk.print(f"Uploaded: {send(out, upload).url}", highlight=False, soft_wrap=True)
    else:
        from convert.card import precision_of, suggested_repository

        name = suggested_repository(report.name, precision_of(report.config))
        talk.print(f"To share it: mlx-funasr upload {out} {name}", highlight=False, soft_wrap=True)


def upload_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A converted directory.")],
    repo: Annotated[str, typer.Argument(metavar="REPO", help="ORG/NAME on Hugging Face; made where there is none.")],
    parity: Annotated[Path | None, typer.Option(help="Attach this parity run of MODEL: its --out.")] = None,
    cer: Annotated[Path | None, typer.Option(help="Attach this `cer` run of MODEL: its --out.")] = None,
    private: Private = False,
    revision: Annotated[str | None, typer.Option(help="Commit to this branch instead of main.")] = None,
    json: Json = False,
) -> None:
    """Upload a conversion to Hugging Face, its proof attached, in one commit."""
    from convert.upload import upload

    made = upload(model, repo, parity=parity, cer=cer, private=private, revision=revision)
    show_facts("upload/1", json, **asdict(made))
    if not json:
        put(made.url)
    talk.print(f"{len(made.files)} files in commit {made.commit[:12]} on {made.revision}", highlight=False)


def verify_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A converted directory, or ORG/NAME on Hugging Face.")],
    source: Annotated[str | None, typer.Option(metavar="SRC", help="Compare with this source, bit for bit.")] = None,
    revision: Annotated[str | None, typer.Option(help="Of a repository.")] = None,
    json: Json = False,
) -> None:
    """Check a conversion again: its files, and its source where that is at hand."""
    from convert.verify_conversion import verify_conversion

    found = verify_conversion(model, source=source, revision=revision)
    show_facts("verify/1", json, verdict=found.verdict, **asdict(found))
    for check in found.checks if not json else []:
        put(f"{check.status:8}{check.name}: {check.detail}")
    leave(found.verdict == "pass")
