"""Units: what one error is counted in. Oracles: hand, and the identities that cutting must keep."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.errors import UsageError
from parity.cer.units import UNITS, char, close_up, find_unit, mixed, word

TEXTS = st.text(
    st.one_of(st.sampled_from("一二龥あア々〇한ㄅA b1é１，.\u0301\u3099\U000e0100\U00020000\u3000\t"), st.characters())
)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("打开wifi", ["打", "开", "wifi"]),
        ("iPhone 15好  naïve", ["iPhone", "15", "好", "naïve"]),
        ("don't say привет", ["don't", "say", "привет"]),
        ("二〇二四年 第３届ＣＥＯ", ["二", "〇", "二", "四", "年", "第", "３", "届", "ＣＥＯ"]),
        ("カー한국𠮷", ["カ", "ー", "한", "국", "𠮷"]),
        ("か\u3099葛\U000e0100e\u0301", ["か\u3099", "葛\U000e0100", "e\u0301"]),  # a mark belongs to its base
        ("\u0301a，b", ["\u0301a，b"]),
        ("", []),
    ],
)
def test_mixed_units(text, units):
    assert mixed(text) == units


def test_characters_are_code_points_and_words_are_what_white_space_separates():
    # jiwer, Kaldi's AISHELL recipe and FunASR count code points: a combining mark is one of its own.
    assert char("e\u0301 𠮷") == ["e", "\u0301", " ", "𠮷"]
    assert word(" one\u3000two\n three ") == ["one", "two", "three"]


@given(TEXTS)
def test_cutting_loses_nothing_but_white_space(text):
    assert "".join(char(text)) == text
    assert "".join(word(text)) == "".join(mixed(text)) == "".join(text.split())
    assert all(mixed(text))


@given(TEXTS, st.sampled_from(sorted(UNITS)))
def test_joined_units_are_cut_into_the_same_units(text, name):
    unit = find_unit(name)
    units = unit.cut(text)
    assert unit.cut(unit.join(units)) == units


def test_the_space_between_two_words_stays_and_that_beside_a_cjk_character_goes():
    assert close_up("打 开 the door 门 1 ") == "打开the door门1 "
    assert close_up("打 \u0301") == "打 \u0301"  # a mark of its own would join the character
    assert find_unit("mixed").join(["打", "开", "the", "door", "门"]) == "打开the door门"


def test_an_unknown_unit_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"'chars'; did you mean 'char'\? \(there are: char, word, mixed\)"):
        find_unit("chars")


def test_a_million_characters_are_cut_in_linear_time():
    assert len(mixed("打" * 500_000 + "a" * 500_000)) == 500_001
    assert mixed("\u0301" * 1_000_000) == ["\u0301" * 1_000_000]
    assert mixed(" " * 1_000_000) == []
