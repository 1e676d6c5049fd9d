"""An MP3 whose ID3 tag counts 5 MB: "File does not exist or is not a regular file (possibly a pipe?)", and it does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlx_model.audio.files import duration_s, load_recording
from mlx_model.errors import AudioError
from tests.conftest import speech_like
from tests.mlx_model.audio_bytes import encoded

TAG = b"ID3\x03\x00\x00\x02\x31\x16\x40" + bytes(200)  # 5,000,000 bytes, it says


def test_it_is_read_from_its_first_frame_and_a_note_says_so(tmp_path: Path):
    mp3 = encoded(speech_like(1.0), "MP3")
    (tmp_path / "a.mp3").write_bytes(TAG + mp3)
    samples, notes = load_recording(tmp_path / "a.mp3")
    np.testing.assert_array_equal(samples, load_recording(mp3).samples)
    assert notes == [f"its ID3 tag counts 5,000,010 bytes, the file has {210 + len(mp3):,}; read from byte 210 on"]
    assert duration_s(tmp_path / "a.mp3") == pytest.approx(1.0, abs=0.2)


def test_without_sound_the_message_says_nothing_untrue(tmp_path: Path):
    (tmp_path / "a.mp3").write_bytes(TAG)
    with pytest.raises(AudioError) as caught:
        load_recording(tmp_path / "a.mp3")
    assert "not readable as audio" in str(caught.value)
    assert "exist" not in str(caught.value)
    assert "pipe" not in str(caught.value)
