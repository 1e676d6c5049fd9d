"""Where speech is in many recordings, or in a stream of samples from a pipe, and how that is written down."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mlx_model.audio.files import blocks, resampler
from mlx_model.audio.items import Audio, listed, path_of
from mlx_model.errors import AudioError, UsageError
from mlx_model.roles import Detector, SpeechStream
from mlx_model.text.formats import name, tsv_row
from mlx_model.text.results import Detection, Times
from mlx_model.text.token_times import pauses as silence

HEADERS = {b"RIFF": "WAV", b"RF64": "WAV", b"FORM": "AIFF", b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3"}
HEADER_BYTES = max(map(len, HEADERS))  # a first write may be shorter
CLOSED = "standard input is closed; - reads samples from a pipe"
PIPE_BYTES = 1 << 16  # at most so much is taken from a pipe at once; what has arrived is taken at once


def detect(
    model: Detector,
    audio: Audio | Sequence[Audio],
    *,
    options: Any = None,
    chunk_ms: int | None = None,
    rate: int = 16000,
    pauses: bool = False,
    live: Callable[[str], None] | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Detection]:
    """Return one Detection per recording, in input order; unusable ones carry their reason in `error`.

    Memory does not grow with a recording's length, see `audio.blocks`.

    Args:
        model: what `mlx_model.load` returned.
        audio: a path, "-" for standard input (see `pcm`), a mono waveform at the model's rate in [-1, 1], or several.
        options: the family's `Options`; None: as they are by default.
        chunk_ms: decide in pieces of this length, as a stream would; None: as FunASR does with a whole recording.
        rate: of what comes through the pipe, Hz.
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
    model: Detector, stream: SpeechStream, item: Audio, pipe_rate: int, live: Callable[[str], None] | None
) -> Detection:
    path, frontend = path_of(item), model.config.frontend
    segments: Times = []
    notes: list[str] = []
    samples, error = 0, None
    try:
        for found, count in detected(stream, _pieces(item, frontend.fs, pipe_rate, notes)):
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


def _pieces(item: Audio, rate: int, pipe_rate: int, notes: list[str]) -> Iterator[np.ndarray]:
    if isinstance(item, np.ndarray):
        yield item
    elif str(item) == "-":
        yield from pcm(_standard_input(), pipe_rate, rate)
    else:
        yield from blocks(item, rate, notes)


def _standard_input() -> int:
    """The descriptor to read from; Python has no `sys.stdin` where the caller closed it."""
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        raise AudioError(CLOSED) from None


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


def pcm(descriptor: int, rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    """Yield samples as they arrive at a pipe: raw 16-bit little-endian mono PCM of `rate` Hz, until it is closed.

    Half a sample at the end (an abrupt end) is dropped.

    Raises:
        AudioError: a rate that no recording has, a file's header where raw samples are expected, or nothing to read
            from.
    """
    resample = resampler(rate, sample_rate)
    rest = _received(descriptor)
    while 0 < len(rest) < HEADER_BYTES and (more := _received(descriptor)):
        rest += more
    _check_raw(rest)
    is_open = bool(rest)
    while is_open:
        whole = len(rest) // 2 * 2
        yield resample(np.frombuffer(rest[:whole], "<i2").astype(np.float32) / 32768, False)
        more = _received(descriptor)
        rest, is_open = rest[whole:] + more, bool(more)
    yield resample(np.empty(0, np.float32), True)


def _received(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, PIPE_BYTES)
    except OSError as error:  # a directory, a terminal that has gone
        if error.errno == errno.EBADF:
            raise AudioError(CLOSED) from None
        raise AudioError(f"standard input cannot be read: {error.strerror}") from None


def _check_raw(start: bytes) -> None:
    """Refuse what begins as a file does: its header would be heard as samples, or all of it as noise."""
    for magic, what in HEADERS.items():
        if start.startswith(magic):
            raise AudioError(
                f"standard input carries a {what} header; send raw 16-bit PCM (ffmpeg -f s16le) or name the file"
            )


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
    """Return Praat's TextGrid of one recording: one tier, intervals without a gap, marked "speech" or empty.

    Nothing of one that could not be read: Praat opens no grid of 0 s.
    """
    (item,) = results
    if item.error and not item.duration_s:
        return ""
    edges, total = [0.0], max([item.duration_s, *(end / 1000 for _, end in item.segments)])
    intervals = []
    for start, end in ((start / 1000, end / 1000) for start, end in item.segments):
        if start > edges[-1]:
            intervals.append((edges[-1], start, ""))
        intervals.append((start, end, "speech"))
        edges.append(end)
    if total > edges[-1] or not intervals:
        intervals.append((edges[-1], total, ""))
    span = f"xmin = 0\nxmax = {total:.10g}\n"
    head = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\n{span}tiers? <exists>\nsize = 1\nitem []:\n'
    tier = f'    item [1]:\n        class = "IntervalTier"\n        name = "speech"\n{_indented(span)}'
    parts = [
        f"        intervals [{number}]:\n            xmin = {low:.10g}\n            xmax = {high:.10g}\n"
        f'            text = "{_doubled(text)}"'
        for number, (low, high, text) in enumerate(intervals, 1)
    ]
    return head + tier + f"        intervals: size = {len(intervals)}\n" + "\n".join(parts)


def _doubled(text: str) -> str:
    """Praat ends a string at a quotation mark, unless there are two."""
    return text.replace('"', '""')


def _indented(text: str) -> str:
    return "".join(f"        {line}\n" for line in text.splitlines())


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
