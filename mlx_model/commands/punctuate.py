"""`mlx-funasr punctuate`: its options, and one call of a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mlx_model.commands.telling import about, runtime
from reports.console import AsFunasr, FamilyOptions, Json, progress_bar
from reports.streams import put


def punctuate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A converted CTTransformer (ct-punc).")],
    text: Annotated[
        list[str], typer.Argument(metavar="TEXT...", help="Texts; @FILE has one a line, - reads them from a pipe.")
    ],
    format: Annotated[str | None, typer.Option(help="text (a line each) or json; text.")] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Texts are pieces of one, printed as they come; needs a streaming model.")
    ] = False,
    option: FamilyOptions = None,
    as_funasr: AsFunasr = False,
    json: Json = False,
) -> None:
    """Put punctuation into texts that have none; results come in the order given."""
    from mlx_model.pipelines import options
    from mlx_model.pipelines import punctuate as engine

    format = options.chosen_format(format, json, "text")
    engine.check_format(format)
    from mlx_model.loading import load_as
    from mlx_model.roles import Punctuator, StreamingPunctuator

    role: Any = StreamingPunctuator if stream else Punctuator
    network = load_as(model, role)
    asked: dict[str, Any] = {
        "options": options.options_from(network, options.options_of_text(network, option or ())),
        "as_funasr": as_funasr,
    }
    runtime(False, network)
    if stream:
        results = []
        for piece in engine.stream(network, engine.texts_of(text), **asked):
            if format == "text":
                print(piece.text, end="", flush=True)
            results.append(piece)
        put("" if format == "text" else engine.document(format, results, **about(network, format)), as_json=True)
        return
    texts = list(engine.texts_of(text))
    with progress_bar("punctuating", len(texts)) as advance:
        results = network.punctuate(texts, **asked, progress=advance)
    put(engine.document(format, results, **about(network, format)), as_json=format == "json")
