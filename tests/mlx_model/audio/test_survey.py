"""Several recordings in one file, and sizes that do not fit. Oracles: the samples that were written, and arithmetic."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from mlx_model.audio import chunk_files
from mlx_model.audio.files import blocks, load_recording
from mlx_model.errors import AudioError
from tests.mlx_model.audio.test_files import write_with_ffmpeg
from tests.mlx_model.audio_bytes import encoded, wav

SAMPLES = (np.arange(16000) % 997 * 20 - 9000).astype(np.int16)  # 1 s
OTHER = -SAMPLES[:8000]  # 0.5 s
NOISE = np.random.default_rng(0).integers(-9000, 9000, 16000).astype(np.int16)  # which FLAC cannot make small
HALF = encoded(NOISE, "FLAC")[:20_000]
LIST = b"LIST" + struct.pack("<I", 4) + b"INFO"


def both(content: bytes) -> tuple[np.ndarray, list[str]]:
    """Return what is heard and said, which is the same for `transcribe` (whole) and `vad` (piece by piece)."""
    whole, notes = load_recording(content)
    said: list[str] = []
    pieces = np.concatenate(list(blocks(content, notes=said)))
    assert np.array_equal(pieces, whole if whole.dtype == np.float32 else whole / np.float32(32768))
    assert said == notes
    assert all("\n" not in note for note in notes)
    return whole, notes


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAV", "IMA_ADPCM"), ("WAVEX", "PCM_16"),
        ("RF64", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("W64", "PCM_16"), ("CAF", "PCM_16"),
        ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
    ],
)  # fmt: skip
def test_of_several_recordings_the_first_is_heard_and_the_rest_is_counted(kind: str, subtype: str):
    alone = encoded(SAMPLES, kind, subtype)
    first, notes = both(alone)
    assert notes == []
    for behind, seconds in ((encoded(OTHER, kind, subtype), 0.5), (2 * encoded(OTHER, kind, subtype), 1.0)):
        heard, notes = both(alone + behind)
        assert np.array_equal(heard, first)
        (note,) = notes
        assert f"holds {2 + (seconds == 1.0)} recordings in a row; the first is heard" in note
        # A frame or block more at the end of lossy ones: at most 0.06 s each.
        assert float(note.split(", ")[2].split(" s")[0]) == pytest.approx(seconds, abs=0.16 if kind == "MP3" else 0.04)


@pytest.mark.parametrize(
    ("content", "heard", "says"),
    [
        (wav(SAMPLES, data_size=0), 1.0, "does not say how long it is (data size 0); read to the file's end, 1.00 s"),
        (wav(SAMPLES, data_size=0, riff_size=0), 1.0, "data size 0"),
        (wav(SAMPLES, order=">", data_size=0), 1.0, "data size 0"),
        (wav(SAMPLES, data_size=0xFFFFFFFF, riff_size=0xFFFFFFFF), 1.0, "data size 4294967295"),
        (wav(SAMPLES, data_size=0x7FFFFFFF), 1.0, "data size 2147483647"),
        (wav(SAMPLES, data_size=64000), 1.0, "cut short: its header counts 2.00 s, the file holds 1.00 s"),
        (wav(SAMPLES, data_size=16000), 0.5, "goes on for 16,000 bytes behind the 0.50 s"),
        (wav(SAMPLES, behind=b"not a chunk" * 9), 1.0, "goes on for 99 bytes behind the 1.00 s"),
        (wav(SAMPLES, riff_size=36), 1.0, "RIFF header counts 44 bytes, the file has 32,044"),
        (wav(SAMPLES, riff_size=99999), 1.0, "RIFF header counts 100,007 bytes"),
        (wav(SAMPLES, data_size=0xFFFFFFFF) + wav(OTHER), 1.5 + 44 / 32000, "with a click at each"),
        (HALF, None, "cut short: its header counts 1.00 s"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_sizes_that_do_not_fit_are_told(content: bytes, heard: float | None, says: str):
    samples, notes = both(content)
    assert heard is None or len(samples) == round(heard * 16000)
    assert says in notes[-1]


@pytest.mark.parametrize(
    "content",
    [
        wav(SAMPLES), wav(SAMPLES, order=">"), wav(SAMPLES, before=LIST), wav(SAMPLES, behind=LIST),
        wav(SAMPLES) + LIST, wav(SAMPLES) + bytes(512), wav(SAMPLES) + b"TAG" + b" " * 125,
        wav(np.stack([SAMPLES, SAMPLES], 1)),
    ],
)  # fmt: skip
def test_nothing_is_said_of_padding_chunks_and_tags(content: bytes):
    samples, notes = both(content)
    assert (len(samples), notes) == (16000, [])


def test_mp3_frames_without_a_tag_may_be_joined():
    """They are one stream by design: what is cut out of a broadcast is one recording. All of it is heard."""
    content = encoded(SAMPLES, "MP3", "MPEG_LAYER_III")
    place = content.index(b"Info") if b"Info" in content else content.index(b"Xing")
    sync = content[place - 13 : place - 11]  # of MPEG 2, mono
    start = content.index(sync, place)
    frames = content[start:]
    heard, notes = both(frames + frames)
    assert notes == []
    assert len(heard) > 1.8 * 16000


@pytest.mark.parametrize("counted", [5_000_000, 100])
def test_an_mp3_behind_a_wrong_id3_size_is_read(counted: int):
    content = encoded(SAMPLES, "MP3", "MPEG_LAYER_III")
    size = bytes(counted >> shift & 0x7F for shift in (21, 14, 7, 0))
    heard, notes = both(b"ID3\x03\0\0" + size + bytes(200) + content)
    assert np.array_equal(heard, load_recording(content).samples)
    assert f"its ID3 tag counts {counted + 10:,} bytes" in notes[0]


def test_an_id3_tag_without_sound_is_not_said_to_be_absent(tmp_path):
    (tmp_path / "a.mp3").write_bytes(b"ID3\x03\0\0\x02\x31\x16\x40" + bytes(900))
    with pytest.raises(AudioError, match="not readable as audio") as caught:
        load_recording(tmp_path / "a.mp3")
    assert "not exist" not in str(caught.value)


def test_an_mp4_that_was_cut_off(tmp_path):
    """Recorders write the index last; a player's file has it first. Oracle: PyAV's file, cut."""
    write_with_ffmpeg(tmp_path / "a.m4a", "aac", SAMPLES / 32768, 16000)
    whole = (tmp_path / "a.m4a").read_bytes()
    assert load_recording(whole).notes == []
    with pytest.raises(AudioError, match=r"its index \(moov\) is missing"):
        load_recording(whole[: len(whole) // 2])
    start, index = whole.index(b"mdat") - 4, whole.index(b"moov") - 4
    first = whole[:start] + whole[index:]  # the index in front; its offsets are those of another file
    said = chunk_files.look(io.BytesIO(first + whole[start:index]), len(first) + index - start, first[:64])
    assert said is not None
    assert said.notes == []
    said = chunk_files.look(io.BytesIO(first + whole[start : index - 99]), len(first) + index - start - 99, first[:64])
    assert said is not None
    assert said.notes == [f"cut short: its boxes count {len(whole):,} bytes, the file has {len(whole) - 99:,}"]


def test_what_is_wrong_with_an_empty_first_recording_is_said():
    with pytest.raises(AudioError, match=r"too short, 10 samples.*holds 2 recordings in a row; the first is heard"):
        load_recording(wav(SAMPLES[:10]) + wav(SAMPLES))
