"""Words to cues. Oracles: the limits themselves, for any words; cues a subtitler would make of some, by hand."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.errors import UsageError
from mlx_model.text.cues import Cue, CueLimits, cues
from mlx_model.text.results import Word
from mlx_model.text.token_times import split, timed

TEXT = st.text(st.sampled_from("abcdefg  字汉语，。(（「',-"), max_size=120)
LIMITS = st.builds(CueLimits, seconds=st.floats(0.5, 20), chars=st.integers(1, 60), wide_chars=st.integers(1, 30))


@st.composite
def speech(draw: st.DrawFn) -> list[list[Word]]:
    """Segments of words, in order, with pauses between and within."""
    segments, time, chance = [], 0, random.Random(draw(st.integers(0, 2**32)))
    for text in draw(st.lists(TEXT, max_size=5)):
        words = []
        for word, spaced in split(text):
            start = time + chance.choice([0, 0, 0, 60, 400, 2000])
            time = start + chance.choice([0, 60, 180, 300, 300, 9000])
            words.append(Word(text=word, start_ms=start, end_ms=time, spaced=spaced))
        segments.append(words)
        time += chance.randrange(3000)
    return segments


@given(speech(), LIMITS)
def test_every_cue_keeps_the_limits_and_nothing_is_lost(segments: list[list[Word]], limits: CueLimits):
    end_ms = max((word.end_ms for words in segments for word in words), default=0) + 300
    found = cues(segments, limits, end_ms)
    for cue in found:
        assert 0 <= cue.start_ms <= cue.end_ms <= end_ms
        assert cue.end_ms - cue.start_ms <= limits.seconds * 1000
        assert 1 <= len(cue.lines) <= 2
        for line in cue.lines:
            assert line == line.strip()
            wide = sum(character > "\u2fff" for character in line)
            assert len(line) == 1 or wide / limits.wide_chars + (len(line) - wide) / limits.chars <= 1 + 1e-9
    assert all(one.end_ms <= other.start_ms for one, other in pairwise(found))
    said = "".join(word.text for words in segments for word in words)
    assert "".join("".join(cue.lines) for cue in found).replace(" ", "") == said


@given(TEXT)
def test_words_hold_the_text(text: str):
    words = list(split(text))
    assert "".join((" " if spaced else "") + word for word, spaced in words) == " ".join(text.split())


def test_words_by_hand():
    assert [word for word, _ in split("你好，world's 第二（三）句。")] == [
        "你", "好，", "world's", "第", "二", "（三）", "句。",
    ]  # fmt: skip
    assert list(split("a b")) == [("a", False), ("b", True)]


def spoken(text: str, start: int = 0, each: int = 250, pauses: dict[int, int] | None = None) -> list[Word]:
    """Return words of `each` ms; before word n of `pauses` nothing is said for so many ms."""
    words, time = [], start
    for number, (word, spaced) in enumerate(split(text)):
        time += (pauses or {}).get(number, 0)
        words.append(Word(text=word, start_ms=time, end_ms=time + each, spaced=spaced))
        time += each
    return words


def test_a_long_segment_is_cut_at_its_pauses():
    words = spoken("字" * 40, pauses={11: 900, 25: 1200})
    found = cues([words], CueLimits(), 60_000)
    assert [cue.start_ms for cue in found] == [0, 11 * 250 + 900, 25 * 250 + 2100]
    assert [len("".join(cue.lines)) for cue in found] == [11, 14, 15]


def test_without_pauses_cues_are_cut_at_marks():
    found = cues(
        [spoken("今天天气很好，我们一起去公园。明天要下雨了，大家记得带伞，路上小心一点。")], CueLimits(), 60_000
    )
    assert ["".join(cue.lines) for cue in found] == [
        "今天天气很好，我们一起去公园。", "明天要下雨了，大家记得带伞，路上小心一点。",
    ]  # fmt: skip


def test_lines_are_balanced_and_break_at_a_space():
    text = "the quick brown fox jumps over the lazy dog and runs away"
    (cue,) = cues([spoken(text, each=300)], CueLimits(), 60_000)
    assert cue.lines == ("the quick brown fox jumps over", "the lazy dog and runs away")
    assert cues([spoken("short line")], CueLimits(), 9000) == [Cue(0, 1000, ("short line",))]


def test_a_word_wider_than_a_line_is_split_and_a_long_one_ends():
    found = cues([[Word(text="a" * 100, start_ms=0, end_ms=20_000)]], CueLimits(), 60_000)
    assert sum(len(line) for cue in found for line in cue.lines) == 100
    assert max(cue.end_ms - cue.start_ms for cue in found) <= 7000


def test_a_flash_joins_its_neighbour_and_a_lone_one_is_shown_longer():
    first, second = [Word(text="好", start_ms=0, end_ms=200)], spoken("字" * 8, start=200)
    assert ["".join(cue.lines) for cue in cues([first, second], CueLimits(), 9000)] == ["好" + "字" * 8]
    assert cues([first, spoken("字" * 8, start=5000)], CueLimits(), 9000)[0] == Cue(0, 1000, ("好",))
    assert cues([first], CueLimits(), 700) == [Cue(0, 700, ("好",))]


def test_times_without_tokens_are_shared_by_length_and_pauses_are_left_out():
    assert [(word.text, word.start_ms, word.end_ms) for word in timed("ab c字", [], [], (0, 4000))] == [
        ("ab", 0, 2000), ("c", 2000, 3000), ("字", 3000, 4000),
    ]  # fmt: skip
    words = timed("一二三四", ["一", "二", "三", "四"], [100, 500, 1950, 2300], (0, 3000), [[800, 2000], [2700, 3000]])
    assert [(word.start_ms, word.end_ms) for word in words] == [(100, 500), (500, 800), (2000, 2300), (2300, 2700)]


def test_pieces_of_a_word_are_one_word():
    tokens = ["he@@", "llo", "字", "▁wor", "ld"]
    words = timed("hello 字 world", tokens, [0, 200, 400, 600, 800], (0, 1000))
    assert [(word.text, word.start_ms) for word in words] == [("hello", 0), ("字", 400), ("world", 600)]


@pytest.mark.parametrize("given_", [{"seconds": 0}, {"seconds": float("inf")}, {"chars": 0}, {"wide_chars": -1}])
def test_limits_that_are_none(given_: dict):
    with pytest.raises(UsageError):
        CueLimits(**given_)
