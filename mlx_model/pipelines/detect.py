"""Where speech is in many recordings, or in a stream of samples from a pipe, and how that is written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mlx_model.audio.items import Audio, listed, path_of
from mlx_model.audio.pieces import pieces_of
from mlx_model.errors import AudioError, UsageError
from mlx_model.roles import Detector, SpeechStream
from mlx_model.text.formats import name, tsv_row
from mlx_model.text.results import Detection, Times
from mlx_model.text.textgrid import textgrid
from mlx_model.text.token_times import pauses as silence


def detect(
    model: Detector,
    audio: Audio | Sequence[Audio],
    *,
    options: Any = None,
    chunk_ms: int | None = None,
    rate: int | None = None,
    pauses: bool = False,
    live: Callable[[str], None] | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Detection]:
    """Return one Detection per recording, in input order; unusable ones carry their reason in `error`.

    Memory does not grow with a recording's length, see `audio.blocks`.

    Args:
        model: what `mlx_model.load` returned.
        audio: a path, "-" for standard input (`pipes.pcm`), a mono waveform at the model's rate in [-1, 1], or several.
        options: the family's `Options`; None: as they are by default.
        chunk_ms: decide in pieces of this length, as a stream would; None: as FunASR does with a whole recording.
        rate: of raw samples that come through a pipe, Hz; None: 16000, or what a WAV header says.
        pauses: fill in `pauses`.
        live: called with the table's header and with every segment's row as soon as it is known.
        progress: called with the number of recordings done since the last call.

    Raises:
        UsageError: a chunk below 1 ms, or options this model cannot follow.
    """
    model.stream(chunk_ms=chunk_ms, options=options)  # what it refuses, it refuses now
    results = []
    if live is not None:
        live(TSV_HEADER)
    for item in listed(audio):
        stream = model.stream(chunk_ms=chunk_ms, live=False, options=options)
        stream.speech = [] if pauses else None
        results.append(_detect_one(model, stream, item, rate, live))
        if progress is not None:
            progress(1.0)
    return results


def _detect_one(
    model: Detector, stream: SpeechStream, item: Audio, pipe_rate: int | None, live: Callable[[str], None] | None
) -> Detection:
    path, frontend = path_of(item), model.config.frontend
    segments: Times = []
    notes: list[str] = []
    samples, error = 0, None
    try:
        for found, count in detected(stream, pieces_of(item, frontend.fs, pipe_rate, notes)):
            segments += found
            if found and live is not None:
                live(tsv_rows(path, found))
            samples = count
    except AudioError as refused:
        error = str(refused)
    return Detection(
        path=path,
        segments=segments,
        duration_s=samples / frontend.fs,
        error=error,
        notes=notes,
        pauses=silence(stream.speech or [], frontend.frame_shift),
    )


def detected(stream: SpeechStream, pieces: Iterator[np.ndarray]) -> Iterator[tuple[Times, int]]:
    """Yield (whole segments that became known, samples so far) for every piece, and for the end.

    Raises:
        AudioError: whatever the pieces raise, and NaN.
    """
    count = 0
    for piece in pieces:
        count += len(piece)
        yield stream.feed(piece), count
    yield stream.feed(np.empty(0, np.float32), is_final=True), count


def to_document(results: Sequence[Detection], **about: Any) -> dict[str, Any]:
    """Return the `--json` document: schema, results in input order (paths as `names.written` has them), numerics."""
    rows = [
        {
            "path": name(item.path),
            "segments": item.segments,
            "duration_s": item.duration_s,
            "error": item.error,
            "notes": item.notes,
        }
        for item in results
    ]
    return {"schema": "vad/1", "results": rows, **about}


TSV_HEADER = "path\tstart_ms\tend_ms"


def tsv_rows(path: str | None, segments: Times) -> str:
    """Return one line per segment, without a line break at the end; fields as `formats.tsv_row` writes them."""
    return "\n".join(tsv_row(name(path), start, end) for start, end in segments)


def _as_tsv(results: Sequence[Detection]) -> str:
    rows = [tsv_rows(item.path, item.segments) for item in results if item.segments]
    return "\n".join([TSV_HEADER, *rows])


def _as_textgrid(results: Sequence[Detection]) -> str:
    """Return Praat's TextGrid of one recording: one tier, marked "speech" or empty.

    Nothing of one that could not be read: Praat opens no grid of 0 s.
    """
    (item,) = results
    if item.error and not item.duration_s:
        return ""
    return textgrid(item.duration_s, {"speech": [(start / 1000, end / 1000, "speech") for start, end in item.segments]})


FORMATS: dict[str, Callable[..., str]] = {  # only "json" takes more than results, see `to_document`
    "tsv": _as_tsv,
    "json": lambda results, **about: json.dumps(to_document(results, **about), ensure_ascii=False, indent=1),
    "textgrid": _as_textgrid,
}


def check_format(wanted: str, recordings: int) -> None:
    """Raise UsageError for an unknown format, or for several recordings in one TextGrid."""
    if wanted not in FORMATS:
        raise UsageError(f"unknown format {wanted!r}; use {', '.join(FORMATS)}")
    if wanted == "textgrid" and recordings != 1:
        raise UsageError(f"a TextGrid holds one recording, not {recordings}; run once for each")
