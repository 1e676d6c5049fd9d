"""Files of texts in every format, and files that are none. One pair of texts, so that every format gives one rate.

Expectations are by hand: 打开灯 关灯 against 打开灯 关 is one deletion of five characters.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlx_model.errors import DatasetError, UsageError
from parity.cer import score_files
from parity.cer.texts import open_texts

REF = "u1 打开 灯\nu2 关灯\n"
OURS = {
    "schema": "transcribe/1",
    "results": [{"path": "/x/u1.wav", "text": "打开灯"}, {"path": "u2.wav", "text": "关"}],
}


def put(folder: Path, ref: str | bytes, hyp: str | bytes) -> tuple[Path, Path]:
    for name, content in (("ref", ref), ("hyp", hyp)):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / "ref", folder / "hyp"


@pytest.mark.parametrize(
    ("hyp", "name"),
    [
        ("u2 关\nu1 打开灯\n", "kaldi"),
        ("\ufeffu1\t打开灯\r\nu2\t关\r\n", "kaldi"),
        ("u1\u00a0打开灯\nu2\u3000关\n", "kaldi"),
        ("u1\u200b打开灯\n\ufeffu2\ufeff关\n", "kaldi"),
        ("打开 灯 (u1)\n关 (u2)\n", "trn"),
        (";; made by hand\n关 (u2)\n打开灯 (u1)\n", "trn"),
        ("u1 1 0.20 0.2 灯 0.9\nu1 1 0.00 0.20 打开 0.9\nu2 1 0.1 0.1 关\n", "ctm"),
        ("u1 1 spk 0.00 1.2 <o,f0> 打开 灯\nu2 1 spk 0.1 0.9 关\n", "stm"),
        ('{"key": "u1", "text": "打开灯"}\n{"key": "u2", "text": "关"}\n', "json"),
        ('{"key": "u1", "wav": "a/u1.wav", "txt": "打开灯"}\n{"key": "u2", "wav": "u2.wav", "txt": "关"}\n', "json"),
        ('[{"key": "u1", "text": "打开灯", "timestamp": [[0, 1]]},\n{"key": "u2", "text": "关"}]', "json"),
        ('{"audio_filepath": "a/u1.wav", "text": "-", "pred_text": "打开灯"}\n'
         '{"audio_filepath": "a/u2.wav", "text": "-", "pred_text": "关"}\n', "json"),
        ('{"u1": "打开灯", "u2": "关"}', "json"),
        (json.dumps(OURS, indent=1), "json"),
        ("path\tduration_s\ttext\terror\n/x/u1.wav\t1.0\t打开灯\t\n/x/u2.wav\t1\t关\t\n", "tsv"),
        ("my set/u1.wav\t打开灯\nmy set/u2.wav\t关\n", "tsv"),
        ('id,text\nu1,"打开\n灯"\n"u2",关\n', "csv"),
        ("u1,打开灯\nu2,关\n", "csv"),
        ("u1|打 开灯\nu2|关\n", "csv"),
        ("u1.wav 打开灯\n/data/u2.WAV 关\n", "kaldi"),
    ],
)  # fmt: skip
def test_every_format_gives_the_same_rate(tmp_path, hyp, name):
    ref, hyp = put(tmp_path, REF, hyp)
    assert open_texts(hyp, "hypothesis").format.name == name
    report = score_files(ref, hyp)
    assert (report.deletions, report.substitutions, report.insertions, report.hits, report.missing) == (1, 0, 0, 4, 0)


@pytest.mark.parametrize(
    ("hyp", "message"),
    [
        ("{ 打 / 开 } 灯 (u1)\n关 (u2)\n", r"hyp:1: holds alternatives"),
        ("u1\t打开灯\t0.9\nu2\t关\t0.8\n", r"hyp:1: 3 columns without names, separated by a tab"),
        ('{"schema": "cer/1", "cer": 0.1}', r"hyp: a document 'cer/1' without texts"),
        ('{"a": [1]}', r"hyp: JSON without texts"),
        ('{"key": "u1", "text": "a", "txt": "b"}', r"hyp:1: the fields 'text' and 'txt' may both be meant"),
        ('{"key": "u1", "text": ["a"]}', r"hyp:1: 'text' is \['a'\]; expected a string"),
        ('{"text": "a"}', r"hyp:1: no field for the id among"),
        ('{"key": "u1", "text": "打开灯"}\nu2 关\n', r"hyp:2: not JSON"),
        ("打开灯\n关\n", r"share no id .*seems to have no ids: .*--format plain"),
        ("v1 打开灯\n", r"share no id \(first ids: 'u1' and 'v1'\)"),
        ("a/u1.wav 打\nb/u1.wav 开\n", r"share no id"),
        ("u1 打\nu1 开\n", r"hyp:2: id 'u1' stands in line 1 already"),
        ("u1 /x/u1.wav\nu2 /x/u2.flac\n", r"hyp:1: '/x/u1\.wav' is a path or a command, as in a wav\.scp"),
        ("u1 sox a -t wav - |\n", r"hyp:1: 'sox a -t wav - \|' is a path or a command"),
        ("u1 rec 0.0 1.2\nu2 rec 1.2 3.4\n", r"hyp:1: 'u1 rec 0\.0 1\.2' is a list of segments"),
        ("u1 1.23\nu2 3.2\n", r"hyp:1: 'u1 1\.23' is a list of durations"),
        ("1\n00:00:01,000 --> 00:00:02,000\n打开灯\n", r"hyp:1: SubRip subtitles"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\n打开灯\n", r"hyp:1: WebVTT subtitles"),
        ("<!DOCTYPE html>\n", r"hyp:1: markup"),
        ("version https://git-lfs.github.com/spec/v1\n", r"hyp:1: a pointer of Git LFS"),
        ("SPEAKER f 1 0.0 1.0 <NA> <NA> s <NA>\n", r"hyp:1: rttm"),
        (REF.replace("\n", "\r"), r"hyp: its lines end in a carriage return alone"),
        (REF.encode("utf-16"), r"hyp:1: not UTF-8 .*iconv -f UTF-16"),
        (REF.encode("utf-16-le"), r"hyp:1: (holds a NUL byte|not UTF-8)"),
        (REF.encode("gb18030"), r"hyp:1: not UTF-8 .*iconv -f GB18030"),
        (b"\x80\x00\xff" * 9, r"hyp:1: not UTF-8 \(byte 0x80\); expected a text file"),
        ("", r"hyp: holds no line"),
    ],
)  # fmt: skip
def test_what_holds_no_texts_is_refused_and_says_what_it_is(tmp_path, hyp, message):
    with pytest.raises(DatasetError, match=message) as caught:
        score_files(*put(tmp_path, REF, hyp), out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("ref", "hyp"),
    [
        ("今天天气很好\n你好 世界\n", "今天天气好\n你好 世界\n"),
        ("hello world\ni am here\n", "hello word\ni am here\n"),
        ("u1\nu2\n", "u1\nu2\n"),
    ],
)
def test_lines_without_ids_are_never_scored_by_their_first_word(tmp_path, ref, hyp):
    with pytest.raises(DatasetError, match=r"--format plain"):
        score_files(*put(tmp_path, ref, hyp))


def test_lines_without_ids_are_paired_where_that_is_asked_for(tmp_path):
    pair = put(tmp_path, "今天天气很好\n\n你好世界\n", "今天天气好\n\n你好世界\n")
    report = score_files(*pair, format="plain")
    assert (report.deletions, report.hits, report.utterances) == (1, 9, 3)
    pair[1].write_text("今天天气好\n", "utf-8")
    with pytest.raises(DatasetError, match=r"ref has 3 lines, .*hyp 1; expected as many in both"):
        score_files(*pair, format="plain")


def test_ids_that_look_like_words_can_be_said_to_be_ids(tmp_path):
    pair = put(tmp_path, "alice hello world\nbob good\n", "alice hello world\nbob god\n")
    with pytest.raises(DatasetError, match=r"--format kaldi says that these are ids"):
        score_files(*pair)
    assert score_files(*pair, format="kaldi").deletions == 1
    with pytest.raises(UsageError, match=r"no format of texts is called 'kalid'; did you mean 'kaldi'\?"):
        score_files(*pair, format="kalid")


def test_one_table_may_hold_both_sides(tmp_path):
    rows = '{"utt_id": "u1", "reference": "打开灯", "hypothesis": "打开"}\n'
    report = score_files(*put(tmp_path, rows, rows))
    assert (report.deletions, report.hits) == (1, 2)


def test_a_result_with_an_error_is_missing_and_not_empty(tmp_path):
    results = [{"path": "u1.wav", "text": "打开灯", "error": None}, {"path": "u2.wav", "text": "", "error": "no audio"}]
    report = score_files(*put(tmp_path, REF, json.dumps({"results": results})))
    assert (report.missing, report.deletions, report.hits) == (1, 2, 3)


@pytest.mark.parametrize("inside", ["1best_recog/text", "hyp.txt", "text"])
def test_a_folder_stands_for_the_file_of_texts_in_it(tmp_path, inside):
    ref, hyp = put(tmp_path, REF, "u1 打开灯\nu2 关\n")
    file = tmp_path / "decoded" / inside
    file.parent.mkdir(parents=True)
    hyp.rename(file)
    assert score_files(ref, tmp_path / "decoded").deletions == 1
    with pytest.raises(DatasetError, match=r"is a folder without ref\.txt, text"):
        score_files(tmp_path, file)


def test_ids_matched_without_suffixes_are_noted(tmp_path):
    notes = score_files(*put(tmp_path, REF, "u1.wav 打开灯\nu2.wav 关\n")).notes
    assert notes[0] == "ids were matched without folders and suffixes of audio files (first: 'u1' and 'u1.wav')"


@pytest.mark.shared
def test_stm_against_ctm_is_what_sclite_counts(shared):
    """NIST's own pair: sclite's test9 says 57 characters, 52 right, 1 S, 4 D, 3 I (`-e gb -c`)."""
    folder = shared / "data/cer/sclite/input_utf8"
    report = score_files(folder / "mand_ref.stm", folder / "mand_hyp.ctm")
    assert (report.reference_length, report.hits) == (57, 52)
    assert (report.substitutions, report.deletions, report.insertions) == (1, 4, 3)
