"""FFmpeg's libraries (PyAV, the extra `media`): M4A, WebM, WMA, ADTS and what else libsndfile refuses.

av is imported where it is used, and need not be installed. Must not import mlx.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mlx_model.audio.decoders import FAULTS, LONGEST_S, MissingError, RefusedError, mono
from mlx_model.audio.medium import Medium, reason

INSTALL = "pip install 'mlx-funasr[media]'"
_OPTIONS = {"protocol_whitelist": "-"}  # none: a playlist named x.wav must not make FFmpeg open files or URLs


def _av() -> Any:
    try:
        import av
        import av.error
    except ImportError as error:  # also where a library that it needs is missing
        raise MissingError(INSTALL) from error
    return av


@contextmanager
def _stream(medium: Medium) -> Iterator[tuple[Any, Any]]:
    """An open container and its first audio stream; every trouble on the way becomes a refusal."""
    av = _av()
    try:
        # A file object, not its name: FFmpeg reads "concat:a|b" and "http://" out of names.
        file = medium.open(for_callbacks=True)
        with file, av.open(file, options=_OPTIONS, metadata_errors="replace") as container:
            if not container.streams.audio:
                raise RefusedError(f"no audio stream in {container.format.name}")
            stream = container.streams.audio[0]
            if stream.codec_context is None:
                raise RefusedError("no decoder for this encoding")
            yield container, stream
    except av.error.PermissionError:  # by our options
        raise RefusedError("it points at other files, which are not opened") from None
    except av.error.FFmpegError as error:
        raise RefusedError(reason(error)) from None
    except FAULTS as error:
        raise RefusedError(reason(error)) from None


def blocks(medium: Medium) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (mono float32 samples, rate), a frame each.

    Raises:
        RefusedError: FFmpeg cannot read it, or it is damaged within.
        MissingError: PyAV is not installed.
    """
    rate = 0
    with _stream(medium) as (container, stream):
        for frame in _frames(container, stream):
            if rate not in (0, frame.sample_rate):
                raise RefusedError(f"the sample rate changes from {rate} to {frame.sample_rate} Hz")
            rate = frame.sample_rate
            yield mono(_as_float(frame)), rate
    if not rate:
        raise RefusedError("no samples")


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Every decoded frame. An undecodable packet is a cut at the file's end and an error before more samples."""
    import av.error

    stream.codec_context.options = {"err_detect": "crccheck+explode"}  # else FLAC's checksums are read and ignored
    numbered = container.format.name == "flac"  # counts its samples: a gap is a loss; elsewhere it may be silence
    seconds, failure, first_pts = 0.0, None, None
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except (av.error.InvalidDataError, av.error.EOFError) as error:
            failure = failure or error
            continue
        if frames and failure and seconds:
            raise RefusedError(f"corrupt after {seconds:.2f} s")
        for frame in frames:
            if numbered and frame.pts is not None:
                first_pts = frame.pts if first_pts is None else first_pts
                if float((frame.pts - first_pts) * frame.time_base) > seconds + 0.01:
                    raise RefusedError(f"corrupt within the first {seconds:.2f} s")
            seconds += frame.samples / frame.sample_rate
            yield frame
    if failure and not seconds:
        raise failure


def _as_float(frame: Any) -> np.ndarray:
    """One FFmpeg frame as (samples, channels) float32, integers scaled to [-1, 1) as libsndfile scales them."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(frame.samples, -1).T  # (C, S)
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif np.issubdtype(samples.dtype, np.integer):
        samples = samples / -float(np.iinfo(samples.dtype).min)
    with np.errstate(over="ignore", invalid="ignore"):  # doubles beyond float32 become infinite, and files.py says so
        return samples.T.astype(np.float32, copy=False)


def duration_s(medium: Medium) -> float:
    """Return the length in seconds as the header has it.

    Raises:
        RefusedError: FFmpeg cannot read it, or it does not say.
        MissingError: PyAV is not installed.
    """
    found = 0.0
    with _stream(medium) as (container, stream):
        if stream.duration and stream.time_base:
            found = float(stream.duration * stream.time_base)
        elif container.duration:
            found = container.duration / _av().time_base
    if not 0 < found < LONGEST_S:
        raise RefusedError("length unknown")
    return found
