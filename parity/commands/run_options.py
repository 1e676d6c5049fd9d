"""What a run's two sides are both told: hotwords, texts to align, how a stream is cut. As options a trace carries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mlx_model.errors import UsageError
from reports.console import talk

AudioGiven = Annotated[
    list[Path] | None, typer.Option("--audio", help="Recordings, or folders of them: --audio PATH...")
]
Texts = Annotated[
    list[str] | None,
    typer.Option(
        "--texts", metavar="TEXT|@FILE",
        help="What a punctuation model is given in place of audio: --texts TEXT..., and @FILE of one a line.",
    ),
]  # fmt: skip
Hotwords = Annotated[
    str | None,
    typer.Option(metavar="WORDS|FILE", help="Both sides listen for these: words, or a file with one a line."),
]
ClasScale = Annotated[
    float | None,
    typer.Option(metavar="X", help="How much what is found among the hotwords counts, where a family has that."),
]
Text = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT|FILE|DIR",
        help="What an aligner aligns: the text, or `KEY TEXT` lines; if left out, KEY.txt beside each recording.",
    ),
]
Chunk = Annotated[
    str | None,
    typer.Option(metavar="L,C,R", help="A streaming model's chunks: frames before, of, and after each, as 0,10,5."),
]
LookBack = Annotated[
    str | None,
    typer.Option(metavar="E,D", help="Chunks that a streaming model's encoder and decoder look back, as 4,1."),
]


def given(
    audio: Sequence[Path] | None, texts: Sequence[str] | None, more: Sequence[Path] | None
) -> tuple[list[Path], list[str]]:
    """Return (recordings, texts): one of the two options is given, and what follows its first value is `more`.

    Raises:
        UsageError: neither is given, or both.
    """
    if bool(audio) == bool(texts):
        raise UsageError("give recordings (--audio PATH...), or for a punctuation model texts (--texts TEXT...|@FILE)")
    if texts:
        return [], [*texts, *map(str, more or [])]
    return [*(audio or []), *(more or [])], []


def run_options(
    audio: Sequence[Path],
    limit: int | None,
    *,
    hotwords: str | None,
    clas_scale: float | None = None,
    text: str | None,
    chunk: str | None,
    look_back: str | None,
) -> dict[str, Any]:
    """Return the run's options as a trace carries them; texts by the paths of their recordings.

    Raises:
        UsageError: a file of them cannot be read, a recording has no text, or no stream can be cut so.
    """
    from mlx_model.config.chunking import Chunking
    from mlx_model.errors import UsageError
    from mlx_model.pipelines.live_options import chunking

    found: dict[str, Any] = chunking(chunk, look_back)
    if found:
        Chunking(**found)
    if hotwords is not None:
        found["hotwords"] = _listed(hotwords)
    if clas_scale is not None:
        if not math.isfinite(clas_scale):
            raise UsageError(f"--clas-scale {clas_scale}: expected a number")
        found["clas_scale"] = clas_scale
    if text is not None:
        from mlx_model.pipelines.known_texts import pairs
        from parity.layers.given import find_audio

        paths = [str(path) for _, path in find_audio(audio, limit)]
        found["text"] = {str(path): said for path, said in pairs(paths, text, spare=True)}
    return found


def _listed(hotwords: str) -> Any:
    """Return hotwords as both sides take them; what there is to say of the list is said."""
    from mlx_model.decoding.hotwords import words_of
    from parity.sides.hotwords import carried

    words = words_of(hotwords) or ()
    for note in getattr(words, "notes", ()):
        talk.print(f"note: {note}", highlight=False, soft_wrap=True)
    return carried(words)
