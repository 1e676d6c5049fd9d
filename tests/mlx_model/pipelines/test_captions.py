"""Text as it comes, on a terminal, in a pipe, as JSON lines. Oracle: by hand."""

from __future__ import annotations

import json

import pytest

from mlx_model.pipelines.captions import Captions, Documents, Lines, Rewriting, fitting
from mlx_model.pipelines.streams import Partial
from mlx_model.text.results import Segment


def partial(text: str, *ids: int) -> Partial:
    about = {"start_ms": 0, "end_ms": 600, "heard_ms": 900, "is_final": False}
    return Partial(text=text, token_ids=list(ids), token_starts_ms=[0 for _ in ids], **about)


SEGMENT = Segment(start_ms=100, end_ms=700, text="你好", token_ids=[3, 4])


def shown(captions: Captions, written: list[str], error: str | None = None, *, cut_off: bool = False) -> str:
    """What is written of three partials, a segment, and, where it is cut off, another partial."""
    for text, token in (("泥", 9), ("", 0), ("好", 4)):
        captions.partial(partial(text, token) if token else partial(text))
    captions.segment(SEGMENT)
    if cut_off:
        captions.partial(partial("再", 5))
    captions.end(1.5, error, ["a note"])
    return "".join(written)


def test_one_pass_is_written_on_and_ends_its_line():
    written: list[str] = []
    captions = Captions(written.append)
    for text in ("he", "", "llo\nyou"):
        captions.partial(partial(text))
    captions.end(1.0, None, [])
    assert written == ["he", "llo you", "\n"]
    nothing = Captions(written.append)
    nothing.end(0.0, "not found", [])
    assert written == ["he", "llo you", "\n"]
    nothing.end(1.0, None, [])
    assert written[-1] == "\n"


def test_a_pipe_gets_a_line_for_each_segment_and_for_what_was_cut_off():
    written: list[str] = []
    assert shown(Lines(written.append), written) == "你好\n"
    written.clear()
    assert shown(Lines(written.append), written, cut_off=True) == "你好\n再\n"


def test_a_terminal_s_line_is_rewritten_within_its_width():
    written: list[str] = []
    clear = "\r\x1b[K"
    assert shown(Rewriting(written.append, 4), written, cut_off=True) == (
        f"{clear}泥{clear}好{clear}你好\n{clear}再{clear}再\n"  # of 3 columns two are for a wide character
    )


def test_json_is_one_document_a_line():
    written: list[str] = []
    shown(Documents(written.append, "a.wav", numerics={"device": "cpu"}), written, "broken", cut_off=True)
    lines = [json.loads(line) for line in written]
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in written)
    assert {line["schema"] for line in lines} == {"stream/1"}
    assert [line["kind"] for line in lines] == ["partial", "partial", "final", "partial", "final", "end"]
    assert [line.get("text") for line in lines] == ["泥", "好", "你好", "再", "再", None]
    assert (lines[1]["token_ids"], lines[1]["heard_ms"], lines[2]["start_ms"]) == ([4], 900, 100)
    assert lines[-1] == {
        "schema": "stream/1", "kind": "end", "path": "a.wav", "duration_s": 1.5, "error": "broken",
        "notes": ["a note"], "numerics": {"device": "cpu"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("abc", 3, "abc"), ("abc", 2, "bc"), ("你好", 3, "好"), ("a你", 3, "a你"), ("e\u0301e\u0301", 1, "e\u0301"),
        ("a", 0, ""),
    ],
)  # fmt: skip
def test_what_fits_into_columns(text: str, columns: int, expected: str):
    assert fitting(text, columns) == expected
