"""The streaming tally against plain sums over all rows, on random rows; and its memory. Oracle: Python's own loops."""

import math
import random
import tracemalloc
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.cer import tally as module
from parity.cer.groups import Frequent, Group, bucket_names, count_names
from parity.cer.normalize import find_normalizer
from parity.cer.score import score_utterance, utterance_errors
from parity.cer.tally import Tally
from reports.schema import CerUtterance

AISHELL = find_normalizer("aishell")
TEXTS = st.text(alphabet="一二三四", max_size=7)
ROWS = st.lists(
    st.builds(
        lambda left, right, speaker, seconds: (left, right, speaker, seconds),
        TEXTS,
        st.one_of(st.none(), TEXTS),
        st.sampled_from([None, "S1", "S2"]),
        st.one_of(st.none(), st.floats(0, 40)),
    ),
    max_size=30,
)


def scored(entries) -> list[CerUtterance]:
    return [
        score_utterance(f"u{index:03}", left, right, AISHELL, speaker=speaker, duration_s=seconds)
        for index, (left, right, speaker, seconds) in enumerate(entries)
    ]


def tallied(rows, **options) -> Tally:
    tally = Tally(**options)
    for row in rows:
        tally.add(row)
    return tally


def summed(name: str, rows: list[CerUtterance]) -> Group:
    return Group(
        name,
        len(rows),
        sum(utterance_errors(row) > 0 or row.hypothesis is None for row in rows),
        sum(row.hypothesis is None for row in rows),
        *(sum(getattr(row, kind) for row in rows) for kind in ("hits", "substitutions", "deletions", "insertions")),
    )


def length(row: CerUtterance) -> int:
    return row.hits + row.substitutions + row.deletions


@given(ROWS)
def test_totals_and_groups_are_the_sums_over_the_rows(entries):
    rows = scored(entries)
    tally = tallied(rows)
    assert tally.total == summed("all", rows)
    names = {0: "0", **dict.fromkeys(range(1, 6), "1-5"), **dict.fromkeys(range(6, 11), "6-10")}
    expected = [summed(name, [row for row in rows if names[length(row)] == name]) for name in ("0", "1-5", "6-10")]
    assert tally.lengths() == [group for group in expected if group.utterances]
    speakers = list(dict.fromkeys(row.speaker for row in rows if row.speaker))
    assert tally.speakers() == [summed(name, [row for row in rows if row.speaker == name]) for name in speakers]
    assert tally.speaker_index.tolist() == [speakers.index(row.speaker) if row.speaker else -1 for row in rows]
    assert tally.error_counts.tolist() == [utterance_errors(row) for row in rows]
    assert tally.reference_lengths.tolist() == [length(row) for row in rows]
    rates = [utterance_errors(row) / length(row) for row in rows if length(row)]
    assert tally.mean_utterance_cer == (math.fsum(rates) / len(rates) if rates else tally.total.cer)


@given(ROWS)
def test_duration_and_speaking_rate_count_the_rows_that_have_them(entries):
    rows = scored(entries)
    tally = tallied(rows)
    timed = [row for row in rows if row.duration_s]
    assert sum(group.utterances for group in tally.durations()) == len(timed)
    assert sum(group.errors for group in tally.rates()) == sum(map(utterance_errors, timed))
    short = [row for row in timed if 1 <= (row.duration_s or 0) < 2]
    assert [group for group in tally.durations() if group.name == "1-2 s"] == (
        [summed("1-2 s", short)] if short else []
    )
    slow = [row for row in timed if length(row) / (row.duration_s or 1) < 1]
    found = [group for group in tally.rates() if group.name == "< 1 per second"]
    assert found == ([summed("< 1 per second", slow)] if slow else [])


@given(ROWS, st.integers(1, 4), st.randoms())
def test_confusions_and_worst_rows_do_not_depend_on_the_order(entries, kept, generator):
    rows = scored(entries)
    pairs = Counter((a, b) for row in rows for a, b in row.alignment if a != b)
    wrong = [row for row in rows if utterance_errors(row)]
    rate = {row.utt_id: utterance_errors(row) / length(row) if length(row) else math.inf for row in wrong}
    worst = sorted(wrong, key=lambda row: (-rate[row.utt_id], -utterance_errors(row), row.utt_id))[:kept]
    for _ in range(2):
        tally = tallied(rows, worst=kept)
        assert tally.worst() == worst
        counted = [entry for kind in "SDI" for entry in tally.confusions(kind, 100)]
        assert {(a, b): count for a, b, count in counted} == pairs
        assert all(a is not None and b is not None for a, b, _ in tally.confusions("S"))
        assert all(b is None for _, b, _ in tally.confusions("D"))
        assert all(a is None for a, _, _ in tally.confusions("I"))
        generator.shuffle(rows)


def test_rows_that_are_equally_bad_or_share_an_id_have_an_order():
    rows = [score_utterance(name, "一二", text, AISHELL) for name in "bab" for text in ("一三", "二二")]
    assert [row.utt_id for row in tallied(rows, worst=4).worst()] == ["a", "a", "b", "b"]
    assert tallied(rows, worst=0).worst() == []


def test_confusions_come_most_frequent_first_and_equal_ones_in_code_point_order():
    tally = tallied(scored([("一二三", "二三四", None, None), ("一二", "四二", None, None), ("二", "四", None, None)]))
    assert tally.confusions("S") == [("一", "四", 1), ("二", "四", 1)]
    assert tally.confusions("D") == [("一", None, 1)]
    assert tally.confusions("I", 1) == [(None, "四", 1)]
    assert tally.confusions_undercount == 0


def test_confusions_stay_bounded_and_say_by_how_much_they_may_be_too_low():
    generator = random.Random(0)
    frequent, true = Frequent(50), Counter()
    for _ in range(20_000):
        common = generator.random() < 0.3
        pair = ("是", "四") if common else (chr(0x4E00 + generator.randrange(2000)), "x")
        true[pair] += 1
        frequent.add([["好", "好"], list(pair)])
        assert len(frequent.counts) <= 50
    (left, right, count), *_ = frequent.most("S", 1)
    assert (left, right) == ("是", "四")
    assert true[left, right] - frequent.undercount <= count <= true[left, right]


def test_conditions_divide_the_rows_that_name_them():
    rows = scored([("一", "二", None, None), ("一二", "一二", None, None), ("三", None, None, None)])
    tally = Tally()
    tally.add(rows[0])
    tally.add(rows[1], conditions={"noise": "street", "room": "large"})
    tally.add(rows[2], conditions={"noise": "none"})
    assert tally.conditions() == {
        "noise": [summed("street", rows[1:2]), summed("none", rows[2:])],
        "room": [summed("large", rows[1:2])],
    }


def test_real_time_factors_are_kept_of_the_rows_that_have_one():
    rows = scored([("一", "一", None, None)] * 3)
    tally = Tally()
    for row, rtf in zip(rows, (0.25, None, 0.5), strict=True):
        tally.add(row, rtf=rtf)
    assert tally.rtf.tolist() == [0.25, 0.5]


def test_reading_in_between_changes_nothing(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 4)
    rows = scored([("一二三", "一三", f"S{index % 3}", 1.0 + index) for index in range(11)])
    tally = Tally()
    for index, row in enumerate(rows):
        tally.add(row, conditions={"half": "late"} if index > 5 else None)
        assert tally.total == summed("all", rows[: index + 1])
    assert tally.conditions() == {"half": [summed("late", rows[6:])]}
    assert (tally.speakers(), tally.durations(), tally.rates()) == (
        tallied(rows).speakers(),
        tallied(rows).durations(),
        tallied(rows).rates(),
    )


def test_the_notes_count_what_is_missing_and_empty():
    tally = tallied(
        scored([("一", "一", None, None), ("", "二", None, None), ("三", None, None, None), ("", None, None, None)])
    )
    assert tally.notes() == [
        "2 of 4 utterances have no hypothesis: deletions (first: u002)",
        "2 references are empty after normalisation: insertions count, but they have no rate of their own in the mean "
        "per utterance (first: u001)",
    ]
    assert tallied([]).notes() == []


def test_nothing_yet_is_no_error_and_no_group():
    tally = Tally()
    assert tally.total == Group("all")
    assert (tally.total.cer, tally.total.ser, tally.mean_utterance_cer) == (0.0, 0.0, 0.0)
    assert (tally.lengths(), tally.speakers(), tally.conditions(), tally.worst()) == ([], [], {}, [])
    assert tally.error_counts.dtype == np.int32


def test_names_of_the_groups():
    assert bucket_names((1, 2, 5), "s") == ["< 1 s", "1-2 s", "2-5 s", ">= 5 s"]
    assert count_names((1, 6, 11)) == ["0", "1-5", "6-10", ">= 11"]


@settings(max_examples=20)
@given(st.integers(0, 120))
def test_an_edge_begins_its_group(units):
    tally = tallied(scored([("一" * units, "一" * units, None, 1.0)]))
    (group,) = tally.lengths()
    low, _, high = group.name.removeprefix(">= ").partition("-")
    assert int(low) <= units <= (int(high) if high else int(low) if low == "0" else 10**9)
    (rate,) = tally.rates()
    assert rate.name == (
        "< 1 per second" if units < 1 else f"{units}-{units + 1} per second" if units < 8 else ">= 8 per second"
    )


def test_memory_per_utterance_is_a_few_numbers():
    row = scored([("一二三四五六七", "一二四四五六七", "S1", 2.0)])[0]
    tally = tallied([row] * 10_000)
    assert tally.total.utterances == 10_000
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(50_000):
            tally.add(row)
        assert tally.total.utterances == 60_000
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # Three 4-byte numbers, and room that Python's arrays keep for growing (one eighth).
    assert grown < 20 * 50_000
