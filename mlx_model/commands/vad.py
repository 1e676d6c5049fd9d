"""`mlx-funasr vad`: its options, and one call of a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mlx_model.commands.telling import about, complain, runtime
from reports.console import Json, progress_bar
from reports.streams import put


def vad(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A converted FSMN-VAD.")],
    audio: Annotated[list[str], typer.Argument(metavar="AUDIO...", help="Recordings, or - for PCM from a pipe.")],
    format: Annotated[str | None, typer.Option(help="tsv, json or textgrid; tsv.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Decide chunk by chunk; print segments at once.")] = False,
    chunk_ms: Annotated[int | None, typer.Option(help="Length of a chunk, for --stream and -; 200.")] = None,
    rate: Annotated[
        int | None, typer.Option(help="Sample rate of a pipe's raw 16-bit little-endian mono PCM; 16000.")
    ] = None,
    max_end_silence_ms: Annotated[int | None, typer.Option(help="Silence that ends a segment.")] = None,
    threshold: Annotated[float | None, typer.Option(help="speech_noise_thres, 0 to 1.")] = None,
    dynamic_silence: Annotated[bool, typer.Option(help="FunASR 1.4's default: long speech ends sooner.")] = False,
    json: Json = False,
) -> None:
    """Find where speech is: segments of recordings, or of a stream as they end."""
    from mlx_model.pipelines import detect as engine
    from mlx_model.pipelines import options

    format = options.chosen_format(format, json, "tsv")
    engine.check_format(format, len(audio))
    given = {
        "--chunk-ms": chunk_ms, "--rate": rate, "--max-end-silence-ms": max_end_silence_ms,
        "--threshold": threshold, "--dynamic-silence": dynamic_silence,
    }  # fmt: skip
    options.check_vad(audio, stream, given)
    from mlx_model.loading import load_as
    from mlx_model.roles import Detector

    network = load_as(model, Detector)
    wanted = {"max_end_silence_time": max_end_silence_ms, "speech_noise_thres": threshold}
    chosen = options.options_from(network, {**wanted, "dynamic_silence": dynamic_silence or None})
    runtime(False, network)
    asked: dict[str, Any] = {"options": chosen, "rate": rate}
    asked["chunk_ms"] = (200 if chunk_ms is None else chunk_ms) if stream or "-" in audio else None
    live = (lambda line: put(line, flush=True)) if asked["chunk_ms"] is not None and format == "tsv" else None
    with progress_bar("listening", len(audio)) as advance:
        results = engine.detect(network, audio, **asked, live=live, progress=advance)
    if live is None:
        put(engine.FORMATS[format](results, **about(network, format)), as_json=format == "json")
    complain("not heard", results)
