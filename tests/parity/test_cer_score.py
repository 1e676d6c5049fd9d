"""Counting errors: hand-made cases, properties, and a second scorer (kaldialign) on random strings.

The error total of an alignment is unique, its split is not: totals are compared with the second scorer, splits only
where one alignment is minimal.
"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.cer.normalize import find_normalizer
from parity.cer.score import Score, score, utterance_errors

RAW, AISHELL = find_normalizer("none"), find_normalizer("aishell")
# Few letters, so that random pairs share some; one of them needs two UTF-16 units, one combines with its neighbour.
TEXTS = st.text(alphabet="一二三AB 𠮷\u0301", max_size=12)


def counts(scored: Score) -> tuple[int, int, int, int]:
    return scored.substitutions, scored.deletions, scored.insertions, scored.hits


def test_each_kind_of_error_is_counted_and_aligned():
    scored = score({"a": "打开客厅灯"}, {"a": "打个客厅的灯"}, AISHELL)
    assert counts(scored) == (1, 0, 1, 4)
    assert scored.cer == 2 / 5
    assert scored.rows[0].alignment == [
        ["打", "打"], ["开", "个"], ["客", "客"], ["厅", "厅"], [None, "的"], ["灯", "灯"],
    ]  # fmt: skip
    assert score({"a": "二十五度"}, {"a": "十五度"}, AISHELL).rows[0].alignment[0] == ["二", None]


@pytest.mark.parametrize("hypotheses", [{"a": "你好"}, {"a": "你好", "b": None}])
def test_a_missing_hypothesis_counts_as_deletions(hypotheses):
    scored = score({"a": "你好", "b": "再见吧"}, hypotheses, AISHELL)
    assert counts(scored) == (0, 3, 0, 2)
    assert (scored.cer, scored.ser, scored.missing) == (3 / 5, 1 / 2, 1)
    assert scored.rows[1].hypothesis is None
    assert scored.rows[1].alignment == [["再", None], ["见", None], ["吧", None]]
    assert scored.notes == ("1 of 2 utterances have no hypothesis: deletions (first: b)",)


def test_an_empty_hypothesis_is_all_deletions_but_not_missing():
    scored = score({"a": "你好"}, {"a": ""}, AISHELL)
    assert counts(scored) == (0, 2, 0, 0)
    assert (scored.missing, scored.rows[0].hypothesis) == (0, "")


def test_against_an_empty_reference_every_character_is_an_insertion():
    scored = score({"a": "", "b": "你好", "c": " "}, {"a": "嗯嗯嗯", "b": "你好", "c": ""}, AISHELL)
    assert counts(scored) == (0, 0, 3, 2)
    assert scored.cer == 3 / 2
    assert scored.ser == 1 / 3
    assert scored.mean_utterance_cer == 0.0  # b alone has a rate of its own
    assert scored.notes[0].startswith("2 references are empty after normalisation")


def test_without_any_reference_character_the_rate_is_zero_or_infinite():
    assert score({"a": ""}, {"a": ""}, AISHELL).cer == 0.0
    assert score({"a": ""}, {"a": "嗯"}, AISHELL).cer == math.inf


def test_an_empty_reference_without_hypothesis_is_a_wrong_sentence():
    scored = score({"a": "", "b": "你"}, {"b": "你"}, AISHELL)
    assert (scored.cer, scored.ser) == (0.0, 0.5)


def test_corpus_and_mean_rates_weigh_utterances_differently():
    ten = "一二三四五六七八九十"
    scored = score({"long": ten, "short": "灯"}, {"long": ten, "short": "等"}, AISHELL)
    assert scored.cer == 1 / 11
    assert scored.mean_utterance_cer == 1 / 2


def test_hypotheses_without_a_reference_are_noted_and_not_scored():
    scored = score({"a": "你"}, {"z": "嗯嗯", "a": "你", "y": None}, AISHELL)
    assert counts(scored) == (0, 0, 0, 1)
    assert scored.notes == ("2 hypotheses have no reference and are not scored (first: z)",)


def test_both_sides_are_normalised_and_rows_show_what_was_scored():
    row = score({"a": "打 开"}, {"a": "打\u3000开 "}, AISHELL).rows[0]
    assert (row.reference, row.hypothesis, row.hits) == ("打开", "打开", 2)
    assert utterance_errors(score({"a": "打 开"}, {"a": "打开"}, RAW).rows[0]) == 1


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_counts_alignment_and_lengths_agree(pairs):
    references = {str(index): pair[0] for index, pair in enumerate(pairs)}
    hypotheses = {str(index): pair[1] for index, pair in enumerate(pairs)}
    scored = score(references, hypotheses, AISHELL)
    assert scored.reference_length == sum(len(AISHELL(text)) for text in references.values())
    for row in scored.rows:
        assert row.hits + row.substitutions + row.deletions == len(row.reference)
        assert row.hits + row.substitutions + row.insertions == len(row.hypothesis or "")
        assert "".join(pair[0] or "" for pair in row.alignment) == row.reference
        assert "".join(pair[1] or "" for pair in row.alignment) == row.hypothesis
        assert sum(pair[0] != pair[1] for pair in row.alignment) == utterance_errors(row)


@given(TEXTS)
def test_a_text_against_itself_has_no_error(text):
    assert counts(score({"a": text}, {"a": text}, RAW)) == (0, 0, 0, len(RAW(text)))


@given(TEXTS, TEXTS)
def test_swapping_the_sides_keeps_the_total(left, right):
    there, back = score({"a": left}, {"a": right}, RAW), score({"a": right}, {"a": left}, RAW)
    assert there.errors == back.errors


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_totals_equal_those_of_a_second_scorer(pairs):
    kaldialign = pytest.importorskip("kaldialign", reason="the second scorer is not installed")
    references = {str(index): pair[0] for index, pair in enumerate(pairs)}
    hypotheses = {str(index): pair[1] for index, pair in enumerate(pairs)}
    scored = score(references, hypotheses, AISHELL)
    expected = [kaldialign.edit_distance(list(AISHELL(a)), list(AISHELL(b)))["total"] for a, b in pairs]
    assert [utterance_errors(row) for row in scored.rows] == expected
    assert scored.errors == sum(expected)
