"""`mlx-funasr transcribe` of recordings that are heard as wholes: models, one call of the pipeline, what is written."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_model.commands.telling import about, complain, listening, runtime
from reports.console import progress_bar
from reports.streams import put

if TYPE_CHECKING:
    from mlx_model.pipelines.auto import Pipeline
    from mlx_model.text.results import Transcript

Given = dict[str, Any]  # options by their names on the command line


def transcribe_whole(
    model: Path,
    audio: list[Path],
    format: str,
    given: Given,
    option: list[str] | None,
    family: dict[str, Any],
    verbose: bool,
) -> None:
    """Print what recordings say; `family` are options of the recogniser's that the command line has names for."""
    from mlx_model.pipelines import options
    from mlx_model.text import formats

    pipe = opened(model, given)
    network = pipe.recognizer
    asked: dict[str, Any] = {"batch_size": given["--batch-size"], "batch_seconds": given["--batch-seconds"]}
    asked |= {"dither": given["--dither"] or 0.0, "seed": given["--seed"] or 0}
    whole = pipe.punctuator is not None or pipe.embedder is not None
    as_funasr = whole and bool(family["as_funasr"])
    asked |= listening(network, options.options_given(network, option, **_of_family(network, family, whole)))
    words = bool(given["--words"])
    needs_times = words or format in formats.NEED_TIMES
    sure = words or format in ("json", "ctm") or given["--html"] is not None
    asked |= {"times": needs_times, "confidence": sure, "nbest": given["--nbest"] or 0, "as_funasr": as_funasr or asked.get("as_funasr", False)}
    runtime(verbose, network)
