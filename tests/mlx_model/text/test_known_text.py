"""Known texts cut into words and tokens. Oracle: by hand; FunASR's own cut is held against FunASR in models/."""

from __future__ import annotations

import pytest

from mlx_model.text.known_text import KnownText, Speller

VOCABULARY = [*"你好世界中国设定度", *"abcdefghijklmnopqrstuvwxyz0123456789", "he@@", "llo", "MP", "<unk>"]
SEG_DICT = {"hello": ("he@@", "llo"), "k": ("k",)}


def words(known: KnownText) -> list[tuple[str, str, str, bool]]:
    return [(word.text, word.written, " ".join(word.pieces), word.spaced) for word in known.words]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("你好，世界！", [("你", "你", "你", False), ("好", "好，", "好", False), ("世", "世", "世", False),
                    ("界", "界！", "界", False)]),
        ("“你”(hello)", [("你", "“你”", "你", False), ("hello", "(hello)", "he@@ llo", False)]),
        ("你  好", [("你", "你", "你", False), ("好", "好", "好", True)]),
        ("你\n好\u3000世", [("你", "你", "你", False), ("好", "好", "好", True), ("世", "世", "世", True)]),
        ("it's 5G", [("it's", "it's", "i t s", False), ("5G", "5G", "5 g", True)]),
        ("Ｈｅｌｌｏ", [("Ｈｅｌｌｏ", "Ｈｅｌｌｏ", "he@@ llo", False)]),
        ("MP a-b", [("MP", "MP", "MP", False), ("a", "a-", "a", True), ("b", "b", "b", False)]),
        ("", []), (" ，。!? ", []), ("\ufeff\u200b", []),
    ],
)  # fmt: skip
def test_words_and_their_tokens(text: str, expected: list[tuple[str, str, str, bool]]):
    assert words(Speller(VOCABULARY, "<unk>", SEG_DICT).read(text)) == expected


def test_what_the_vocabulary_lacks_is_a_token_each_and_named():
    known = Speller(VOCABULARY, "<unk>").read("龘好龘é")
    assert words(known)[0] == ("龘", "龘", "<unk>", False)
    assert known.tokens == ["<unk>", "好", "<unk>", "<unk>"]
    assert known.notes == ["not in the model's vocabulary: 龘 é (3 in all); each is a token of its own"]


def test_marks_that_are_spoken_and_digits_are_spoken_of():
    known = Speller(VOCABULARY, "<unk>").read("你好 100% 😀")
    assert known.tokens == ["你", "好", "1", "0", "0"]
    assert known.notes == [
        "left out, though it may be spoken: % 😀; times are better where it is written out",
        "each digit is one token; times are better where numbers are written as they are spoken",
    ]
    assert Speller(VOCABULARY, "<unk>").read("你好，5").notes == []


def test_funasrs_cut_takes_marks_for_tokens():
    plain, spelt = Speller(VOCABULARY, "<unk>"), Speller(VOCABULARY, "<unk>", SEG_DICT)
    assert plain.funasr_tokens("你， Hi\n") == ["你", "<unk>", "<unk>", "i", "<unk>"]
    unknown = "<unk>"
    assert spelt.funasr_tokens(" Hello k，-k你 -k ") == ["he@@", "llo", "k", unknown, unknown, "k", unknown, unknown]
    assert plain.funasr_tokens("") == []
