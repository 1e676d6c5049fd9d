"""A part of a recording -> a WAV file: libsndfile where it can read and seek, mlx_model.audio's decoder elsewhere.

Imports soundfile inside the functions that need it; must not import mlx, torch or funasr.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mlx_model.audio import files as audio
from mlx_model.errors import AudioError
from parity.cer.lists import quoted, shown
from parity.cer.readers.testset import Utterance

MAX_OVERSHOOT_S = 0.5  # Kaldi's extract-segments: a part may end so much behind its recording, and is then cut there
RATE = 16000  # of what mlx_model.audio.files decodes

Decode = Callable[[Path | BinaryIO, object], np.ndarray]


class _RefusedError(Exception):
    """libsndfile cannot read this; the decoder might."""


def source_name(utterance: Utterance) -> str:
    """Return what to call the recording in messages: its path, with the tar's member or the command where it is one.

    The same in every run, which the name of a temporary file is not.
    """
    inside = utterance.command if utterance.member is None else utterance.member
    return shown(utterance.path) + ("" if inside is None else f": {quoted(inside)}")


def header_duration_s(source: BinaryIO) -> float:
    """Return the length in seconds of an open file, from its header where that says it.

    Raises:
        AudioError: as mlx_model.audio.files.duration_s.
    """
    import soundfile

    try:
        info = soundfile.info(source)
    except soundfile.LibsndfileError:
        return audio.duration_s(source)
    return info.frames / info.samplerate


def write_part(source: Path | BinaryIO, utterance: Utterance, target: Path, decode: Decode) -> None:
    """Write the utterance's part of `source` to `target`, at the source's rate and 16-bit where the source is.

    `decode(source, key)` returns the whole recording at 16 kHz, mono, where libsndfile cannot read it; the key is the
    same for all parts of one recording.

    Raises:
        AudioError: no such part, no such channel, or nothing reads this file.
    """
    import soundfile

    name = source_name(utterance)
    try:
        samples, rate = _by_libsndfile(source, utterance, name)
    except _RefusedError:
        if utterance.channel is not None:
            raise AudioError(f"{name}: channel {utterance.channel} cannot be taken out of this format") from None
        waveform = decode(source, (utterance.path, utterance.member, utterance.command))
        rate, (first, last) = RATE, _bounds(utterance, RATE)
        samples = _checked(waveform[first:last], (first, last), rate, len(waveform), name)
    content = io.BytesIO()  # not straight to the disk: libsndfile does not tell a full one from other trouble
    subtype = "PCM_16" if samples.dtype == np.int16 else "FLOAT"
    soundfile.write(content, samples, rate, format="WAV", subtype=subtype)
    target.write_bytes(content.getbuffer())


def _by_libsndfile(source: Path | BinaryIO, utterance: Utterance, name: str) -> tuple[np.ndarray, int]:
    import soundfile

    if isinstance(source, Path) and source.suffix.lower() == ".raw":
        raise _RefusedError  # soundfile wants to be told what is in a .raw; the decoder looks
    try:
        with soundfile.SoundFile(os.fspath(source) if isinstance(source, Path) else source) as file:
            if not file.frames:
                raise _RefusedError  # a recorder that wrote to a pipe leaves 0 in the header; FFmpeg reads on
            if not audio.MIN_RATE <= file.samplerate <= audio.MAX_RATE:
                raise AudioError(f"{name}: absurd sample rate {file.samplerate} Hz; header broken?")
            return _read(file, utterance, name), file.samplerate
    except soundfile.LibsndfileError as error:
        raise _RefusedError from error


def _bounds(utterance: Utterance, rate: int) -> tuple[int, int | None]:
    """Return the first frame and the one behind the last, None for "to the end"."""
    end_s = utterance.end_s
    return round((utterance.start_s or 0.0) * rate), None if end_s is None else round(end_s * rate)


def _read(file: Any, utterance: Utterance, name: str) -> np.ndarray:
    """Return the part of an open SoundFile, (frames, channels), int16 where the file is 16-bit, else float32."""
    channel = utterance.channel
    if channel is not None and channel >= file.channels:
        raise AudioError(f"{name}: has {file.channels} channels; channel {channel} (counted from 0) is not among them")
    wanted = slice(None) if channel is None else slice(channel, channel + 1)
    dtype = "int16" if file.subtype == "PCM_16" else "float32"
    first, last = _bounds(utterance, file.samplerate)
    # After a seek MP3 lacks the bits that earlier frames have lent (0.01 of full scale off): it is read from its start.
    at = file.seek(min(first, file.frames)) if file.seekable() and file.format != "MP3" else 0
    blocks: list[np.ndarray] = []
    while last is None or at < last:
        count = audio.BLOCK if last is None else min(audio.BLOCK, last - at)
        block = file.read(count, dtype=dtype, always_2d=True)
        if not len(block):
            break
        blocks.append(block[max(0, first - at) :, wanted])
        at += len(block)
    samples = np.concatenate(blocks) if blocks else np.empty((0, 1), dtype)
    return _checked(samples, (first, last), file.samplerate, at, name)


def _checked(samples: np.ndarray, bounds: tuple[int, int | None], rate: int, total: int, name: str) -> np.ndarray:
    """Return the samples, or raise AudioError where the recording ended (at frame `total`) before the part did."""
    first, last = bounds
    missing = 0 if last is None else last - first - len(samples)
    if not len(samples) or missing > MAX_OVERSHOOT_S * rate:
        end = "its end" if last is None else f"{last / rate:.2f} s"
        raise AudioError(
            f"{name}: the part from {first / rate:.2f} s to {end} is not in the recording, which ends at "
            f"{total / rate:.2f} s"
        )
    return samples
