"""How transcripts are written down. Oracles: readers of the formats, written here from their definitions."""

from __future__ import annotations

import json
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.errors import UsageError
from mlx_model.pipelines.detect import FORMATS as VAD_FORMATS
from mlx_model.text.formats import FORMATS, check_format, cue_limits, document, tsv_row
from mlx_model.text.results import Detection, Segment, Transcript

ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
NASTY = st.text(st.sampled_from("a字\t\n\r\\\v\f\x1c\x1d\x1e\x85\u2028\u2029\x00\x1b\"'-> <&"), max_size=20)
# No half surrogate pairs: paths get theirs escaped before, and no vocabulary that is UTF-8 has one.
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | NASTY


def read_tsv(table: str) -> list[list[str]]:
    """Return the fields of all rows, as the documentation of formats.py says that they are read."""
    undo = re.compile(r"\\(?:u([0-9a-f]{4})|(.))")
    fields = [row.split("\t") for row in table.splitlines()]
    return [[undo.sub(lambda m: chr(int(m[1], 16)) if m[1] else ESCAPES[m[2]], f) for f in row] for row in fields]


@given(st.lists(st.tuples(ANY, ANY, ANY), min_size=1, max_size=4))
def test_tsv_is_read_back_row_by_row(rows: list[tuple[str, str, str]]):
    results = [Transcript(path=p, text=t, token_ids=[], duration_s=1.5, error=e) for p, t, e in rows]
    assert read_tsv(FORMATS["tsv"](results))[1:] == [[p, "1.500", t, e] for p, t, e in rows]
    table = VAD_FORMATS["tsv"]([Detection(path=p, segments=[[1, 2], [3, 4]]) for p, _, _ in rows])
    assert read_tsv(table) == [
        ["path", "start_ms", "end_ms"],
        *([p, start, end] for p, _, _ in rows for start, end in (("1", "2"), ("3", "4"))),
    ]


@given(st.binary(min_size=1, max_size=40))
def test_any_name_is_the_same_in_json_and_tsv(name: bytes):
    path = os.fsdecode(name)
    results = [Transcript(path=path, text="一", token_ids=[3], duration_s=1.0)]
    row = json.loads(FORMATS["json"](results).encode("utf-8"))["results"][0]
    assert row["path"] == name.decode("utf-8", "backslashreplace")
    assert read_tsv(FORMATS["tsv"](results))[1][0] == row["path"]
    found = [Detection(path=path, segments=[[0, 9]])]
    assert json.loads(VAD_FORMATS["json"](found).encode("utf-8"))["results"][0]["path"] == row["path"]
    assert read_tsv(VAD_FORMATS["tsv"](found))[1][0] == row["path"]


def test_ordinary_rows_are_as_they_were():
    assert tsv_row("a b.wav", 1, None, "你好") == "a b.wav\t1\t\t你好"
    result = Transcript(path=None, text="", token_ids=[], duration_s=0.0)
    assert FORMATS["tsv"]([result]).splitlines()[1] == "\t0.000\t\t"


def test_text_has_one_line_a_recording():
    results = [Transcript(path="a", text=text, token_ids=[], duration_s=1.0) for text in ("a\nb\u2028c", "", "字")]
    assert FORMATS["text"](results) == "a b c\n\n字"


@given(st.lists(ANY, min_size=1, max_size=5))
def test_subtitles_hold_their_text_whatever_it_is(texts: list[str]):
    """srt: blocks of a number, a time and lines, a blank line between; vtt: the same without numbers, & < > escaped."""
    segments = [
        Segment(start_ms=2000 * n, end_ms=2000 * n + 1500, text=text, token_ids=[]) for n, text in enumerate(texts)
    ]
    results = [Transcript(path="a", text="", token_ids=[], duration_s=99.0, segments=segments)]
    plain = ["".join(text.split()) for text in texts]
    blocks = [block.split("\n") for block in FORMATS["srt"](results).rstrip("\n").split("\n\n") if block]
    assert [block[0] for block in blocks] == [str(number) for number in range(1, len(blocks) + 1)]
    assert all(len(re.findall("-->", "\n".join(block))) == 1 for block in blocks)
    assert "".join("".join(block[2:]) for block in blocks).replace(" ", "") == "".join(plain)
    head, *cues = FORMATS["vtt"](results).rstrip("\n").split("\n\n")
    assert head == "WEBVTT"
    shown = "".join("".join(cue.split("\n")[1:]) for cue in cues if cue.strip())
    assert "<" not in shown
    assert "-->" not in shown
    shown = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert shown.replace(" ", "") == "".join(plain)


def test_limits_reach_the_subtitles():
    segment = Segment(start_ms=0, end_ms=6000, text="一二三四五六七八", token_ids=[])
    results = [Transcript(path="a", text="", token_ids=[], duration_s=9.0, segments=[segment])]
    assert document("srt", results, cue_limits(None, None, None)).count("-->") == 1
    assert document("srt", results, cue_limits(None, None, 2)).count("-->") == 2
    assert document("vtt", results, cue_limits(2.0, None, None)).count("-->") >= 3
    assert document("text", results, cue_limits(None, None, None)) == ""
    with pytest.raises(UsageError, match="more than 0 s"):
        cue_limits(float("nan"), None, None)


def test_formats_that_cannot_be_given():
    for name, recordings, says in (("docx", 0, "docx"), ("srt", 0, "add --vad"), ("vtt", 2, "one recording, not 2")):
        with pytest.raises(UsageError, match=says):
            check_format(name, recordings)
    check_format("srt", 1)
