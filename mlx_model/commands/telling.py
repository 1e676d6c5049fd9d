"""What every command that runs a model says beside its results: what computes, and what could not be used."""

from __future__ import annotations

from typing import Any

import typer

from reports.console import talk


def about(model: Any, format: str) -> dict[str, Any]:
    """What a JSON document says beside its results."""
    from mlx_model.machine.numerics import numerics

    return {"numerics": numerics(model)} if format == "json" else {}


def complain(verdict: str, results: list[Any]) -> None:
    """Say what there is to say of the files, and what could not be used.

    Leave with 2 where there was nothing else, with 1 where there was.
    """
    from mlx_model.files.names import shown

    for result in results:
        for note in result.notes:
            talk.print(f"note: {shown(result.path)}: {note}", highlight=False, emoji=False, soft_wrap=True)
    failed = [result for result in results if result.error]
    for result in failed:
        talk.print(f"{verdict}: {result.error}", style="red", highlight=False, emoji=False, soft_wrap=True)
    if failed:
        raise typer.Exit(2 if len(failed) == len(results) == 1 else 1)


def listening(model: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return a family's options as they are; say once what there is to say of the hotwords among them."""
    from mlx_model.pipelines.options import options_from

    found = model.hotwords(options_from(model, options)) if "hotwords" in options else None
    for note in () if found is None else found.notes:
        talk.print(f"note: {note}", highlight=False, emoji=False, soft_wrap=True)
    return options


def runtime(verbose: bool, model: Any) -> None:
    """Say once what runs the network, or warn once that it is slow for want of a BLAS; and that it is not exact."""
    from mlx_model.machine.blas import status
    from mlx_model.machine.numerics import float32_warning, in_words, numerics

    if verbose:
        talk.print(in_words(numerics(model)), highlight=False, soft_wrap=True)
    for warning in (None if verbose else status().warning(), float32_warning()):
        if warning:
            talk.print(f"warning: {warning}", style="yellow", highlight=False, soft_wrap=True)
