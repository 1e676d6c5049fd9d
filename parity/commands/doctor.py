"""The command `mlx-funasr doctor`; one call of `doctor.examine`. What converts comes in the context's `obj`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from reports.console import Json, leave, show_facts, stage_bars

SIGNS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red"), "note": ("·", "dim")}


def doctor_command(
    context: typer.Context,
    models: Annotated[list[Path] | None, typer.Argument(metavar="[MODEL]...", help="Converted directories.")] = None,
    json: Json = False,
) -> None:
    """Look at this installation, run the bundled speech as you would yours, and say what to do."""
    from parity.doctor import examine

    with stage_bars("examining"):
        document = examine(context.obj.converted, models or ())
    show_facts(document.pop("schema"), json, **document)
    if not json:
        show(document, Console())
    leave(document["verdict"] == "pass")


def show(document: Mapping[str, Any], console: Console) -> None:
    """Print one line for each finding, advice below it."""
    for finding in document["findings"]:
        sign, style = SIGNS[finding["status"]]
        console.print(Text.assemble((sign, style), f" {finding['name']}: {finding['found']}"), soft_wrap=True)
        if finding["advice"]:
            console.print(Text(f"    {finding['advice']}", style="dim"), soft_wrap=True)
    console.print(Text(f"{document['verdict'].upper()}: " + _summary(document)), soft_wrap=True)


def _summary(document: Mapping[str, Any]) -> str:
    counts = {status: sum(row["status"] == status for row in document["findings"]) for status in SIGNS}
    return f"{counts['ok']} in order, {counts['warn']} to look at, {counts['fail']} wrong"
