"""Delays of a streaming model's text. Oracle: by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from parity.cer.latency import LatencyTally, spread


def test_delays_count_from_a_word_s_end_and_only_where_all_of_it_was_heard():
    tally = LatencyTally("aligner")
    times = [["你", 100, 300], ["好", 300, 480], ["hello", 500, 900], ["天", 950, 1100]]
    tally.add([["你好", 600.0, 5.0], ["he", 1200.0, 7.0], ["llo", 1800.0, 6.0], ["地", 1900.0, 1.0]], times)
    found = tally.report()
    assert found is not None
    assert (found.utterances, found.words, found.timed) == (1, 4, 3)
    assert found.first_token.p50 == 500  # 600 - 100
    assert sorted(tally.delay.elements()) == [120, 300, 900]  # 600 - 480, 600 - 300, 1800 - 900
    assert (found.delay.p50, found.delay.p90, found.delay.mean) == (300, 900, 440)
    assert found.first_compute.p50 == 5
    assert (found.compute.count, found.compute.p50) == (8, 6)  # 1, 5, 5, 6, 6, 6, 7, 7
    assert {one.label: one.count for one in tally.bins() if one.count} == {"≤ 200": 1, "≤ 400": 1, "≤ 1000": 1}


def test_what_was_not_heard_or_not_said_has_no_delay():
    tally = LatencyTally("aligner")
    tally.add([], [["你", 100, 300]])
    tally.add([["你", 600.0, 1.0]], [])
    found = tally.report()
    assert found is not None
    assert (found.utterances, found.words, found.timed, found.first_token.count) == (2, 1, 0, 0)
    assert found.delay.p50 is None
    assert tally.bins() == []
    assert LatencyTally("aligner").report() is None


CASES = [([1], (1, 1, 1)), ([*range(1, 101)], (50, 90, 99)), ([5, 1], (1, 5, 5))]


@pytest.mark.parametrize(("values", "expected"), CASES)
def test_percentiles_are_nearest_ranks(values: list[int], expected: tuple[int, int, int]):
    found = spread(Counter(values), 0.5)
    assert (found.p50, found.p90, found.p99) == tuple(value / 2 for value in expected)
    assert found.mean == sum(values) / len(values) / 2
