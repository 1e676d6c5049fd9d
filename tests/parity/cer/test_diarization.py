"""DER, JER and cpCER by hand: 20 s of two speakers, one border 2 s late."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlx_model.errors import DatasetError, DependencyError, UsageError
from parity.cer.diarization import Said, cp_errors, read_turns, score_speakers

REF = "SPEAKER m 1 0 10 <NA> <NA> a <NA> <NA>\nSPEAKER m 1 10 10 <NA> <NA> b <NA> <NA>\n"
HYP = "SPEAKER m 1 0 12 <NA> <NA> x <NA> <NA>\nSPEAKER m 1 12 8 <NA> <NA> y <NA> <NA>\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "ref.rttm").write_text(REF, "utf-8")
    (tmp_path / "hyp.rttm").write_text(HYP, "utf-8")
    return tmp_path / "ref.rttm", tmp_path / "hyp.rttm"


def test_der_and_jer_by_hand(files: tuple[Path, Path]):
    pytest.importorskip("pyannote.metrics")
    found = score_speakers(*files)
    assert found["der"] == pytest.approx(2 / 20)  # 2 s of 20 confused
    assert found["jer"] == pytest.approx((2 / 12 + 2 / 10) / 2)  # a: 2 of the union of 12; b: 2 of 10
    assert (found["confusion_s"], found["missed_detection_s"], found["false_alarm_s"]) == (2.0, 0.0, 0.0)
    assert score_speakers(*files, collar_s=0.5)["confusion_s"] == pytest.approx(1.5)  # 10.5 to 12
    assert score_speakers(files[0], files[0])["der"] == 0.0


def test_a_recording_that_was_not_heard_is_missed(files: tuple[Path, Path]):
    pytest.importorskip("pyannote.metrics")
    files[0].write_text(REF + REF.replace(" m ", " n "), "utf-8")
    found = score_speakers(*files)
    assert (found["missed_detection_s"], found["missing"]) == (20.0, 1)
    assert "'n' is not in" in found["notes"][0]


def test_cpcer_by_hand():
    truth = [Said(0, 1, "a", "今天天气"), Said(1, 2, "b", "很好"), Said(2, 3, "a", "吗")]
    heard = [Said(0, 1, "y", "今天天汽"), Said(1, 2, "x", "很好"), Said(2, 3, "x", "吗")]
    # a <-> y: one wrong, one missing; b <-> x: one too many
    assert cp_errors(truth, heard) == (3, 7)
    assert cp_errors(truth, []) == (7, 7)
    assert cp_errors(truth, truth[::-1]) == (0, 7)


def test_stm_is_read(tmp_path: Path):
    path = tmp_path / "a.stm"
    path.write_text(";; x\nm 1 a 0.0 1.5 <o,f0> 今天 天气\nm 1 b 1.5 2\n", "utf-8")
    assert read_turns(path) == {"m": [(0.0, 1.5, "a", " 今天 天气"), (1.5, 2.0, "b", "")]}
    path.write_text("m 1 a zero 1 x", "utf-8")
    with pytest.raises(DatasetError, match="line 1: expected FILE CHANNEL SPEAKER"):
        read_turns(path)


def test_bad_wishes(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match="a collar of -1 s"):
        score_speakers(*files, collar_s=-1)
    monkeypatch.setitem(sys.modules, "pyannote.core", None)
    with pytest.raises(DependencyError, match=r"pip install 'mlx-funasr\[speakers\]'"):
        score_speakers(*files)
    files[1].write_text(HYP.replace(" m ", " other "), "utf-8")
    with pytest.raises(DatasetError, match="has none of the recordings"):
        score_speakers(*files)
