"""What is suspicious about CIF's number of tokens. Oracle: by hand."""

from __future__ import annotations

import pytest

from mlx_model.decoding.flags import flags

SURE, UNSURE = [0.9, 0.8, 0.95], [0.9, 0.4, 0.95]


@pytest.mark.parametrize(
    ("total", "confidences", "found"),
    [
        (2.60, UNSURE, ["over_generation"]),  # 0.4 of the last token was never heard
        (2.70, UNSURE, []),
        (3.35, UNSURE, ["under_generation"]),
        (3.25, UNSURE, []),
        (2.60, SURE, []),  # the decoder knows every token: the count is right
        (3.50, SURE, []),
    ],
)
def test_the_count_is_doubted_where_the_sum_and_a_token_are(total: float, confidences: list[float], found: list[str]):
    assert flags(total, 3, [7, 8, 9], confidences) == found


def test_four_times_the_same_is_a_repetition():
    assert flags(4.0, 4, [7, 7, 7, 7], [0.9] * 4) == ["repetition"]
    assert flags(7.0, 7, [7, 7, 7, 8, 7, 7, 7], [0.9] * 7) == []


def test_silence_and_speech_that_became_nothing():
    assert flags(0.05, 0, [], []) == []
    assert flags(0.5, 0, [], []) == ["under_generation"]
