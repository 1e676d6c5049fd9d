"""RTTM written and read back, and what is no RTTM. Oracle: NIST's format, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlx_model.errors import DatasetError
from mlx_model.text.speakers import Diarization, Turn, read_rttm, rttm

MEETING = Diarization(path="rooms/big room.wav", turns=[Turn(0.0, 1.5, 0), Turn(1.5, 2.0004, 1)])


def test_rttm_by_hand():
    assert rttm([MEETING]).splitlines() == [
        "SPEAKER big%20room 1 0.000 1.500 <NA> <NA> speaker0 <NA> <NA>",
        "SPEAKER big%20room 1 1.500 0.500 <NA> <NA> speaker1 <NA> <NA>",
    ]
    assert rttm([Diarization(path="silent.wav")]) == ""


def test_what_was_written_is_read(tmp_path: Path):
    path = tmp_path / "a.rttm"
    path.write_text(f";; made\n{rttm([MEETING])}\n", "utf-8")
    assert read_rttm(path) == {"big%20room": [(0.0, 1.5, "speaker0"), (1.5, 2.0, "speaker1")]}


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "has no SPEAKER line"), ("hello\n", "line 1: 'hello' is no line of RTTM"),
     ("SPEAKER a 1 x 1 <NA> <NA> b <NA> <NA>", "line 1: expected SPEAKER FILE"),
     ("SPEAKER a 1 0 nan <NA> <NA> b", "line 1: expected SPEAKER FILE"), ("SPEAKER a 1 0", "expected SPEAKER FILE")],
)  # fmt: skip
def test_what_is_no_rttm_is_refused(tmp_path: Path, text: str, said: str):
    path = tmp_path / "a.rttm"
    path.write_text(text, "utf-8")
    with pytest.raises(DatasetError, match=said):
        read_rttm(path)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_rttm(tmp_path / "none.rttm")
