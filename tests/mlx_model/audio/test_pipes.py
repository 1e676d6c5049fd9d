"""Samples from a pipe, and their rate. Oracles: load_audio of the same bytes as a file; numbers by hand."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mlx_model.audio.files import blocks, load_audio, resampler
from mlx_model.audio.pipes import pcm
from mlx_model.errors import AudioError
from tests.conftest import speech_like


def through_pipe(data: bytes, sizes: list[int], rate: int | None = None, notes: list[str] | None = None) -> np.ndarray:
    """Write bytes into a pipe in writes of these sizes, over and over, and return what `pcm` makes of them."""
    reading, writing = os.pipe()

    def write() -> None:
        at, turn = 0, 0
        while at < len(data):
            size = sizes[turn % len(sizes)]
            os.write(writing, data[at : at + size])
            at, turn = at + size, turn + 1
        os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        return np.concatenate(list(pcm(reading, rate, 16000, notes)))
    finally:
        thread.join()
        os.close(reading)


@pytest.mark.parametrize("sizes", [[1], [3, 1, 64], [100_000]])
def test_a_pipe_gives_the_samples_however_they_are_written(sizes: list[int]):
    samples = np.random.default_rng(0).integers(-32768, 32767, 2000).astype("<i2")
    np.testing.assert_array_equal(through_pipe(samples.tobytes(), sizes), samples / 32768)


def test_half_a_sample_at_the_end_of_a_pipe_is_dropped_and_said():
    notes: list[str] = []
    assert through_pipe(b"\x00\x40\x00", [1], notes=notes).tolist() == [0.5]
    assert notes == ["the last 1 byte(s) are no whole sample, and were dropped"]
    assert through_pipe(b"", [1]).tolist() == []


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 7999])
def test_a_stream_is_resampled_as_the_whole_to_the_bit(rate: int, tmp_path: Path):
    """Oracle: soxr on the whole waveform, at the length that librosa gives it."""
    import soxr

    waveform = speech_like(1.0, rate=rate)
    whole = soxr.resample(waveform, rate, 16000, quality="HQ")
    expected = np.zeros(int(np.ceil(len(waveform) * (16000 / rate))), np.float32)
    expected[: len(whole)] = whole
    for size in (1 if rate == 8000 else 17, 160, 9601, len(waveform)):
        resample = resampler(rate, 16000)
        found = [resample(waveform[at : at + size], False) for at in range(0, len(waveform), size)]
        np.testing.assert_array_equal(np.concatenate([*found, resample(np.empty(0, np.float32), True)]), expected)
    soundfile.write(tmp_path / "a.wav", waveform, rate, subtype="FLOAT")
    np.testing.assert_array_equal(load_audio(tmp_path / "a.wav"), expected)
    np.testing.assert_array_equal(np.concatenate(list(blocks(tmp_path / "a.wav"))), expected)


def test_a_pipe_of_raw_samples_of_another_rate():
    samples = (speech_like(1.0, rate=8000) * 32768).astype("<i2")
    expected = resampler(8000, 16000)((samples / 32768).astype(np.float32), True)
    np.testing.assert_array_equal(through_pipe(samples.tobytes(), [1001], rate=8000), expected)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("kind", ["WAV", "WAVEX"])
def test_a_wav_file_in_a_pipe_is_the_file(subtype: str, kind: str, tmp_path: Path):
    """Oracle: load_audio, i.e. libsndfile; two channels and 22,050 Hz, so that all of the header counts."""
    stereo = np.stack([speech_like(0.3, rate=22050), speech_like(0.3, seed=1, rate=22050)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 22050, subtype=subtype, format=kind)
    data = (tmp_path / "a.wav").read_bytes()
    found = through_pipe(data + b"LIST\4\0\0\0abcd", [997])  # a chunk behind the samples is not heard
    np.testing.assert_allclose(found, load_audio(tmp_path / "a.wav"), atol=1e-6)  # doubles are rounded before the mean
    assert len(found) == len(load_audio(tmp_path / "a.wav"))


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_a_header_that_does_not_know_its_length_means_all_there_is(size: int):
    form = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)
    header = b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + struct.pack("<I", 16) + form
    data = header + b"LIST" + struct.pack("<I", 3) + b"abc\0" + b"data" + struct.pack("<I", size)
    assert through_pipe(data + b"\0\x40\0\xc0", [5]).tolist() == [0.5, -0.5]


def test_a_header_that_promises_more_than_comes_is_said():
    header = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16) + b"data\x08\0\0\0"
    notes: list[str] = []
    assert through_pipe(header + b"\0\x40", [64], notes=notes).tolist() == [0.5]
    assert notes == ["its WAV header promises 8 bytes of samples; 2 came"]


def test_a_pipe_that_is_no_pcm():
    form = struct.pack("<HHIIHH", 3, 1, 16000, 64000, 4, 32)
    floats = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + form + b"data\0\0\0\0"
    bad = np.array([0.1, np.nan], "<f4").tobytes()
    for data, rate, says in (
        (b"fLaC" + bytes(100), None, "FLAC header"),
        (b"RIFF" + bytes(100), None, "is none"),
        (b"RIFF", None, "ends within its WAV header"),
        (floats, 8000, "says 16000 Hz and --rate 8000"),
        (floats + bad, None, "the first at sample 1"),
        (floats.replace(form[:2], b"\x06\0"), None, "format 6, 32 bits"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", None, "does not say how"),
        (b"RIFF\0\0\0\0WAVELIST\0\0\0\x10", None, "no samples in the first"),
        (b"", 5, "absurd sample rate 5 Hz"),
    ):
        with pytest.raises(AudioError, match=says):
            through_pipe(data, [200], rate=rate)
