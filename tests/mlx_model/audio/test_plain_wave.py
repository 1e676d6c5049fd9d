"""The short way to read an ordinary WAV file. Oracle: libsndfile, on files whose headers are put together by hand."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.audio import plain_wave
from mlx_model.audio.files import load_audio

SAMPLES = np.random.default_rng(3).integers(-32768, 32768, 2400).astype("<i2").tobytes()


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    """Return a RIFF chunk, padded to an even length; `size` is what it says of itself."""
    return name + struct.pack("<I", len(content) if size is None else size) + content + b"\0" * (len(content) % 2)


def wav(
    *,
    channels: int = 1,
    rate: int = 16000,
    bits: int = 16,
    code: int = 1,
    before: bytes = b"",
    data: bytes = SAMPLES,
    promised: int | None = None,
    after: bytes = b"",
    magic: bytes = b"RIFF",
) -> bytes:
    """Return a WAV file; `promised`: what the data chunk says it holds, in bytes."""
    width = channels * bits // 8
    form = struct.pack("<HHIIHH", code, channels, rate, rate * width, width, bits)
    body = b"WAVE" + chunk(b"fmt ", form) + before + chunk(b"data", data, promised) + after
    return magic + struct.pack("<I", len(body)) + body


ORDINARY = {
    "mono": wav(),
    "stereo": wav(channels=2),
    "8 kHz": wav(rate=8000),
}
NOT_OURS = {
    "a list before the samples": wav(before=chunk(b"LIST", b"INFOISFT" + b"x" * 31)),
    "a list behind them": wav(after=chunk(b"LIST", b"INFOISFT" + b"x" * 30)),
    "half a sample at the end": wav(data=SAMPLES + b"\1"),
    "no samples": wav(data=b""),
    "big-endian": wav(magic=b"RIFX"),
    "8 bit": wav(bits=8),
    "24 bit": wav(bits=24, data=SAMPLES * 3),
    "float": wav(bits=32, code=3, data=np.linspace(-1, 1, 2400, dtype="<f4").tobytes()),
    "mu-law": wav(bits=8, code=7),
    "cut short": wav(promised=9600),
    "more than was promised": wav(promised=2400),
    "a recorder's, that wrote to a pipe": wav(promised=0),
    "a recorder's, of no known length": wav(promised=0xFFFFFFFF),
}


def written(folder: Path, content: bytes) -> Path:
    """Return the path of a file with that content."""
    path = folder / "a.wav"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_files_are_read_as_libsndfile_reads_them(tmp_path: Path, content: bytes):
    path = written(tmp_path, content)
    expected, rate = soundfile.read(path, dtype="int16", always_2d=True)
    found = plain_wave.read(path)
    assert found is not None
    assert (found[0].dtype, found[1], len(expected) > 0) == (np.dtype("<i2"), rate, True)
    assert np.array_equal(found[0], expected)
    assert plain_wave.duration_s(path) == len(expected) / rate


@pytest.mark.parametrize("content", NOT_OURS.values(), ids=NOT_OURS)
def test_all_others_are_left_to_libsndfile(tmp_path: Path, content: bytes):
    assert plain_wave.read(written(tmp_path, content)) is None


@pytest.mark.parametrize("bits", [8, 24, 32])
def test_lengths_are_known_at_every_width(tmp_path: Path, bits: int):
    path = written(tmp_path, wav(bits=bits, data=SAMPLES[:2400]))
    assert plain_wave.duration_s(path) == soundfile.info(path).frames / 16000 > 0


def test_a_long_file_is_left_to_libsndfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = written(tmp_path, wav())
    monkeypatch.setattr(plain_wave, "MOST", path.stat().st_size - 1)
    assert plain_wave.read(path) is None
    assert len(load_audio(path)) == 2400


def test_a_name_without_the_ending_and_a_pipe_are_not_opened(tmp_path: Path):
    other = tmp_path / "a.audio"
    other.write_bytes(wav())
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (other, tmp_path / "pipe.wav", tmp_path / "missing.wav", tmp_path / "a\0.wav", tmp_path):
        assert (plain_wave.read(path), plain_wave.duration_s(path)) == (None, None)


@given(st.data())
def test_damaged_headers_give_what_libsndfile_gives(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    """Bytes of an ordinary header are exchanged, and the file is cut somewhere: where both read, samples agree."""
    content = bytearray(wav())
    for at in data.draw(st.lists(st.integers(0, 43), max_size=3)):
        content[at] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.sampled_from([len(content), len(content) - 1, 2000, 80, 44, 13]))]
    path = written(tmp_path_factory.mktemp("damaged"), bytes(content))
    found = plain_wave.read(path)
    if found is None:
        return
    expected, rate = soundfile.read(path, dtype="int16", always_2d=True)
    assert found[1] == rate
    assert np.array_equal(found[0], expected)
