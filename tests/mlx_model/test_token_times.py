"""When tokens are said. Oracles: by hand; the VAD's pauses in real speech."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.token_times import pauses, starts_ms


def test_starts_by_hand():
    fires = np.array([False, True, False, True, True, False])
    assert starts_ms(fires, np.array([True, False, True]), 60.0) == [30, 210]
    assert starts_ms(fires, np.array([True] * 5), 60.0) == [30, 150, 210, 270, 270]  # two that never fired
    assert starts_ms(np.array([True]), np.array([True]), 60.0) == [0]
    assert starts_ms(fires, np.array([], bool), 60.0) == []


@given(st.lists(st.booleans(), max_size=200))
def test_pauses_are_the_long_runs_of_silence(speech: list[bool]):
    found = pauses(speech, 10)
    quiet = {frame for start, end in found for frame in range(start // 10, end // 10)}
    assert all(not speech[frame] for frame in quiet)
    text = "".join("1" if frame else "0" for frame in speech)
    assert sorted(end - start for start, end in found) == sorted(
        10 * len(run) for run in text.split("1") if len(run) >= 20
    )


@pytest.mark.parametrize("speech", [[], [False] * 100])
def test_nothing_but_silence(speech: list[bool]):
    assert pauses(speech, 10) == ([[0, 1000]] if speech else [])
