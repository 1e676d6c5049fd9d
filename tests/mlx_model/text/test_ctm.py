"""NIST's ctm. Oracles: by hand; undoing its escapes; `cer score`'s reader of the format."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.text.ctm import ctm, escaped, names
from mlx_model.text.results import Word

ANY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def test_lines_by_hand():
    """Sorted by name and time; to the millisecond; the confidence left out where there is none."""
    late = Word(text="好", start_ms=1500, end_ms=1740, confidence=0.98765)
    early = Word(text="你", start_ms=60, end_ms=60, confidence=1.0)
    plain = Word(text="ok", start_ms=0, end_ms=90)
    assert ctm([("in/b.wav", [late, early]), ("in/a b.flac", [plain]), ("in/c.wav", [])]).split("\n") == [
        "a%20b 1 0.000 0.090 ok",
        "b 1 0.060 0.000 你 1.0000",
        "b 1 1.500 0.240 好 0.9877",
    ]
    assert ctm([]) == ""


def test_names_are_short_where_that_mixes_none_up():
    assert names(["x/a.wav", "y/b.v2.wav", None]) == ["a", "b.v2", "waveform-3"]
    assert names(["x/a.wav", "y/a.wav"]) == ["x/a.wav", "y/a.wav"]
    assert names([";;.wav"]) == ["%3B;"]


@given(ANY)
def test_a_field_is_one_field_and_can_be_read_back(text: str):
    found = escaped(text)
    assert len(found.split()) == 1
    assert not found.startswith(";")
    assert unquote(found) == text


def test_half_a_surrogate_pair_and_nothing():
    assert escaped("a\ud800") == "a?"
    assert escaped("") == "%00"


def test_cer_score_reads_it(tmp_path: Path):
    """Words of several recordings, joined over each."""
    pytest.importorskip("rapidfuzz")
    from parity.cer.files import score_files

    words = [Word(text=text, start_ms=at, end_ms=at + 9, confidence=0.5) for at, text in enumerate("一二三")]
    (tmp_path / "hyp.ctm").write_text(ctm([("u2.wav", words), ("u 1.wav", words[:2])]) + "\n", "utf-8")
    (tmp_path / "ref").write_text("u2 一二四\nu%201 一二\n", "utf-8")
    report = score_files(tmp_path / "ref", tmp_path / "hyp.ctm")
    assert (report.hits, report.substitutions, report.deletions, report.insertions) == (4, 1, 0, 0)
