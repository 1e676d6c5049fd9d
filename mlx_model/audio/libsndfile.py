"""libsndfile (soundfile): WAV of every kind, AIFF, AU, W64, CAF, FLAC, Ogg and MP3, piece by piece.

A file is opened by its descriptor, never by its name: soundfile cannot encode every name, and libsndfile takes a file
in .au or .raw for headerless samples whatever it holds. soundfile is imported where it is used. Must not import mlx.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, BinaryIO

import numpy as np

from mlx_model.audio.decoders import FAULTS, LONGEST_S, RefusedError, mono
from mlx_model.audio.medium import Medium, reason

# libsndfile knows these by their name only, so for them its word is asked as well; FunASR reads them that way.
_BY_NAME = (".gsm", ".vox", ".sd2")
# What libsndfile says of a file it has opened, and what is true: there is one, and it is no pipe.
_UNTRUE = {"File does not exist or is not a regular file (possibly a pipe?)": "it points outside of itself"}


class _Silence:
    """A context in which file descriptor 2 leads nowhere: mpg123, within libsndfile, talks to it of damaged MP3.

    Threads share it: the first one in closes it, the last one out opens it. What others write to stderr meanwhile, for
    some milliseconds and for MP3 only, is lost.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._kept = threading.Lock(), 0, -1

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._kept = -1
                with suppress(OSError):  # stderr is closed: nothing will be heard
                    self._kept = os.dup(2)
                    nowhere = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(nowhere, 2)
                    os.close(nowhere)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._kept >= 0:
                os.dup2(self._kept, 2)
                os.close(self._kept)


_silence = _Silence()


def _may_talk(file: BinaryIO) -> bool:
    """Whether the file looks like MP3 from its start.

    Raises:
        RefusedError: a MIDI sample dump; libsndfile prints to stdout, among the results, what it thinks of one.
    """
    head = file.read(3)
    file.seek(0)
    if head[:2] == b"\xf0\x7e":
        raise RefusedError("a MIDI sample dump")
    return head == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")


@contextmanager
def _open(medium: Medium) -> Iterator[tuple[Any, Any]]:
    """An open SoundFile, and the context to read it in; every trouble on the way becomes a refusal."""
    import soundfile

    try:
        with medium.open() as file:
            quiet = _silence if _may_talk(file) else nullcontext()
            with quiet:
                sound = _sound_file(medium, file)
            with sound:
                yield sound, quiet
    except soundfile.LibsndfileError as error:
        words = reason(RuntimeError(error.error_string))
        raise RefusedError(_UNTRUE.get(words, words)) from None
    except FAULTS as error:
        raise RefusedError(reason(error)) from None


def _sound_file(medium: Medium, file: Any) -> Any:
    import soundfile

    if medium.is_plain:
        os.lseek(file.fileno(), 0, os.SEEK_SET)  # Python has read ahead; from elsewhere on it would be another file
    try:
        return soundfile.SoundFile(file.fileno() if medium.is_plain else file, closefd=False)
    except soundfile.LibsndfileError:
        if not medium.is_plain or not os.fspath(medium.path or "").lower().endswith(_BY_NAME):
            raise
    return soundfile.SoundFile(os.fsencode(medium.path or ""))  # pyright: ignore[reportArgumentType]  # bytes are fine


def blocks(medium: Medium, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (mono samples, rate) piece by piece; at least one, which may be empty. int16 where the file holds 16 bit.

    Args:
        medium: the file.
        size: frames read at once, of one channel.

    Raises:
        RefusedError: not a file of libsndfile's, or damaged.
    """
    with _open(medium) as (file, quiet):
        dtype = "int16" if file.subtype == "PCM_16" else "float32"
        yield np.empty(0, dtype), file.samplerate
        size = max(1, size // file.channels)
        count = size
        while count == size:  # a shorter one is the last: asking again would cost a short file a tenth of its time
            with quiet:
                block = file.read(size, dtype=dtype, always_2d=True)
            count = len(block)
            yield mono(block), file.samplerate


def length(medium: Medium) -> tuple[int, int]:
    """Return how many frames there are, and their rate, as the header says; above 0.

    Raises:
        RefusedError: not a file of libsndfile's, or its header does not say.
    """
    with _open(medium) as (file, _):
        frames, rate = file.frames, file.samplerate
    if not 0 < frames < LONGEST_S * max(rate, 1):  # 2**63 - 1 frames is libsndfile's "unknown"
        raise RefusedError("length unknown")
    return frames, rate
