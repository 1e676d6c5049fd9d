"""`mlx-funasr speakers embed|verify|diarize`: their options, and one call each; `score` is parity's."""

from __future__ import annotations

import json as documents
from pathlib import Path
from typing import Annotated, Any

import typer

from mlx_model.commands.telling import about, complain, runtime
from reports.console import Json, leave, progress_bar, show_facts
from reports.streams import put

app = typer.Typer(no_args_is_help=True, help="Whose voice it is, and who spoke when.")
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A converted CAM++ or ERes2NetV2.")]


def _opened(model: Path) -> Any:
    from mlx_model.loading import load_as
    from mlx_model.roles import Embedder

    network = load_as(model, Embedder)
    runtime(False, network)
    return network


@app.command()
def embed(
    model: Model,
    audio: Annotated[list[str], typer.Argument(metavar="AUDIO...", help="Recordings, of one speaker each.")],
    json: Json = False,
) -> None:
    """Print a vector for each recording, whose cosine tells whether two are one speaker's."""
    from mlx_model.pipelines import speakers as engine
    from mlx_model.text.formats import name, tsv_row

    network = _opened(model)
    with progress_bar("listening", len(audio)) as advance:
        results = engine.embed(network, audio, progress=advance)
    if json:
        document = engine.embeddings_document(results, **about(network, "json"))
        put(documents.dumps(document, ensure_ascii=False, indent=1), as_json=True)
    else:
        for item in results:
            if item.embedding is not None:
                put(tsv_row(name(item.path), " ".join(f"{value:.6g}" for value in item.embedding)))
    complain("not heard", results)


@app.command()
def verify(
    model: Model,
    first: Annotated[str, typer.Argument(metavar="A", help="A recording.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    threshold: Annotated[
        float | None, typer.Option(help="Cosine from which on it is one speaker; the model's own.", min=-1, max=1)
    ] = None,
    json: Json = False,
) -> None:
    """Say whether two recordings are one speaker's: exit code 0 where they are, 1 where they are not."""
    from mlx_model.pipelines import speakers as engine

    network = _opened(model)
    results = engine.embed(network, [first, second])
    vectors = [item.embedding for item in results if item.embedding is not None]
    if len(vectors) < 2:
        complain("not heard", results)
        raise typer.Exit(2)
    score = engine.cosine(*vectors)
    limit = network.threshold if threshold is None else threshold
    same = score >= limit
    show_facts("speakers-verify/1", json, score=score, same=same, threshold=limit, **about(network, "json"))
    if not json:
        put(f"{'the same speaker' if same else 'two speakers'}: cosine {score:.4f}, threshold {limit:g}")
    leave(same)


@app.command()
def diarize(
    model: Model,
    audio: Annotated[list[str], typer.Argument(metavar="AUDIO...", help="Recordings of any length.")],
    vad: Annotated[Path, typer.Option(help="A converted FSMN-VAD, which finds the speech.")],
    num_speakers: Annotated[int | None, typer.Option(help="How many there are; found.", min=1)] = None,
    format: Annotated[str | None, typer.Option(help="tsv, rttm or json; tsv.")] = None,
    as_funasr: Annotated[bool, typer.Option(help="As FunASR 1.4.16, also where it is wrong.")] = False,
    json: Json = False,
) -> None:
    """Say who spoke when."""
    from mlx_model.pipelines import options
    from mlx_model.pipelines import speakers as engine

    format = options.chosen_format(format, json, "tsv")
    engine.check_format(format)
    from mlx_model.loading import load_as
    from mlx_model.roles import Detector

    detector: Any = load_as(vad, Detector)
    network = _opened(model)
    with progress_bar("listening", len(audio)) as advance:
        results = engine.diarize(
            network, detector, audio, speakers=num_speakers, as_funasr=as_funasr, progress=advance
        )
    put(engine.FORMATS[format](results, **about(network, format)), as_json=format == "json")
    complain("not heard", results)
