"""Samples from a pipe that may never end: raw 16-bit PCM, or what a WAV header in front of it says.

What has arrived is given out at once, whatever the writer's pieces; nothing is kept but half a frame. Sizes in a header
that was written before the length was known (0, or close to the largest: ffmpeg, sox, arecord) mean: until the pipe
closes. Must not import mlx.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from mlx_model.audio.decoders import mono
from mlx_model.audio.files import check_finite, resampler
from mlx_model.audio.plain_wave import as_float
from mlx_model.errors import AudioError

NAME = "standard input"
CLOSED = "standard input is closed; - reads samples from a pipe"
PIPE_BYTES = 1 << 16  # at most so much is taken from a pipe at once; what has arrived is taken at once
RAW_RATE = 16000  # of samples without a header, where nobody says another
OTHERS = {b"FORM": "AIFF", b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3"}
WAVES = (b"RIFF", b"RF64")
HEADER_BYTES = max(map(len, (*OTHERS, *WAVES)))  # a first write may be shorter
LONGEST_HEADER = 1 << 20  # bytes of chunks in front of the samples: text, a picture
UNKNOWN_SIZE = 0x7FF00000  # from here on, and 0, a size says that the writer did not know it
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


class Layout(NamedTuple):
    """How samples lie in a pipe: bytes of one, how to read them, channels, Hz, and bytes in all (None: to the end)."""

    width: int
    read: Callable[[bytes], np.ndarray]
    channels: int
    rate: int
    size: int | None = None


def _integers(dtype: str) -> Callable[[bytes], np.ndarray]:
    def read(data: bytes) -> np.ndarray:
        return np.frombuffer(data, dtype)

    return read


def _scaled(dtype: str, full_scale: float, offset: float = 0.0) -> Callable[[bytes], np.ndarray]:
    def read(data: bytes) -> np.ndarray:
        return ((np.frombuffer(data, dtype).astype(np.float64) - offset) / full_scale).astype(np.float32)

    return read


def _of_24_bits(data: bytes) -> np.ndarray:
    padded = np.zeros((len(data) // 3, 4), np.uint8)
    padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return (padded.view("<i4")[:, 0].astype(np.float64) / 2**31).astype(np.float32)


READERS: dict[tuple[int, int], Callable[[bytes], np.ndarray]] = {  # (format, bits); scaled as libsndfile does
    (PCM, 8): _scaled("u1", 128, 128),
    (PCM, 16): _integers("<i2"),
    (PCM, 24): _of_24_bits,
    (PCM, 32): _scaled("<i4", 2**31),
    (FLOAT, 32): _scaled("<f4", 1),
    (FLOAT, 64): _scaled("<f8", 1),
}


def standard_input() -> int:
    """Return the descriptor to read from; Python has no `sys.stdin` where the caller closed it.

    Raises:
        AudioError: it is closed.
    """
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        raise AudioError(CLOSED) from None


def pcm(
    descriptor: int, rate: int | None, sample_rate: int, notes: list[str] | None = None
) -> Iterator[Float32[np.ndarray, " S"]]:
    """Yield mono samples as they arrive at a pipe, until it is closed; the last piece may be empty.

    The mean over the channels, resampled as `load_audio` resamples: the samples are those of the whole file. Part of a
    frame at the end (an abrupt end) is dropped.

    Args:
        descriptor: of the pipe.
        rate: of raw 16-bit little-endian mono PCM, Hz; None: 16000, or what a WAV header says.
        sample_rate: of the result, Hz.
        notes: is given what was dropped, one line each.

    Raises:
        AudioError: a rate that no recording has, or another than a header says; another file's header; NaN or infinite
            samples; nothing to read from.
    """
    source = _Bytes(descriptor)
    layout = _layout(source, rate)
    resample = resampler(layout.rate, sample_rate)
    frame, taken, count = layout.width * layout.channels, 0, 0
    while data := source.frames(frame, None if layout.size is None else layout.size - taken):
        samples = mono(layout.read(data).reshape(-1, layout.channels))
        check_finite(NAME, samples, layout.rate, count)
        taken, count = taken + len(data), count + len(samples)
        yield resample(as_float(samples), False)
    if notes is not None:
        notes += _cut_short(source.rest, taken, layout.size)
    yield resample(np.empty(0, np.float32), True)


def _cut_short(rest: bytes, taken: int, size: int | None) -> list[str]:
    if size is not None and taken < size:
        return [f"its WAV header promises {size} bytes of samples; {taken + len(rest)} came"]
    return [f"the last {len(rest)} byte(s) are no whole sample, and were dropped"] if rest and size is None else []


class _Bytes:
    """Bytes of a pipe: those that were read and not yet used, and what arrives next."""

    def __init__(self, descriptor: int):
        self.descriptor = descriptor
        self.rest = b""

    def frames(self, width: int, most: int | None) -> bytes:
        """Return whole frames that have arrived, at most `most` bytes, waiting for one; empty at the end."""
        self.at_least(width)
        there = len(self.rest)
        count = (there if most is None else min(there, most)) // width * width
        data, self.rest = self.rest[:count], self.rest[count:]
        return data

    def at_least(self, count: int) -> bytes:
        """Return the next `count` bytes, fewer at the end, and leave them there."""
        while len(self.rest) < count and (found := self._received()):
            self.rest += found
        return self.rest[:count]

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes.

        Raises:
            AudioError: the pipe closed before.
        """
        data = self.at_least(count)
        if len(data) < count:
            raise AudioError(f"{NAME}: ends within its WAV header")
        self.rest = self.rest[count:]
        return data

    def _received(self) -> bytes:
        try:
            return os.read(self.descriptor, PIPE_BYTES)
        except OSError as error:  # a directory, a terminal that has gone
            if error.errno == errno.EBADF:
                raise AudioError(CLOSED) from None
            raise AudioError(f"{NAME} cannot be read: {error.strerror}") from None


def _layout(source: _Bytes, rate: int | None) -> Layout:
    """Return how the samples lie; a WAV header is taken off, another file's would be heard as samples, or as noise."""
    start = source.at_least(HEADER_BYTES)
    for magic, what in OTHERS.items():
        if start.startswith(magic):
            raise AudioError(f"{NAME} carries a {what} header; send PCM (ffmpeg -f s16le) or name the file")
    if not start.startswith(WAVES):
        return Layout(2, READERS[PCM, 16], 1, RAW_RATE if rate is None else rate)
    found = _wave(source)
    if rate not in (None, found.rate):
        raise AudioError(f"{NAME}: its WAV header says {found.rate} Hz and --rate {rate}; leave --rate out")
    return found


def _wave(source: _Bytes) -> Layout:
    """Read a WAV header up to the first sample."""
    if source.take(12)[8:] != b"WAVE":
        raise AudioError(f"{NAME} begins like a WAV file and is none; raw PCM has no header")
    before, layout = 0, None
    while True:
        kind, size = struct.unpack("<4sI", source.take(8))
        if kind == b"data":
            break
        before += size
        if before > LONGEST_HEADER:
            raise AudioError(f"{NAME}: no samples in the first {LONGEST_HEADER} bytes of its WAV header")
        content = source.take(size + size % 2)
        layout = _format(content) if kind == b"fmt " else layout
    if layout is None:
        raise AudioError(f"{NAME}: its WAV header does not say how its samples lie")
    return layout._replace(size=size if 0 < size < UNKNOWN_SIZE else None)


def _format(content: bytes) -> Layout:
    if len(content) < 16:
        raise AudioError(f"{NAME}: its WAV header is broken, {len(content)} bytes of format")
    code, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", content)
    if code == EXTENSIBLE and len(content) >= 26:
        (code,) = struct.unpack_from("<H", content, 24)
    read = READERS.get((code, bits))
    if read is None or not channels:
        raise AudioError(
            f"{NAME}: a WAV header of format {code}, {bits} bits, {channels} channels; send PCM (ffmpeg -f s16le)"
        )
    return Layout(bits // 8, read, channels, rate)
