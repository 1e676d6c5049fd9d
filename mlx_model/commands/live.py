"""`mlx-funasr transcribe --stream`: text as it comes, of a pipe or of recordings."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlx_model.commands.telling import about, listening, runtime
from reports.console import talk
from reports.ending import Stopped

if TYPE_CHECKING:
    from mlx_model.pipelines.captions import Captions
    from mlx_model.pipelines.live import Hearer
    from mlx_model.roles import Detector, Punctuator, Recognizer, StreamingRecognizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line asks of a stream.

    `family` are options of the model whose text is final, `stream` those of the streaming model.
    """

    model: Path
    vad: Path | None
    second: Path | None
    punc: Path | None
    rate: int | None
    format: str
    verbose: bool
    dynamic_silence: bool
    stream: dict[str, Any]
    texts: list[str] | None
    family: dict[str, Any]


def transcribe_live(audio: Sequence[Path], asked: Asked) -> None:
    """Print the text of a pipe or of recordings as it comes, one after the other."""
    from mlx_model.loading import load_as
    from mlx_model.roles import Detector, Punctuator, Recognizer, StreamingRecognizer

    _check_streams(asked.model)
    network = load_as(asked.model, StreamingRecognizer)
    detector = None if asked.vad is None else load_as(asked.vad, Detector)
    second = None if asked.second is None else load_as(asked.second, Recognizer)
    punctuator = None if asked.punc is None else load_as(asked.punc, Punctuator)
    begin = _beginning(network, detector, second, punctuator, asked)
    runtime(asked.verbose, network)
    failed = [error for item in audio if (error := _one(network, begin(), item, asked)) is not None]
    if failed:
        raise typer.Exit(2 if len(failed) == len(audio) == 1 else 1)


def _check_streams(model: Path) -> None:
    """Name the way, where a model hears whole recordings alone."""
    from mlx_model.errors import UsageError
    from mlx_model.loading import family_of, model_class
    from mlx_model.roles import Recognizer, StreamingRecognizer, fulfils

    made = model_class(family := family_of(model))
    if fulfils(made, Recognizer) and not fulfils(made, StreamingRecognizer):
        raise UsageError(
            f"{model} is a {family}, which hears whole recordings: name a file, without --stream; or give a streaming "
            f"model, and this one for final text: transcribe STREAMING - --vad VAD --second-pass {model}"
        )


def _beginning(
    network: StreamingRecognizer,
    detector: Detector | None,
    second: Recognizer | None,
    punctuator: Punctuator | None,
    asked: Asked,
) -> Any:
    """The function that begins a stream; what a model refuses, it refuses now."""
    from mlx_model.pipelines.options import option_kinds, options_from, options_given
    from mlx_model.pipelines.streams import stream
    from mlx_model.pipelines.two_pass import TwoPass

    final: Any = network if second is None else second
    given = options_given(final, asked.texts, **(asked.stream if second is None else {}), **asked.family)
    own = given if second is None else asked.stream | _also(asked.family, option_kinds(network))
    options_from(network, own)
    if detector is None:
        return lambda: stream(network, keep_text=False, **own)
    vad_options = options_from(detector, {"dynamic_silence": asked.dynamic_silence or None})
    both: dict[str, Any] = {"vad_options": vad_options, "stream_options": own}
    if second is not None:
        wanted = {"times": True, "confidence": True} if asked.format == "json" else {}
        both["second_options"] = wanted | listening(second, given)
    return lambda: TwoPass(network, detector, second, punctuator, **both)


def _also(family: dict[str, Any], kinds: dict[str, Any]) -> dict[str, Any]:
    """Options of the second model that the streaming one has, too: --as-funasr."""
    return {name: value for name, value in family.items() if name in kinds and value is not None}


def _one(network: StreamingRecognizer, hearer: Hearer, item: Path, asked: Asked) -> str | None:
    """Print one pipe's or recording's text; what is known is printed whatever ends it. Returns what was wrong."""
    from mlx_model.audio.pieces import pieces_of
    from mlx_model.errors import AudioError
    from mlx_model.files.names import shown
    from mlx_model.pipelines.live import Live
    from mlx_model.text.results import Segment

    rate, notes, error = network.config.frontend.fs, [], None
    live = Live(hearer, pieces_of(item, rate, asked.rate, notes))
    captions = _captions(network, item, asked)
    try:
        for found in live.heard():
            captions.segment(found) if isinstance(found, Segment) else captions.partial(found)
    except AudioError as refused:
        error = str(refused)
    except (KeyboardInterrupt, Stopped):
        error = "interrupted"
        raise
    finally:
        captions.end(live.samples / rate, error, notes)
    for note in notes:
        talk.print(f"note: {shown(item)}: {note}", highlight=False, soft_wrap=True)
    if error is not None:
        talk.print(f"not transcribed to its end: {error}", style="red", highlight=False, soft_wrap=True)
    return error


def _captions(network: StreamingRecognizer, item: Path, asked: Asked) -> Captions:
    from mlx_model.pipelines.captions import Captions, Documents, Lines, Rewriting

    if asked.format == "json":
        return Documents(_write_json, str(item), **about(network, "json"))
    if asked.vad is None:
        return Captions(_write)
    return Rewriting(_write, shutil.get_terminal_size().columns) if sys.stdout.isatty() else Lines(_write)


def _write(text: str) -> None:
    print(text, end="", flush=True)


def _write_json(text: str) -> None:
    from reports.streams import put

    put(text.removesuffix("\n"), as_json=True, flush=True)
