"""What stdout can hold, and what is written where it cannot. Oracle: the codecs of Python and json.loads."""

from __future__ import annotations

import json

import pytest

from reports import streams

TEXT = json.dumps({"a\udcff": ["é", "好", "\U0001f600", 'quoted "\\"']}, ensure_ascii=False)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "gbk", "utf-16", "cp1252", "big5"])
def test_json_is_encodable_and_the_same_document(encoding: str):
    made = streams.as_encodable_json(TEXT, encoding)
    assert json.loads(made.encode(encoding).decode(encoding)) == json.loads(TEXT)


def test_what_can_be_held_is_left_as_it_is():
    assert streams.as_encodable_json('{"a": "好é"}', "utf-8") == '{"a": "好é"}'
    assert streams.as_encodable_json('{"a": "好"}', "gbk") == '{"a": "好"}'
    assert streams.as_encodable_json('{"a": "\udcff好"}', "utf-8") == '{"a": "\\udcff好"}'


@pytest.mark.parametrize(
    ("encoding", "written"),
    [("utf-8", "é好\U0001f600".encode() + b"\xff"), ("ascii", rb"\xe9\u597d\U0001f600" + b"\xff")],
)
def test_text_is_escaped_and_bytes_of_names_stay_bytes(encoding: str, written: bytes, monkeypatch: pytest.MonkeyPatch):
    import codecs

    codecs.register_error(streams.ESCAPES, streams._escape)
    monkeypatch.setattr(streams, "_escaped", set())
    assert "é好\U0001f600\udcff".encode(encoding, streams.ESCAPES) == written
    assert (streams.remark() is None) == (encoding == "utf-8")
