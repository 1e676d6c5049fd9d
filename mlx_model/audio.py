"""Any audio file to a mono waveform: the package's only input besides loading.py.

The plainest WAV is read by plain_wave.py; libsndfile (soundfile) reads WAV of every kind, AIFF, AU, W64, CAF, FLAC, Ogg
and MP3; FFmpeg's libraries (PyAV) get what it refuses: M4A, WebM, WMA, ADTS. soundfile, soxr and av are imported where
they are used, because together they cost a third of a second that `--help` should not pay. Must not import mlx, torch
or funasr.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float32

from mlx_model import plain_wave
from mlx_model.errors import AudioError
from mlx_model.plain_wave import MAX_RATE, MIN_RATE, as_float

MIN_DURATION_S = 0.025  # one analysis window; FunASR has no frame for less
BLOCK = 1 << 20  # frames read at once: a header that promises 2**63 of them must not allocate them

_HEADERLESS = (".pcm", ".raw", ".sw", ".s16", ".s16le")
_FFMPEG_OPTIONS = {"protocol_whitelist": "-"}  # none: a playlist named x.wav must not make FFmpeg open files or URLs

Source = str | Path | bytes | BinaryIO


class _RefusedError(Exception):
    """One decoder's verdict: it cannot read this, another might."""


def load_audio(source: Source, sample_rate: int = 16000) -> Float32[np.ndarray, " S"]:
    """Return the waveform: mono, contiguous, `sample_rate` Hz, full scale is 1.0 (louder floats are not clipped).

    Mirrors funasr/utils/load_utils.py::load_audio_text_image_video as it runs without torchaudio: the mean over the
    channels (antiphase stereo becomes silence there too), then librosa.resample, i.e. soxr at quality HQ and
    ceil(S * ratio) samples. A file cut short gives the samples it has; damage in the middle is an error.

    Args:
        source: a path, the bytes of a file, or a binary stream (read from its start where it can seek).
        sample_rate: rate of the result, Hz.

    Raises:
        AudioError: missing, empty, no audio, corrupt, NaN or infinite samples, or shorter than 25 ms.
    """
    return as_float(load_samples(source, sample_rate))


def load_samples(source: Source, sample_rate: int = 16000) -> np.ndarray:
    """Return the waveform of `load_audio`, as int16 (see `as_float`) where a file holds 16 bit, mono, at that rate."""
    name, waveform, rate = _read(source)
    waveform = _resample(waveform, rate, sample_rate)
    _check_length(name, len(waveform), sample_rate)
    return waveform


def blocks(source: Source, sample_rate: int = 16000) -> Iterator[Float32[np.ndarray, " S"]]:
    """Yield the waveform of `load_audio` piece by piece, a minute or so each.

    Only one piece is in memory where libsndfile reads the file and it has the rate asked for; what has to be resampled
    or is FFmpeg's to read is decoded as a whole first.

    Raises:
        AudioError: as `load_audio`, some of it only when the pieces before were yielded.
    """
    name, opened = _opened(source)
    if _libsndfile_rate(opened) != sample_rate:
        waveform = load_audio(source, sample_rate)
        yield from (waveform[at : at + BLOCK] for at in range(0, len(waveform), BLOCK))
        return
    count = 0
    try:
        for block, _ in _libsndfile_blocks(opened):
            _check_finite(name, block, sample_rate, count)
            count += len(block)
            yield as_float(block)
    except _RefusedError as refused:
        raise AudioError(f"{name}: not readable after {count / sample_rate:.2f} s ({refused})") from None
    _check_length(name, count, sample_rate)


def resampler(rate: int, sample_rate: int) -> Callable[[np.ndarray, bool], np.ndarray]:
    """Return function(samples, whether they are the last) -> samples at `sample_rate`, for a stream cut anyhow.

    Raises:
        AudioError: a rate that no recording has.
    """
    if rate == sample_rate:
        return lambda samples, _: samples
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"absurd sample rate {rate} Hz, expected {MIN_RATE} to {MAX_RATE}")
    import soxr

    return soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ").resample_chunk


def duration_s(source: Source) -> float:
    """Return the length in seconds as the header has it, for sorting; decodes only where the header does not say.

    Raises:
        AudioError: as `load_audio`, as far as the header shows it.
    """
    if isinstance(source, (str, Path)) and (known := plain_wave.duration_s(source)):
        return known
    name, opened = _opened(source)
    try:
        return _libsndfile_duration_s(opened)
    except _RefusedError:
        pass
    try:
        return _ffmpeg_duration_s(opened)
    except _RefusedError:
        waveform, rate = _decode(name, opened)
    return len(waveform) / rate


def _read(source: Source) -> tuple[str, np.ndarray, int]:
    """The name for messages, and the mono waveform at the file's own rate."""
    if isinstance(source, (str, Path)) and (plain := plain_wave.read(source)):
        return _name(source), _mono(plain[0]), plain[1]
    name, opened = _opened(source)
    waveform, rate = _decode(name, opened)
    if not len(waveform):
        raise AudioError(f"{name}: empty audio, the file holds a header and no samples")
    _check_finite(name, waveform, rate)
    return name, waveform, rate


def _name(path: str | Path) -> str:
    """One line, whatever the file is called."""
    path = os.fspath(path)
    return path if path.isprintable() else repr(path)


def _opened(source: Source) -> tuple[str, str | bytes]:
    """The name for messages, and a path that is a non-empty file or the bytes themselves."""
    if isinstance(source, (str, Path)):
        path, name = os.fspath(source), _name(source)
        _check_file(path, name)
        return name, path
    if isinstance(source, bytes):
        name, content = "<bytes>", source
    else:
        if source.seekable():
            source.seek(0)
        name, content = str(getattr(source, "name", "<stream>")), source.read()
    if not content:
        raise AudioError(f"{name}: empty, 0 bytes")
    return name, content


def _check_file(path: str, name: str) -> None:
    try:
        state = os.stat(path)
        with open(path, "rb") if S_ISREG(state.st_mode) else io.BytesIO():
            pass
    except FileNotFoundError:
        raise AudioError(f"{name}: not found") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise AudioError(f"{name}: cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    if S_ISDIR(state.st_mode):
        raise AudioError(f"{name}: is a directory, expected an audio file")
    if not S_ISREG(state.st_mode):
        raise AudioError(f"{name}: is a pipe or device, expected an audio file; save the stream first")
    if not state.st_size:
        raise AudioError(f"{name}: empty, 0 bytes")


def _decode(name: str, source: str | bytes) -> tuple[np.ndarray, int]:
    """The mono waveform at the file's own rate, from the first decoder that reads it."""
    try:
        waveform, rate = _read_libsndfile(source)
        verdict = "no samples"
    except _RefusedError as refused:
        waveform, rate, verdict = np.empty(0, np.float32), 0, str(refused)
    if not len(waveform):
        # Also for a WAV whose size field says 0: a recorder that wrote to a pipe leaves it so, and FFmpeg reads on.
        try:
            if not rate and name.lower().endswith(_HEADERLESS):
                raise _RefusedError("not tried")  # FFmpeg now and then takes noise for MP3
            waveform, rate = _read_ffmpeg(source)
        except _RefusedError as refused:
            if not rate:
                raise AudioError(_unreadable(name, verdict, str(refused))) from None
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"{name}: absurd sample rate {rate} Hz, expected {MIN_RATE} to {MAX_RATE}; header broken?")
    return waveform, rate


def _unreadable(name: str, libsndfile: str, ffmpeg: str) -> str:
    if name.lower().endswith(_HEADERLESS):
        return (
            f"{name}: headerless PCM does not say its rate and sample format; "
            "give it a header, e.g. ffmpeg -f s16le -ar 16000 -ac 1 -i IN OUT.wav"
        )
    return f"{name}: not readable as audio (libsndfile: {libsndfile}; ffmpeg: {ffmpeg})"


def _libsndfile_source(source: str | bytes) -> Any:
    """soundfile wants a declared format for a name in .raw, whatever the file holds; a stream has no name."""
    if isinstance(source, str) and source.lower().endswith(".raw"):
        source = Path(source).read_bytes()
    return _Stream(source) if isinstance(source, bytes) else source


class _Stream(io.BytesIO):
    """Bytes for libsndfile, whose callback cannot raise: a corrupt header that points before the start stays put."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


def _libsndfile_blocks(source: str | bytes) -> Iterator[tuple[np.ndarray, int]]:
    """(mono samples, rate) piece by piece; at least one, which may be empty."""
    import soundfile

    try:
        with soundfile.SoundFile(_libsndfile_source(source)) as file:
            dtype = "int16" if file.subtype == "PCM_16" else "float32"
            yield np.empty(0, dtype), file.samplerate
            size = BLOCK
            while size == BLOCK:  # a shorter one is the last: asking again would cost a short file a tenth of its time
                block = file.read(BLOCK, dtype=dtype, always_2d=True)
                size = len(block)
                yield _mono(block), file.samplerate
    except soundfile.LibsndfileError as error:
        raise _RefusedError(_one_line(error.error_string)) from None


def _read_libsndfile(source: str | bytes) -> tuple[np.ndarray, int]:
    pieces = list(_libsndfile_blocks(source))
    return _joined([block for block, _ in pieces]), pieces[0][1]


def _libsndfile_rate(source: str | bytes) -> int:
    """The rate of a file that libsndfile reads and knows the length of, else 0."""
    import soundfile

    try:
        _libsndfile_duration_s(source)
        return soundfile.info(_libsndfile_source(source)).samplerate
    except _RefusedError:
        return 0


def _libsndfile_duration_s(source: str | bytes) -> float:
    import soundfile

    try:
        with soundfile.SoundFile(_libsndfile_source(source)) as info:  # `soundfile.info` also describes the format
            pass
    except soundfile.LibsndfileError as error:
        raise _RefusedError(_one_line(error.error_string)) from None
    # 2**63 - 1 frames is libsndfile's "unknown"; nothing real lasts a year.
    if not 0 < info.frames < 366 * 86400 * max(info.samplerate, 1):
        raise _RefusedError("length unknown")
    return info.frames / info.samplerate


@contextmanager
def _ffmpeg_stream(source: str | bytes) -> Iterator[tuple[Any, Any]]:
    """An open container and its first audio stream; every verdict of FFmpeg's on the way becomes a refusal."""
    import av
    import av.error

    # A file object, not its name: FFmpeg reads "concat:a|b" and "http://" out of names.
    with open(source, "rb") if isinstance(source, str) else io.BytesIO(source) as file:
        try:
            with av.open(file, options=_FFMPEG_OPTIONS, metadata_errors="replace") as container:
                if not container.streams.audio:
                    raise _RefusedError(f"no audio stream in {container.format.name}")
                stream = container.streams.audio[0]
                if stream.codec_context is None:
                    raise _RefusedError("no decoder for this encoding")
                yield container, stream
        except av.error.FFmpegError as error:
            raise _RefusedError(_one_line(error.strerror)) from None


def _read_ffmpeg(source: str | bytes) -> tuple[np.ndarray, int]:
    blocks, rate = [], 0
    with _ffmpeg_stream(source) as (container, stream):
        for frame in _frames(container, stream):
            if rate not in (0, frame.sample_rate):
                raise _RefusedError(f"the sample rate changes from {rate} to {frame.sample_rate} Hz")
            rate = frame.sample_rate
            blocks.append(_mono(_as_float(frame)))
    if not blocks:
        raise _RefusedError("no samples")
    return _joined(blocks), rate


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
            raise _RefusedError(f"corrupt after {seconds:.2f} s")
        for frame in frames:
            if numbered and frame.pts is not None:
                first_pts = frame.pts if first_pts is None else first_pts
                if float((frame.pts - first_pts) * frame.time_base) > seconds + 0.01:
                    raise _RefusedError(f"corrupt within the first {seconds:.2f} s")
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
    return samples.T.astype(np.float32, copy=False)


def _ffmpeg_duration_s(source: str | bytes) -> float:
    import av

    with _ffmpeg_stream(source) as (container, stream):
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        if container.duration:
            return container.duration / av.time_base
    raise _RefusedError("length unknown")


def _mono(block: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):  # what this makes of infinities is reported by _check_finite
        return block[:, 0] if block.shape[1] == 1 else as_float(block).mean(axis=1)


def _joined(blocks: list[np.ndarray]) -> np.ndarray:
    found = [block for block in blocks if len(block)]
    if len(found) == 1:
        return found[0]  # no copy
    return np.concatenate(found) if found else np.empty(0, np.float32)


def _check_finite(name: str, waveform: np.ndarray, rate: int, before: int = 0) -> None:
    """Refuse NaN and infinities; `before` samples of the file came in earlier pieces."""
    if waveform.dtype == np.int16 or (finite := np.isfinite(waveform)).all():
        return
    bad = np.flatnonzero(~finite)
    first = before + int(bad[0])
    where = f"the first at sample {first} ({first / rate:.3f} s)"
    raise AudioError(f"{name}: {len(bad)} of {len(waveform)} samples are NaN or infinite, {where}")


def _check_length(name: str, samples: int, sample_rate: int) -> None:
    needed = round(MIN_DURATION_S * sample_rate)
    if samples < needed:
        raise AudioError(
            f"{name}: too short, {samples} samples ({1000 * samples / sample_rate:.1f} ms) at {sample_rate} Hz; "
            f"one frame needs {needed} (25 ms)"
        )


def _resample(waveform: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    """HQ because librosa and so FunASR use it; its 20 bits (-120 dB) lie below anything a 16-bit recording holds."""
    if rate == sample_rate:
        return np.ascontiguousarray(waveform)
    import soxr

    resampled = soxr.resample(as_float(waveform), rate, sample_rate, quality="HQ")
    result = np.zeros(math.ceil(len(waveform) * (sample_rate / rate)), np.float32)
    kept = min(len(result), len(resampled))  # librosa.util.fix_length: soxr rounds, librosa wants the ceiling
    result[:kept] = resampled[:kept]
    return result


def _one_line(message: str | None) -> str:
    return " ".join((message or "unknown error").split()).rstrip(".")
