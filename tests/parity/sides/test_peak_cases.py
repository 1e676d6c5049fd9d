"""What is made up for times and firings stands where it should. Oracle: by hand, and what a changed constant does."""

from __future__ import annotations

import numpy as np
import pytest

from mlx_model.decoding import peak_times
from mlx_model.parts.integrals import PEAK, THRESHOLD, integrals
from parity.sides.peak_cases import cases, edges

CASES = {case.name: case for case in cases()}


def times(name: str) -> list[list[int]]:
    case = CASES[name]
    return peak_times.funasr_times(case.alphas, integrals(case.alphas[None], PEAK)[0], case.tokens).times


def test_tokens_of_11_12_and_13_frames(monkeypatch: pytest.MonkeyPatch):
    """Peaks at 4, 15, 27, 40 and 47 of 20 ms, each 1.5 frames early: 11, 12, 13 frames (cut to 12), 7."""
    expected = [[50, 270], [270, 510], [510, 750], [770, 1155]]
    name = "tokens of 11, 12 and 13 frames"
    assert times(name)[:3] == expected[:3]
    assert times(name)[3][0] == expected[3][0]
    for longest in (11, 30):
        with monkeypatch.context() as patched:
            patched.setattr(peak_times, "LONGEST", longest)
            assert times(name) != expected


def test_the_first_frame_gives_a_time_before_the_recording():
    assert times("a token in the first frame")[0][0] == -30


@pytest.mark.parametrize(("name", "more"), [("no end mark", 0), ("two end marks", 2), ("ends with the recording", 1)])
def test_there_are_as_many_peaks_as_the_name_says(name: str, more: int):
    case = CASES[name]
    assert int((integrals(case.alphas[None], PEAK) >= np.float32(PEAK)).sum()) == len(case.tokens) + more


def test_sums_come_so_near_that_float32_decides():
    alphas = edges()["sums that just reach 1"]
    fires = np.flatnonzero(integrals(alphas[None], THRESHOLD)[0] >= 1)
    exact = np.flatnonzero(np.diff(np.floor(np.cumsum(alphas.astype(np.float64))), prepend=0))
    assert fires.tolist() != exact.tolist()
