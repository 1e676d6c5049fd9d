"""`mlx-funasr align`: its options, and one call of a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlx_model.commands.telling import about, complain, runtime
from reports.console import AsFunasr, FamilyOptions, Json, progress_bar
from reports.streams import put


def align(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A converted MonotonicAligner (fa-zh).")],
    audio: Annotated[
        list[str], typer.Argument(metavar="AUDIO...", help="Recordings, folders of them, or a wav.scp.")
    ],
    text: Annotated[
        str,
        typer.Argument(metavar="TEXT", help="What is said: the text, @FILE, a file or a folder; lists are `KEY TEXT`."),
    ],
    batch_size: Annotated[int | None, typer.Option(help="At most so many recordings at once.")] = None,
    batch_seconds: Annotated[
        float | None, typer.Option(help="At most so much audio at once (bounds memory); 60, on a GPU 2560.")
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="text, json, tsv, srt, vtt, textgrid, ctm; text.")
    ] = None,
    option: FamilyOptions = None,
    as_funasr: AsFunasr = False,
    json: Json = False,
) -> None:
    """Say when the words of a known text are said; results come in the order given."""
    from mlx_model.pipelines import options
    from mlx_model.pipelines.known_texts import pairs
    from mlx_model.text import alignment
    from mlx_model.text.subtitles import CueLimits

    format = options.chosen_format(format, json, "text")
    options.check_ranges({"--batch-size": batch_size, "--batch-seconds": batch_seconds})
    given = pairs(audio, text)
    alignment.check_format(format, len(given))
    from mlx_model.loading import load_as
    from mlx_model.pipelines.align import align as align_each
    from mlx_model.roles import Aligner

    network = load_as(model, Aligner)
    asked = options.options_given(network, option, as_funasr=as_funasr or None)
    runtime(False, network)
    recordings, texts = [file for file, _ in given], [each for _, each in given]
    sizes = {"batch_size": batch_size, "batch_seconds": batch_seconds}
    with progress_bar("aligning", len(given)) as advance:
        results = align_each(network, recordings, texts, **sizes, **asked, progress=advance)
    put(alignment.document(format, results, CueLimits(), **about(network, format)), as_json=format == "json")
    complain("not aligned", results)
