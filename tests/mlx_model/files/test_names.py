"""File names in results and messages. Oracle: Python's codecs, by hand."""

from __future__ import annotations

import json
import os

from hypothesis import given
from hypothesis import strategies as st

from mlx_model.files.names import shown, written


@given(st.binary(max_size=255))
def test_any_bytes_are_written_so_that_encoders_take_them(name: bytes):
    text = written(os.fsdecode(name))
    assert text == name.decode("utf-8", "backslashreplace")
    assert json.loads(json.dumps({"path": text}, ensure_ascii=False).encode("utf-8"))["path"] == text


@given(st.text(max_size=99))
def test_a_shown_name_is_one_line_and_shows_all_of_itself(name: str):
    text = shown(name)
    assert text.isprintable()
    assert text
    assert text.encode("utf-8")


def test_names_by_hand():
    assert written(os.fsdecode(b"bad\xff\xfe.wav")) == r"bad\xff\xfe.wav"
    assert written("中文 😀.wav") == "中文 😀.wav"
    assert shown("a b.wav") == "a b.wav"
    assert [shown(name) for name in ("a\nb\tc", "trailing ", "\x1b[31m", "\u202ea", "")] == [
        r"'a\nb\tc'", "'trailing '", r"'\x1b[31m'", r"'\u202ea'", "''",
    ]  # fmt: skip
    assert shown(os.fsdecode(b"\xff\n")) == r"'\xff\n'"
    assert written("half \ud800") == r"half \ud800"
