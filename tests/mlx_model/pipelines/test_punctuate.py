"""Texts of a command line, and their documents. Oracle: by hand, with a model of a few lines."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from mlx_model.errors import UsageError
from mlx_model.pipelines.punctuate import check_format, document, stream, texts_of
from mlx_model.text.results import Punctuated


class Counts:
    """A StreamingPunctuator that says how many pieces came before, and whether it is the end."""

    Options: ClassVar[type[Any]] = object

    def new_cache(self) -> int:
        return 0

    def punctuate_next(self, text: str, cache: int, options: Any = None, *, is_final: bool = False, as_funasr=False):
        words = [*text]
        return Punctuated(text=f"{text}{cache}{'.' * is_final}", words=words, punctuation=[1] * len(words)), cache + 1


def test_texts_files_and_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.txt").write_bytes("\ufeff一\r\n\n二".encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO("三\n四\n".encode()), closed=False))
    assert list(texts_of(["零", f"@{tmp_path}/a.txt", "-"])) == ["零", "一", "", "二", "三", "四"]


def test_what_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "gbk.txt").write_bytes("好\n今天\n".encode("gbk"))
    for given, said in (
        (["@none.txt"], "none.txt: no such file"), ([f"@{tmp_path}"], "no such file"), (["-", "-"], "given twice"),
        ([f"@{tmp_path}/gbk.txt"], "line 1 is not UTF-8"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            list(texts_of(given))
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="standard input is closed"):
        list(texts_of(["-"]))
    with pytest.raises(UsageError, match="unknown format 'srt'; use text, json"):
        check_format("srt")


def test_a_stream_has_an_end_but_as_funasr():
    assert [each.text for each in stream(Counts(), iter("ab"))] == ["a0", "b1", "2."]
    assert [each.text for each in stream(Counts(), iter("ab"), as_funasr=True)] == ["a0", "b1"]


def test_documents():
    empty = Punctuated(text="a\u2028b", words=[], punctuation=[])
    results = [Punctuated(text="好。", words=["好"], punctuation=[3]), empty]
    assert document("text", results) == "好。\na b"
    found = json.loads(document("json", results, numerics={"device": "cpu"}))
    assert (found["schema"], found["numerics"]) == ("punctuate/1", {"device": "cpu"})
    assert found["results"][0] == {"text": "好。", "words": ["好"], "punctuation": [3], "marks": None, "lead": ""}
