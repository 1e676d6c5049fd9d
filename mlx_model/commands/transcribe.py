"""`mlx-funasr transcribe`: its options, and one call of a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlx_model.commands.live import Asked, transcribe_live
from mlx_model.commands.telling import about, complain, listening, runtime
from reports.console import (
    AsFunasr,
    Chunk,
    FamilyOptions,
    Hotwords,
    Itn,
    Json,
    Language,
    LookBack,
    progress_bar,
)
from reports.streams import put

if TYPE_CHECKING:
    from mlx_model.roles import Recognizer
    from mlx_model.text.results import Transcript


BatchSeconds = Annotated[
    float | None, typer.Option(help="At most so much audio at once (bounds memory); 60, on a GPU 2560.")
]
Rate = Annotated[int | None, typer.Option(help="Sample rate of a pipe's raw 16-bit little-endian mono PCM; 16000.")]
SecondPass = Annotated[
    Path | None, typer.Option(help="--stream --vad: an offline model, which hears each segment again, whole.")
]
DynamicSilence = Annotated[
    bool | None,
    typer.Option("--dynamic-silence/--no-dynamic-silence", help="The VAD's, as FunASR 1.4; on, with --stream off."),
]


def transcribe(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A converted directory.")],
    audio: Annotated[list[Path], typer.Argument(metavar="AUDIO...", help="Recordings, or - for PCM from a pipe.")],
    batch_size: Annotated[int | None, typer.Option(help="At most so many recordings at once.")] = None,
    batch_seconds: BatchSeconds = None,
    format: Annotated[str | None, typer.Option(help="text, json, tsv, srt, vtt, textgrid, ctm; text.")] = None,
    words: Annotated[bool, typer.Option("--words", help="json, tsv: words with times and confidence.")] = False,
    nbest: Annotated[int | None, typer.Option(help="json: so many readings, with their scores.")] = None,
    vad: Annotated[Path | None, typer.Option(help="A converted FSMN-VAD: for recordings of any length.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print text as it comes; needs a streaming model.")] = False,
    chunk: Chunk = None,
    look_back: LookBack = None,
    rate: Rate = None,
    second_pass: SecondPass = None,
    merge_seconds: Annotated[float | None, typer.Option(help="Join the VAD's segments up to this length.")] = None,
    dynamic_silence: DynamicSilence = None,
    dither: Annotated[float | None, typer.Option(help="Kaldi dither; 0 repeats exactly, FunASR has 1; 0.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the dither; 0.")] = None,
    cue_seconds: Annotated[float | None, typer.Option(help="Subtitles: no cue longer than this; 7.")] = None,
    cue_chars: Annotated[int | None, typer.Option(help="Subtitles: Latin characters a line, of two; 42.")] = None,
    cue_chars_cjk: Annotated[int | None, typer.Option(help="Subtitles: Chinese characters a line; 20.")] = None,
    language: Language = None,
    itn: Itn = None,
    hotwords: Hotwords = None,
    option: FamilyOptions = None,
    as_funasr: AsFunasr = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Say which BLAS and device are in use.")] = False,
    json: Json = False,
) -> None:
    """Transcribe recordings; results come in the order given."""
    from mlx_model.pipelines import live_options, options
    from mlx_model.text import formats

    format = options.chosen_format(format, json, "text")
    formats.check_format(format, len(audio))
    given = {
        "--batch-size": batch_size, "--batch-seconds": batch_seconds, "--merge-seconds": merge_seconds,
        "--dither": dither, "--seed": seed, "--cue-seconds": cue_seconds, "--cue-chars": cue_chars,
        "--cue-chars-cjk": cue_chars_cjk, "--vad": vad, "--dynamic-silence": dynamic_silence,
        "--words": words or None, "--nbest": nbest, "--rate": rate, "--second-pass": second_pass,
    }  # fmt: skip
    windows = live_options.chunking(chunk, look_back)
    family: dict[str, Any] = {
        "language": language,
        "use_itn": itn,
        "as_funasr": as_funasr or None,
        "hotwords": hotwords,
    }
    if live_options.is_live(audio, stream):
        live_options.check_live(audio, format, given)
        asked = Asked(
            model=model, vad=vad, second=second_pass, rate=rate, format=format, verbose=verbose,
            dynamic_silence=dynamic_silence is True, stream=windows, texts=option, family=family,
        )  # fmt: skip
        return transcribe_live(audio, asked)
    options.check_transcribe(audio, format, given)
    _whole(model, audio, format, given, option, {**windows, **family}, verbose)


def _whole(
    model: Path,
    audio: list[Path],
    format: str,
    given: dict[str, Any],
    option: list[str] | None,
    family: dict[str, Any],
    verbose: bool,
) -> None:
    """Print what recordings say that are heard as wholes; `given` has the options by their names."""
    from mlx_model.loading import load_as
    from mlx_model.pipelines import options
    from mlx_model.roles import Recognizer
    from mlx_model.text import formats

    network = load_as(model, Recognizer)
    asked: dict[str, Any] = {"batch_size": given["--batch-size"], "batch_seconds": given["--batch-seconds"]}
    asked |= {"dither": given["--dither"] or 0.0, "seed": given["--seed"] or 0}
    asked |= listening(network, options.options_given(network, option, **family))
    words = bool(given["--words"])
    needs_times = words or format in formats.NEED_TIMES
    asked |= {"times": needs_times, "confidence": words or format in ("json", "ctm"), "nbest": given["--nbest"] or 0}
    runtime(verbose, network)
    vad = given["--vad"]
    detector = {"dynamic_silence": given["--dynamic-silence"] is not False, "merge_s": given["--merge-seconds"]}
    results = _by_segments(network, vad, audio, detector, asked) if vad else _at_once(network, audio, asked)
    if needs_times:
        formats.check_times("--words" if words else format, results, network.config.model_type)
    limits = formats.cue_limits(given["--cue-seconds"], given["--cue-chars"], given["--cue-chars-cjk"])
    put(formats.document(format, results, limits, words=words, **about(network, format)), as_json=format == "json")
    complain("not transcribed", results)


def _at_once(network: Recognizer, audio: list[Path], asked: dict[str, Any]) -> list[Transcript]:
    """Recordings as wholes; their words where times are asked for."""
    from mlx_model.pipelines.transcribe import transcribe as transcribe_each
    from mlx_model.pipelines.words import with_words

    with progress_bar("transcribing", len(audio)) as advance:
        results = transcribe_each(network, audio, **asked, progress=advance)
    return [with_words(result, network.tokenizer) for result in results] if asked["times"] else results


def _by_segments(
    network: Recognizer, vad: Path, audio: list[Path], given: dict[str, Any], asked: dict[str, Any]
) -> list[Transcript]:
    """Recordings in the segments that a detector finds; `given` are its options, and how they are merged."""
    from mlx_model.loading import load_as
    from mlx_model.pipelines.long_audio import total_s, transcribe_long
    from mlx_model.pipelines.options import options_from
    from mlx_model.roles import Detector

    detector = load_as(vad, Detector)
    asked = asked | {"merge_s": given["merge_s"]}
    vad_options = options_from(detector, {"dynamic_silence": given["dynamic_silence"]})
    with progress_bar("transcribing", total_s(audio)) as advance:
        return transcribe_long(network, detector, audio, vad_options=vad_options, **asked, progress=advance)
