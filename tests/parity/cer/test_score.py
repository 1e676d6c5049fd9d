"""Counting errors: hand-made cases, properties, and two more scorers on random strings: jiwer and kaldialign.

The error total of an alignment is unique, its split is not: totals are compared with kaldialign; splits with jiwer,
which aligns with the same engine, and elsewhere only where one alignment is minimal.
"""

import math
import random

import jiwer
import kaldialign
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.errors import UsageError
from parity.cer.normalize import find_normalizer
from parity.cer.score import Score, score, score_utterance, utterance_errors
from parity.cer.units import UNITS, find_unit

RAW, AISHELL, WENET = find_normalizer("none"), find_normalizer("aishell"), find_normalizer("wenet")
# Few letters, so that random pairs share some; one of them needs two UTF-16 units, one combines with its neighbour.
TEXTS = st.text(alphabet="一二三AB 𠮷\u0301", max_size=12)


def counts(scored: Score) -> tuple[int, int, int, int]:
    return scored.substitutions, scored.deletions, scored.insertions, scored.hits


def test_each_kind_of_error_is_counted_and_aligned():
    scored = score({"a": "打开客厅灯"}, {"a": "打个客厅的灯"}, AISHELL)
    assert counts(scored) == (1, 0, 1, 4)
    assert scored.cer == 2 / 5
    assert scored.rows[0].alignment == [["打", "打"], ["开", "个"], ["客厅", "客厅"], [None, "的"], ["灯", "灯"]]
    assert score({"a": "二十五度"}, {"a": "十五度"}, AISHELL).rows[0].alignment == [["二", None], ["十五度", "十五度"]]


def test_a_row_carries_what_it_was_given():
    row = score_utterance("a", "打 开", "打 开", AISHELL, speaker="S1", duration_s=1.5, error="late")
    assert (row.utt_id, row.reference, row.hypothesis, row.hits, row.alignment) == (
        "a",
        "打开",
        "打开",
        2,
        [["打开"] * 2],
    )
    assert (row.substitutions, row.deletions, row.insertions) == (0, 0, 0)
    assert (row.speaker, row.duration_s, row.error) == ("S1", 1.5, "late")


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
    # As NIST's sclite: the insertions count, the sentence is wrong, and no rate of its own is given.
    scored = score({"a": "", "b": "你好", "c": " "}, {"a": "嗯嗯嗯", "b": "你好", "c": ""}, AISHELL)
    assert counts(scored) == (0, 0, 3, 2)
    assert scored.cer == 3 / 2
    assert scored.ser == 1 / 3
    assert scored.mean_utterance_cer == 0.0  # b alone has a rate of its own
    assert scored.notes[0].startswith("2 references are empty after normalisation")
    assert scored.rows[0].alignment == [[None, "嗯"]] * 3
    assert scored.rows[2].alignment == []


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


def test_each_normaliser_has_its_unit_and_the_caller_may_choose_another():
    texts = "打开 living room 灯", "打开living rooms"
    row = score_utterance("a", *texts, WENET)
    assert (row.substitutions, row.deletions, row.insertions, row.hits) == (1, 1, 0, 3)
    assert row.alignment == [["打开LIVING", "打开LIVING"], ["ROOM", "ROOMS"], ["灯", None]]
    row = score_utterance("a", *texts, WENET, "word")
    assert row.alignment == [["打开LIVING", "打开LIVING"], ["ROOM灯", "ROOMS"]]
    row = score_utterance("a", "turn on the light", "please turn on light", RAW, "word")
    assert row.alignment == [[None, "please"], ["turn on", "turn on"], ["the", None], ["light", "light"]]
    assert score_utterance("a", "turn  on\tit", "turn on it", RAW, "word").alignment == [["turn on it", "turn on it"]]
    assert score_utterance("a", "turn on", "turn on", RAW, "word").hits == 2
    with pytest.raises(UsageError, match="no scoring unit is called 'words'"):
        score_utterance("a", "a", "a", RAW, "words")


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5), st.sampled_from(sorted(UNITS)))
def test_counts_alignment_and_lengths_agree(pairs, name):
    unit = find_unit(name)
    for left, right in pairs:
        row = score_utterance("a", left, right, RAW, name)
        truth, heard = unit.cut(row.reference), unit.cut(row.hypothesis or "")
        errors = [pair for pair in row.alignment if pair[0] != pair[1]]
        assert row.hits + row.substitutions + row.deletions == len(truth)
        assert row.hits + row.substitutions + row.insertions == len(heard)
        assert row.substitutions == sum(None not in pair for pair in errors)
        assert row.deletions == sum(pair[1] is None for pair in errors)
        assert row.insertions == sum(pair[0] is None for pair in errors)
        for side, units in enumerate((truth, heard)):
            shown = [pair[side] for pair in row.alignment if pair[side] is not None]
            assert [part for stretch in shown for part in unit.cut(stretch)] == units
        # Stretches of agreement are whole: two never stand side by side.
        assert all(a[0] != a[1] or b[0] != b[1] for a, b in zip(row.alignment, row.alignment[1:], strict=False))


@given(TEXTS)
def test_a_text_against_itself_has_no_error(text):
    assert counts(score({"a": text}, {"a": text}, RAW)) == (0, 0, 0, len(RAW(text)))


@given(TEXTS, TEXTS, st.sampled_from(sorted(UNITS)))
def test_swapping_the_sides_keeps_the_total(left, right, unit):
    there, back = score_utterance("a", left, right, RAW, unit), score_utterance("a", right, left, RAW, unit)
    assert utterance_errors(there) == utterance_errors(back)


@given(TEXTS, TEXTS, st.sampled_from(sorted(UNITS)))
def test_totals_equal_those_of_a_second_scorer(left, right, name):
    row, cut = score_utterance("a", left, right, AISHELL, name), find_unit(name).cut
    assert utterance_errors(row) == kaldialign.edit_distance(cut(AISHELL(left)), cut(AISHELL(right)))["total"]


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_counts_and_splits_equal_those_of_jiwer(pairs):
    references = {str(index): pair[0] for index, pair in enumerate(pairs)}
    hypotheses = {str(index): pair[1] for index, pair in enumerate(pairs)}
    scored = score(references, hypotheses, AISHELL)
    # jiwer's own default also strips the ends; what happens to the text is the normaliser's business.
    characters = jiwer.ReduceToListOfListOfChars()
    output = jiwer.process_characters(
        [row.reference for row in scored.rows], [row.hypothesis or "" for row in scored.rows],
        reference_transform=characters, hypothesis_transform=characters,
    )  # fmt: skip
    assert counts(scored) == (output.substitutions, output.deletions, output.insertions, output.hits)
    for row, chunks in zip(scored.rows, output.alignments, strict=True):
        agreed = [row.reference[c.ref_start_idx : c.ref_end_idx] for c in chunks if c.type == "equal"]
        assert [pair[0] for pair in row.alignment if pair[0] == pair[1]] == agreed


def test_a_text_of_many_distinct_words():
    many = [f"w{index}" for index in range(70_000)]  # more than two bytes can number
    row = score_utterance("a", " ".join(many), " ".join([*many[:-1], "x"]), RAW, "word")
    assert (row.hits, row.substitutions, len(row.alignment)) == (69_999, 1, 2)


@pytest.mark.parametrize("wrong", [0.02, 0.5])
def test_long_texts_have_the_totals_of_a_second_scorer(wrong):
    # From 2,000 units on RapidFuzz is told what to expect, rightly or not.
    generator = random.Random(0)
    left = [generator.choice("一二三四五六七八九十") for _ in range(3000)]
    right = [generator.choice("一二三") if generator.random() < wrong else unit for unit in left]
    row = score_utterance("a", "".join(left), "".join(right[5:]), AISHELL)
    assert utterance_errors(row) == kaldialign.edit_distance(left, right[5:])["total"]


def test_a_million_characters_are_scored():
    text = "打开客厅灯" * 200_000
    assert score_utterance("a", text, text, AISHELL).hits == 1_000_000
    assert score_utterance("a", text, None, AISHELL).deletions == 1_000_000
    row = score_utterance("a", text, text[1:], AISHELL)
    assert (row.deletions, row.alignment) == (1, [["打", None], [text[1:], text[1:]]])
