"""Words of a text. Oracle: by hand; FunASR's own in tests/mlx_model/models/test_ct_transformer.py."""

from __future__ import annotations

import pytest

from mlx_model.text.word_splitting import funasr_words, read


def cut(text: str) -> list[str]:
    """Return words of two characters: a dictionary that has all of them."""
    return [text[at : at + 2] for at in range(0, len(text), 2)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("今天 很好", ["今", "天", "很", "好"]), ("hello世界ok", ["hello", "世", "界", "ok"]),
        ("涨了10.5%。iPhone12", ["涨", "了", "10.5%", "。", "iPhone12"]), ("café", ["caf", "é"]), (" ", []), ("", []),
    ],
)  # fmt: skip
def test_funasrs_words(text: str, words: list[str]):
    assert funasr_words(text) == words


def test_funasrs_words_of_a_dictionary_join_what_stands_between_english():
    assert funasr_words("今天 天气 hello it's A1 我们", cut) == ["今天", "天气", "hello", "it's", "A1", "我们"]
    assert funasr_words("3 4", cut) == ["34"]
    assert read("3 4 好", cut).words == ["3", "4好"]


@pytest.mark.parametrize(
    ("text", "words", "given", "lead"),
    [
        ("你好，世界。", ["你", "好", "世", "界"], ["", "，", "", "。"], ""),
        ("hello, 3.5 U.S.", ["hello", "3.5", "U.S"], [",", "", "."], ""),
        ("“好！”走", ["好", "走"], ["！”", ""], "“"),
        ("café Ωμέγα", ["café", "Ωμέγα"], ["", ""], ""),
        ("👨‍👩👍🏽好", ["👨‍👩", "👍🏽", "好"], ["", "", ""], ""),
        ("。，", [], [], "。，"),
    ],
)  # fmt: skip
def test_marks_are_no_words_and_characters_stay_whole(text: str, words: list[str], given: list[str], lead: str):
    found = read(text)
    assert (found.words, found.given, found.lead) == (words, given, lead)


def test_spaces_are_known_with_and_without_a_dictionary():
    assert read("今天 hello 好").spaced[2:] == [True, True]
    found = read("今天天气 好好", cut)
    assert list(zip(found.words, found.spaced, strict=True))[1:] == [("天气", False), ("好好", True)]
