"""Any audio file to a mono waveform: the package's only input besides loading.py.

The plainest WAV is read by plain_wave.py; libsndfile (libsndfile.py) reads WAV of every kind, AIFF, AU, W64, CAF, FLAC,
Ogg and MP3; FFmpeg's libraries (ffmpeg.py, the extra `media`) get what it refuses: M4A, WebM, WMA, ADTS. What lies in a
file beside the first recording is survey.py's, what is no recording at all content.py's. soxr is imported where it is
used. Must not import mlx, torch or funasr.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from mlx_model.audio import ffmpeg, libsndfile, plain_wave
from mlx_model.audio.decoders import MissingError, RefusedError, joined, mono
from mlx_model.audio.medium import Medium, Source, opened
from mlx_model.audio.plain_wave import MAX_RATE, MIN_RATE, as_float
from mlx_model.audio.survey import survey
from mlx_model.errors import AudioError
from mlx_model.files import content
from mlx_model.files.names import shown

MIN_DURATION_S = 0.025  # one analysis window; FunASR has no frame for less
BLOCK = 1 << 20  # frames read at once: a header that promises 2**63 of them must not allocate them

_HEADERLESS = (".pcm", ".raw", ".sw", ".s16", ".s16le")


class Recording(NamedTuple):
    """A waveform (int16 or float32, see `as_float`), and what there is to say of the file it comes from."""

    samples: np.ndarray
    notes: list[str]


def load_audio(source: Source, sample_rate: int = 16000) -> Float32[np.ndarray, " S"]:
    """Return the waveform: mono, contiguous, `sample_rate` Hz, full scale is 1.0 (louder floats are not clipped).

    Mirrors funasr/utils/load_utils.py::load_audio_text_image_video as it runs without torchaudio: the mean over the
    channels (antiphase stereo becomes silence there too), then librosa.resample, i.e. soxr at quality HQ and
    ceil(S * ratio) samples. A file cut short gives the samples it has; damage in the middle is an error. Of several
    recordings in one file the first is heard.

    Args:
        source: a path, the bytes of a file, or a binary stream (read from its start where it can seek).
        sample_rate: rate of the result, Hz.

    Raises:
        AudioError: missing, empty, no audio, corrupt, NaN or infinite samples, or shorter than 25 ms.
    """
    return as_float(load_samples(source, sample_rate))


def load_samples(source: Source, sample_rate: int = 16000) -> np.ndarray:
    """Return the waveform of `load_audio`, as int16 (see `as_float`) where a file holds 16 bit, mono, at that rate."""
    return load_recording(source, sample_rate).samples


def load_recording(source: Source, sample_rate: int = 16000, *, longest_s: float | None = None) -> Recording:
    """Return the waveform of `load_samples` with what there is to say of the file: see `survey.py`.

    Args:
        source, sample_rate: as for `load_audio`.
        longest_s: a longer recording is refused, before all of it is in memory.

    Raises:
        AudioError: as `load_audio`, and too long.
    """
    name, waveform, rate, notes = _read(source, longest_s)
    if longest_s is not None and len(waveform) > longest_s * rate:
        raise too_long(name, len(waveform) / rate, longest_s)
    waveform = _resample(waveform, rate, sample_rate)
    _check_length(name, len(waveform), sample_rate, notes)
    return Recording(waveform, notes)


def too_long(name: str, length_s: float, longest_s: float) -> AudioError:
    """Return the error of a recording that does not fit into one pass of the network."""
    return AudioError(
        f"{name}: {length_s:.0f} s is too long for one pass (at most {longest_s:.0f} s); "
        "find its pauses with --vad VAD_MODEL"
    )


def blocks(
    source: Source, sample_rate: int = 16000, notes: list[str] | None = None
) -> Iterator[Float32[np.ndarray, " S"]]:
    """Yield the waveform of `load_audio` piece by piece, a minute or so each.

    Only one piece is in memory where libsndfile reads the file; what is FFmpeg's to read is decoded as a whole first.

    Args:
        source, sample_rate: as for `load_audio`.
        notes: is given what there is to say of the file, as in `Recording`.

    Raises:
        AudioError: as `load_audio`, some of it only when the pieces before were yielded.
    """
    found = survey(opened(source))
    name, said = found.medium.name, [] if notes is None else notes
    rate = _rate(found.medium)
    if rate is None:
        recording = load_recording(source, sample_rate)
        said += recording.notes
        waveform = as_float(recording.samples)
        yield from (waveform[at : at + BLOCK] for at in range(0, len(waveform), BLOCK))
        return
    said += found.notes
    resample = resampler(rate, sample_rate)
    count = 0
    for block in _read_on(found.medium, rate):
        check_finite(name, block, rate, count)
        count += len(block)
        yield resample(as_float(block), False)
    said += found.cut_short(count / rate)
    _check_length(name, math.ceil(count * (sample_rate / rate)), sample_rate, said)
    yield resample(np.empty(0, np.float32), True)


def _read_on(medium: Medium, rate: int) -> Iterator[np.ndarray]:
    """What libsndfile reads, and where it gives up FFmpeg."""
    count = 0
    try:
        for block, _ in libsndfile.blocks(medium, BLOCK):
            count += len(block)
            yield block
    except RefusedError as refused:
        yield from _behind(medium, count, rate, str(refused))


def _behind(medium: Medium, count: int, rate: int, verdict: str) -> Iterator[np.ndarray]:
    """What FFmpeg reads behind the first `count` samples, where libsndfile gave up: a FLAC that was cut short."""
    at = 0
    try:
        for block, found_rate in ffmpeg.blocks(medium):
            if found_rate != rate:
                raise RefusedError(f"its rate is {found_rate} Hz now")
            at += len(block)
            if at > count:
                yield block[max(len(block) - (at - count), 0) :]
    except RefusedError as refused:
        tried = "" if isinstance(refused, MissingError) else f"; ffmpeg: {refused}"
        where = max(at, count) / rate
        raise AudioError(f"{medium.name}: not readable after {where:.2f} s (libsndfile: {verdict}{tried})") from None


def resampler(rate: int, sample_rate: int) -> Callable[[np.ndarray, bool], np.ndarray]:
    """Return function(samples, whether they are the last) -> samples at `sample_rate`, for a stream cut anyhow.

    All it returns, one behind the other, are the samples of `load_audio`, to the bit: soxr computes a stream and a
    whole in one way, and the length is made librosa's in both.

    Raises:
        AudioError: a rate that no recording has.
    """
    if rate == sample_rate:
        return lambda samples, _: samples
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"absurd sample rate {rate} Hz, expected {MIN_RATE} to {MAX_RATE}")
    import soxr

    # HQ because librosa and so FunASR use it; its 20 bits (-120 dB) lie below anything a 16-bit recording holds.
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    taken = given = 0

    def resample(samples: np.ndarray, last: bool) -> np.ndarray:
        nonlocal taken, given
        found = stream.resample_chunk(np.ascontiguousarray(samples, np.float32), last)
        taken, given = taken + len(samples), given + len(found)
        if not last:
            return found
        # librosa.util.fix_length: soxr rounds, librosa wants the ceiling
        return np.pad(found, (0, math.ceil(taken * (sample_rate / rate)) - given))

    return resample


def duration_s(source: Source) -> float:
    """Return the length in seconds as the header has it, for sorting; decodes only where the header does not say.

    Raises:
        AudioError: as `load_audio`, as far as the header shows it.
    """
    if isinstance(source, (str, Path)) and (known := plain_wave.duration_s(source)):
        return known
    medium = opened(source)
    with suppress(RefusedError):
        frames, rate = libsndfile.length(medium)
        return frames / rate
    medium = survey(medium).medium
    with suppress(RefusedError):
        frames, rate = libsndfile.length(medium)
        return frames / rate
    with suppress(RefusedError):
        return ffmpeg.duration_s(medium)
    waveform, rate = _decode(medium, None)
    return len(waveform) / rate


def _read(source: Source, longest_s: float | None) -> tuple[str, np.ndarray, int, list[str]]:
    """The name for messages, the mono waveform at the file's own rate, that rate, and notes."""
    if isinstance(source, (str, Path)) and (plain := plain_wave.read(source)):
        return shown(source), mono(plain[0]), plain[1], []
    found = survey(opened(source))
    name = found.medium.name
    try:
        waveform, rate = _decode(found.medium, longest_s)
    except AudioError as error:
        raise AudioError(f"{error}{_appended(found.notes)}") from None
    if not len(waveform):
        raise AudioError(f"{name}: empty audio, the file holds a header and no samples{_appended(found.notes)}")
    check_finite(name, waveform, rate)
    return name, waveform, rate, found.notes + found.cut_short(len(waveform) / rate)


def _decode(medium: Medium, longest_s: float | None) -> tuple[np.ndarray, int]:
    """The mono waveform at the file's own rate, from the first decoder that reads it."""
    name = medium.name
    try:
        waveform, rate = _collected(name, libsndfile.blocks(medium, BLOCK), longest_s)
        verdict = "no samples"
    except RefusedError as refused:
        waveform, rate, verdict = np.empty(0, np.float32), 0, str(refused)
    if not len(waveform):
        try:
            if not rate:
                _check_content(medium)  # first: FFmpeg now and then takes a picture's or an archive's noise for MP3
            waveform, rate = _collected(name, ffmpeg.blocks(medium), longest_s)
        except MissingError as missing:
            if not rate:
                raise AudioError(f"{name}: {_needs_ffmpeg(medium, verdict)}: {missing}") from None
        except RefusedError as refused:
            if not rate:
                raise AudioError(f"{name}: not readable as audio (libsndfile: {verdict}; ffmpeg: {refused})") from None
    return waveform, rate


def _needs_ffmpeg(medium: Medium, verdict: str) -> str:
    with medium.open() as file:
        kind = content.media(file)
    if kind is not None:
        return f"is {kind}, which libsndfile does not read and FFmpeg's libraries do"
    return f"not readable as audio (libsndfile: {verdict}); FFmpeg's libraries, which read more, are not installed"


def _collected(name: str, pieces: Iterator[tuple[np.ndarray, int]], longest_s: float | None) -> tuple[np.ndarray, int]:
    """All pieces as one, unless they get too long or too large, or have a rate that nothing has."""
    blocks: list[np.ndarray] = []
    count, rate = 0, 0
    for block, rate in pieces:
        if not MIN_RATE <= rate <= MAX_RATE:
            raise AudioError(f"{name}: absurd sample rate {rate} Hz, expected {MIN_RATE} to {MAX_RATE}; header broken?")
        blocks.append(block)
        count += len(block)
        if longest_s is not None and count > longest_s * rate:
            raise AudioError(
                f"{name}: is too long for one pass (more than {longest_s:.0f} s); find its pauses with --vad VAD_MODEL"
            )
    try:
        return joined(blocks), rate
    except MemoryError:
        raise AudioError(f"{name}: {count / rate:.0f} s of sound do not fit into memory") from None


def _check_content(medium: Medium) -> None:
    """Refuse what is no recording, by its content, or by a name that says there is no header."""
    try:
        with medium.open() as file:
            what = content.identify(file, medium.size)
    except OSError as error:
        raise AudioError(f"{medium.name}: cannot be read: {error.strerror}") from None
    if what is not None:
        raise AudioError(f"{medium.name}: {what}")
    if (medium.path or "").lower().endswith(_HEADERLESS):
        raise AudioError(
            f"{medium.name}: headerless PCM does not say its rate and sample format; "
            "give it a header, e.g. ffmpeg -f s16le -ar 16000 -ac 1 -i IN OUT.wav"
        )


def _rate(medium: Medium) -> int | None:
    """The rate of a file that libsndfile reads, if it knows its length, and the rate is one that recordings have."""
    try:
        rate = libsndfile.length(medium)[1]
    except RefusedError:
        return None
    return rate if MIN_RATE <= rate <= MAX_RATE else None


def check_finite(name: str, waveform: np.ndarray, rate: int, before: int = 0) -> None:
    """Raise AudioError for NaN and infinities; `before` samples of the file came in earlier pieces."""
    if waveform.dtype == np.int16 or (finite := np.isfinite(waveform)).all():
        return
    bad = np.flatnonzero(~finite)
    first = before + int(bad[0])
    where = f"the first at sample {first} ({first / rate:.3f} s)"
    raise AudioError(f"{name}: {len(bad)} of {len(waveform)} samples are NaN or infinite, {where}")


def _appended(notes: list[str]) -> str:
    """What else there is to say of a file that cannot be used: it may be the reason."""
    return "".join(f"; {note}" for note in notes)


def _check_length(name: str, samples: int, sample_rate: int, notes: list[str]) -> None:
    needed = round(MIN_DURATION_S * sample_rate)
    if samples < needed:
        raise AudioError(
            f"{name}: too short, {samples} samples ({1000 * samples / sample_rate:.1f} ms) at {sample_rate} Hz; "
            f"one frame needs {needed} (25 ms){_appended(notes)}"
        )


def _resample(waveform: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    """The waveform at another rate; int16 stays where nothing is to be done."""
    if rate == sample_rate:
        return np.ascontiguousarray(waveform)
    return resampler(rate, sample_rate)(as_float(waveform), True)
