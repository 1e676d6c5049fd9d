"""`mlx-funasr transcribe`: its options, and one call of a pipeline (pipelines/auto.py, pipelines/live.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mlx_model.commands.live import Asked, transcribe_live
from mlx_model.commands.whole import transcribe_whole
from reports.console import (
    AsFunasr,
    Chunk,
    FamilyOptions,
    Hotwords,
    Itn,
    Json,
    Language,
    LookBack,
    Overwrite,
    folder,
)

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
Punc = Annotated[Path | None, typer.Option(help="A converted ct-punc: puts punctuation in, and cuts sentences.")]
Speakers = Annotated[Path | None, typer.Option(help="A converted CAM++ or ERes2NetV2: tells speakers apart.")]
SpkMode = Annotated[str | None, typer.Option(help="A speaker for each punc_segment or vad_segment; punc_segment.")]
Html = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page: who says what, and when.")]
RunOut = Annotated[
    Path | None,
    typer.Option("--out", parser=folder, metavar="DIR", help="Keep what is heard; the same command goes on there."),
]


def transcribe(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A converted directory.")],
    audio: Annotated[list[Path], typer.Argument(metavar="AUDIO...", help="Recordings, or - for PCM from a pipe.")],
    batch_size: Annotated[int | None, typer.Option(help="At most so many recordings at once.")] = None,
    batch_seconds: BatchSeconds = None,
    format: Annotated[str | None, typer.Option(help="text, json, tsv, srt, vtt, textgrid, ctm or rttm.")] = None,
    words: Annotated[bool, typer.Option("--words", help="json, tsv: words with times and confidence.")] = False,
    nbest: Annotated[int | None, typer.Option(help="json: so many readings, with their scores.")] = None,
    vad: Annotated[Path | None, typer.Option(help="A converted FSMN-VAD: for recordings of any length.")] = None,
    punc: Punc = None,
    speakers: Speakers = None,
    num_speakers: Annotated[int | None, typer.Option(help="How many speak; as many as are found.")] = None,
    spk_mode: SpkMode = None,
    html: Html = None,
    out: RunOut = None,
    overwrite: Overwrite = False,
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
    _transcribe(locals())


# What a command line says by its own words, by the names of the function above.
OPTIONS = (
    "batch_size", "batch_seconds", "merge_seconds", "dither", "seed", "cue_seconds", "cue_chars", "cue_chars_cjk",
    "vad", "dynamic_silence", "nbest", "rate", "second_pass", "punc", "speakers", "num_speakers", "spk_mode", "html",
    "out",
)  # fmt: skip


def _transcribe(said: dict[str, Any]) -> None:
    from mlx_model.pipelines import live_options, options
    from mlx_model.text import formats

    audio: list[Path] = said["audio"]
    format = options.chosen_format(said["format"], said["json"], "text")
    formats.check_format(format, len(audio))
    given = {f"--{name.replace('_', '-')}": said[name] for name in OPTIONS}
    given |= {"--words": said["words"] or None, "--overwrite": said["overwrite"] or None}
    windows = live_options.chunking(said["chunk"], said["look_back"])
    family: dict[str, Any] = {
        "language": said["language"], "use_itn": said["itn"], "as_funasr": said["as_funasr"] or None,
        "hotwords": said["hotwords"],
    }  # fmt: skip
    if live_options.is_live(audio, said["stream"]):
        live_options.check_live(audio, format, given)
        asked = Asked(
            model=said["model"], vad=said["vad"], second=said["second_pass"], punc=said["punc"], rate=said["rate"],
            format=format, verbose=said["verbose"], dynamic_silence=said["dynamic_silence"] is True,
            stream=windows, texts=said["option"], family=family,
        )  # fmt: skip
        return transcribe_live(audio, asked)
    options.check_transcribe(audio, format, given)
    transcribe_whole(said["model"], audio, format, given, said["option"], {**windows, **family}, said["verbose"])
