"""How transcripts are written down. Oracles: readers of the formats, written here from their definitions."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.errors import UsageError
from mlx_model.pipelines.detect import FORMATS as VAD_FORMATS
from mlx_model.text.formats import FORMATS, check_format, check_times, cue_limits, document, tsv_row
from mlx_model.text.results import Detection, Segment, Sentence, Transcript, Word

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
    for name, recordings, says in (("docx", 1, "docx"), ("vtt", 2, "one recording, not 2"), ("textgrid", 3, "not 3")):
        with pytest.raises(UsageError, match=says):
            check_format(name, recordings)
    check_format("srt", 1)
    check_format("ctm", 9)


def test_a_family_without_times_is_said_to_need_a_vad():
    silent = Transcript(path="a", text="", token_ids=[], duration_s=1.0)
    said = replace(silent, text="好")
    check_times("srt", [silent, replace(said, words=[])], "x")
    check_times("srt", [replace(said, segments=[])], "x")
    with pytest.raises(UsageError, match=r"^srt needs times, and a whisper does not say .*: add --vad VAD_MODEL$"):
        check_times("srt", [silent, said], "whisper")


def test_what_a_family_knows_stands_in_the_document():
    """Oracle: design.md section 2, fields."""
    word = Word(text="好", start_ms=10, end_ms=70, confidence=0.5)
    known: dict = {"words": [word], "language": "zh", "emotion": "HAPPY", "events": ["Speech"]}
    part = Segment(start_ms=0, end_ms=90, text="好", token_ids=[3], **known)
    sentence = Sentence(text="好", start_ms=10, end_ms=70, speaker=1)
    result = Transcript(
        path="a", text="好", token_ids=[3], duration_s=1.0, segments=[part], sentences=[sentence], **known
    )
    (row,) = json.loads(FORMATS["json"]([result]))["results"]
    written = [{"text": "好", "start_ms": 10, "end_ms": 70, "confidence": 0.5}]
    assert (row["words"], row["segments"][0]["words"]) == (written, written)
    assert row["sentences"] == [{"text": "好", "start_ms": 10, "end_ms": 70, "speaker": 1, "confidence": None}]
    for one in (row, row["segments"][0]):
        assert (one["language"], one["emotion"], one["events"]) == ("zh", "HAPPY", ["Speech"])


def test_a_textgrid_has_a_tier_of_words_where_the_family_gives_them():
    """By hand, in Praat's long format: gaps are intervals without text, a quotation mark is doubled."""
    parts = [Segment(start_ms=500, end_ms=1500, text='a "b"', token_ids=[])]
    words = [Word(text="a", start_ms=500, end_ms=900), Word(text='"b"', start_ms=900, end_ms=900)]
    plain = Transcript(path="a", text="", token_ids=[], duration_s=2.0, segments=parts)
    grid = FORMATS["textgrid"]([plain])
    assert "size = 1\nitem []:" in grid
    assert re.findall(r'xmin = (.*)\n *xmax = (.*)\n *text = "(.*)"\n?', grid) == [
        ("0", "0.5", ""), ("0.5", "1.5", 'a ""b""'), ("1.5", "2", ""),
    ]  # fmt: skip
    both = FORMATS["textgrid"]([replace(plain, words=words)])
    assert re.findall('name = "(.*)"', both) == ["segments", "words"]
    assert re.findall(r'xmin = (.*)\n *xmax = (.*)\n *text = "(.*)"\n?', both)[3:] == [
        ("0", "0.5", ""), ("0.5", "0.9", "a"), ("0.9", "2", ""),  # a word of no length is no interval
    ]  # fmt: skip
    assert FORMATS["textgrid"]([replace(plain, error="a: not found", duration_s=0.0, segments=None)]) == ""
    alone = FORMATS["textgrid"]([replace(plain, words=words, segments=None)])
    assert re.findall('name = "(.*)"', alone) == ["words"]


SAID = [Word(text="你", start_ms=60, end_ms=300, confidence=0.5), Word(text="ok%;", start_ms=300, end_ms=1500)]


def test_a_table_of_words():
    """By hand; a word without a confidence has an empty field, and those of segments count too."""
    parts = [Segment(start_ms=0, end_ms=90, text="你", token_ids=[], words=SAID[:1])]
    results = [
        Transcript(path="a\t", text="", token_ids=[], duration_s=2.0, words=SAID),
        Transcript(path="b", text="", token_ids=[], duration_s=2.0, segments=parts),
    ]
    assert document("tsv", results, cue_limits(None, None, None), words=True).split("\n") == [
        "path\tstart_ms\tend_ms\tword\tconfidence",
        "a\\t\t60\t300\t你\t0.5000",
        "a\\t\t300\t1500\tok%;\t",
        "b\t60\t300\t你\t0.5000",
    ]


def test_subtitles_without_a_vad_break_at_pauses_and_within_the_limits():
    """Four words, two seconds of silence behind the second: two cues; none is longer than asked for."""
    words = [Word(text="字", start_ms=start, end_ms=start + 400) for start in (0, 400, 2800, 3200)]
    result = Transcript(path="a", text="字字字字", token_ids=[], duration_s=5.0, words=words)
    assert re.findall(r"(\S+) --> (\S+)\n(.*)", FORMATS["srt"]([result])) == [
        ("00:00:00,000", "00:00:01,000", "字字"), ("00:00:02,800", "00:00:03,800", "字字"),
    ]  # fmt: skip
    assert document("vtt", [result], cue_limits(0.5, None, None)).count("-->") == 4
