"""Words, marks and speakers to sentences. Oracles: sentences cut by hand; nothing is lost, whatever the marks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlx_model.text.results import Segment, Word
from mlx_model.text.sentences import by_segment, clauses, placed, sentences, with_speakers


def segment(start: int, text: str, each: int = 100) -> Segment:
    """A segment of which every character is a word."""
    words = [
        Word(text=character, start_ms=start + each * number, end_ms=start + each * (number + 1), confidence=0.5)
        for number, character in enumerate(text)
    ]
    return Segment(start_ms=start, end_ms=start + each * len(text), text=text, token_ids=[], words=words)


def said_by(*borders: int):
    """Speaker 0 up to the first border, 1 up to the next, and so on; by the middle of a stretch."""

    def whose(spans):
        return [sum((start + end) / 2 >= border for border in borders) for start, end in spans]

    return whose


PARTS = [segment(0, "今天天气好我们走"), segment(2000, "好啊你呢")]


def test_a_sentence_ends_at_its_mark_and_a_clause_at_every_mark_and_no_rest_is_lost():
    text = "今天天气好，我们走。好啊，你呢"
    found = placed(text, PARTS)
    assert [one.text for one in sentences(text, found)] == ["今天天气好，我们走。", "好啊，你呢"]
    assert [one.text for one in clauses(text, found)] == ["今天天气好，", "我们走。", "好啊，", "你呢"]
    assert [(one.start, one.end) for one in clauses(text, found)] == [(0, 500), (500, 800), (2000, 2200), (2200, 2400)]
    assert clauses(text, found, raw=True)[0].raw_text == "今天天气好"
    assert sentences(text, found)[0].confidence == 0.5


def test_nobody_speaks_in_anothers_sentence():
    text = "今天天气好我们走，好啊你呢。"  # one sentence to the punctuator, two speakers to the clusters
    found = placed(text, PARTS)
    made = sentences(text, found, said_by(1500))
    assert [(one.text, one.speaker) for one in made] == [("今天天气好我们走，", 0), ("好啊你呢。", 1)]
    assert [word.speaker for word in with_speakers(found, made)] == [0] * 8 + [1] * 4
    assert [one.text for one in sentences(text, found, said_by(9999))] == [text]


def test_without_marks_segments_are_sentences():
    text = "今天天气好我们走 好啊你呢"
    assert [one.text for one in sentences(text, placed(text, PARTS))] == ["今天天气好我们走", "好啊你呢"]


def test_segments_as_sentences_keep_their_times():
    text = "今天天气好我们走。好啊你呢。"
    made = by_segment(text, placed(text, PARTS), said_by(1500), PARTS)
    assert [(one.text, one.start_ms, one.end_ms, one.speaker) for one in made] == [
        ("今天天气好我们走。", 0, 800, 0), ("好啊你呢。", 2000, 2400, 1),
    ]  # fmt: skip


def test_words_are_found_whatever_was_put_between_them():
    words = [Word(text=text, start_ms=0, end_ms=1) for text in ("hello", "world", "3.5", "好")]
    whole = Segment(start_ms=0, end_ms=1, text="", token_ids=[], words=words)
    text = "Hello, world. 3.5 😀好。"
    assert [text[one.start : one.stop] for one in placed(text, [whole])] == ["Hello, ", "world. ", "3.5 😀", "好。"]


@given(st.text("天气hi 3。，?", max_size=30), st.lists(st.integers(0, 9), max_size=30), st.integers(0, 3000))
def test_nothing_is_lost_and_nothing_is_said_twice(raw: str, marks: list[int], border: int):
    parts = [segment(0, raw.replace(" ", ""))] if raw.replace(" ", "") else []
    signs = ["", "", "", "，", "。", "？", "、", ". ", ", ", " "]
    text = "".join(c + (signs[marks[n]] if n < len(marks) else "") for n, c in enumerate(raw.replace(" ", "")))
    found = placed(text, parts)
    for made in (sentences(text, found, said_by(border)), clauses(text, found, said_by(border))):
        assert "".join(str(one.text) for one in made).replace(" ", "") == text.replace(" ", "")
    assert sum(one.words for one in sentences(text, found)) == len(raw.replace(" ", ""))
