"""Words and labels as a text. Oracle: by hand; FunASR's own text in tests/mlx_model/models/test_ct_transformer.py."""

from __future__ import annotations

import pytest

from mlx_model.text.punctuated import Marks, by_character, written
from mlx_model.text.word_splitting import read

MARKS = Marks(["<unk>", "_", "，", "。", "？", "、"], 3)


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("你好 世界", [1, 2, 1, 3], "你好，世界。"),
        ("hello world ok", [2, 1, 4], "Hello, world ok?"),
        ("USA iPhone don't", [1, 3, 3], "USA iPhone. Don't."),
        ("我们hello ok", [1, 2, 5, 3], "我们，hello, ok."),
        ("bonjour été à", [1, 1, 3], "Bonjour été à。"),
        ("안녕 하세요", [1, 1, 1, 1, 3], "안녕 하세요。"),
        ("说“你好”", [2, 1, 3], "说，“你好”。"),
        ("好。a", [3, 3], "好。a."),
    ],
)  # fmt: skip
def test_marks_spaces_and_capitals(text: str, labels: list[int], expected: str):
    found = written(read(text), labels, MARKS)
    assert found.text == expected
    assert len(found.marks) == len(labels)


def test_marks_spelt_in_ascii_mean_the_same():
    ascii = Marks(["<unk>", "_", ",", "。", "?", "、"], 3)
    assert ascii.labels(as_funasr=False) == MARKS.labels(as_funasr=False)
    assert ascii.labels(as_funasr=True).ends == frozenset({3})  # FunASR knows its own spelling alone
    assert written(read("你好"), [1, 4], ascii).text == "你好？"


def test_a_known_mark_has_the_label_that_comes_nearest():
    assert MARKS.forced(read("好，好；好！好？好、”好")) == {0: 2, 1: 2, 2: 3, 3: 4, 4: 5}


def test_one_label_a_character_where_words_are_chinese():
    assert by_character(["今天", "hello", "好"], [2, 1, 3]) == [1, 2, 1, 3]
