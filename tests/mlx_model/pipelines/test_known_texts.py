"""Which text belongs to which recording, and what is refused. Oracle: by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlx_model.errors import UsageError
from mlx_model.pipelines.known_texts import pairs

LISTED = "b 二\na 一  二\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of two recordings, and their texts in every form."""
    (tmp_path / "wav/deep").mkdir(parents=True)
    for name in ("wav/a.wav", "wav/deep/b.flac", "wav/._a.wav", "wav/notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "text").write_text(LISTED, "utf-8")
    (tmp_path / "lines.jsonl").write_text('{"key": "a", "text": "一  二"}\n\n{"key": "b", "txt": "二"}\n', "utf-8")
    (tmp_path / "wav.scp").write_text("a wav/a.wav\nb wav/deep/b.flac\n", "utf-8")
    (tmp_path / "each").mkdir()
    (tmp_path / "each/a.txt").write_bytes("\ufeff一  二\r\n".encode())
    (tmp_path / "each/b.txt").write_text("二", "utf-8")
    return tmp_path


@pytest.mark.parametrize("text", ["text", "lines.jsonl", "each", "."])
@pytest.mark.parametrize("audio", [["wav"], ["wav.scp"], ["wav/a.wav", "wav/deep/b.flac"]])
def test_lists_pair_by_key(folder: Path, audio: list[str], text: str):
    found = pairs([str(folder / item) for item in audio], str(folder / text))
    assert found == [(folder / "wav/a.wav", "一  二"), (folder / "wav/deep/b.flac", "二")]


def test_the_order_is_the_recordings(folder: Path):
    found = pairs([str(folder / "wav/deep/b.flac"), str(folder / "wav/a.wav")], f"@{folder}/text")
    assert [text for _, text in found] == ["二", "一  二"]


def test_texts_to_spare_are_let_be_where_that_is_asked_for(folder: Path):
    found = pairs([str(folder / "wav/a.wav")], str(folder / "text"), spare=True)
    assert found == [(folder / "wav/a.wav", "一  二")]
    with pytest.raises(UsageError, match=r"recordings without a text: 1 of 2 \(first: more\)"):
        pairs([str(folder / "wav/a.wav"), str(folder / "more.wav")], str(folder / "text"), spare=True)


def test_one_text_is_itself_or_a_whole_file(folder: Path):
    recording = folder / "wav/a.wav"
    assert pairs([str(recording)], "你 好") == [(recording, "你 好")]
    assert pairs([str(recording)], "") == [(recording, "")]
    assert pairs([str(recording)], "\0") == [(recording, "\0")]
    (folder / "script").write_text("你好\n世界\n", "utf-8")
    assert pairs([str(recording)], str(folder / "script")) == [(recording, "你好 世界")]
    (folder / "script").write_text("a 你好\n", "utf-8")  # a list that has its key
    assert pairs([str(recording)], str(folder / "script")) == [(recording, "你好")]


@pytest.mark.parametrize("lines", ["utt01 你好\nutt02 世界\n", "BAC009S0150W0001 你好\n", "001 你好\n002 世界\n"])
def test_a_list_without_the_recordings_key_is_no_text(folder: Path, lines: str):
    (folder / "script").write_text(lines, "utf-8")
    with pytest.raises(UsageError, match=r"script: no text for a: its lines are `KEY TEXT`"):
        pairs([str(folder / "wav/a.wav")], str(folder / "script"))
    (folder / "a.txt").write_text(lines, "utf-8")  # whoever means it as a text says so by the name
    assert pairs([str(folder / "wav/a.wav")], str(folder / "a.txt"))[0][1] == " ".join(lines.split("\n")).strip()


@pytest.mark.parametrize("text", ["hello world\ngood day", "20 块钱 一 斤", "你好", "mp3\n", "x 1\nyes"])
def test_a_text_is_no_list(folder: Path, text: str):
    (folder / "script").write_text(text, "utf-8")
    expected = " ".join(text.split("\n")).strip()
    assert pairs([str(folder / "wav/a.wav")], str(folder / "script")) == [(folder / "wav/a.wav", expected)]


@pytest.mark.parametrize(
    ("audio", "text", "said"),
    [
        (["wav/a.wav"], "text", "text: texts without a recording: 1 of 2 (first: b); a recording's key"),
        (["wav", "more.wav"], "text", "text: recordings without a text: 1 of 3 (first: more); a"),
        (["wav", "wav/a.wav"], "text", "two recordings have the key a: "),
        (["wav"], "@nowhere", "nowhere: no such file or folder (a text that begins with @ names one)"),
        (["wav/a.wav"], "nowhere/", "nowhere: no such file or folder; to align that as a text, put it into a file"),
        (["wav/a.wav"], "./text 2", "text 2: no such file or folder; to"),
        (["wav"], "literal", "one text for 2 recordings: give a file of `KEY TEXT` lines"),
        (["each"], "text", "no recordings in "),
        (["wav"], "wav", "texts without a recording: 1 of 1 (first: notes)"),
        (["wav"], "twice", "two texts have the key a"),
        (["wav"], "latin1", "latin1: not UTF-8 (byte 2)"),
        (["wav"], "bad.jsonl", 'bad.jsonl:1: expected {"key": ..., "text": ...}'),
        (["pipe.scp"], "text", "pipe.scp: a: expected the path of a recording, commands are not run"),
    ],
)
def test_what_is_refused(folder: Path, audio: list[str], text: str, said: str, monkeypatch: pytest.MonkeyPatch):
    (folder / "twice").write_text("a 一\na 二\n", "utf-8")
    (folder / "latin1").write_bytes(b"a \xe9\n")
    (folder / "bad.jsonl").write_text('["a"]\n', "utf-8")
    (folder / "pipe.scp").write_text("a sph2pipe a.sph |\n", "utf-8")
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError) as caught:
        pairs(audio, text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
