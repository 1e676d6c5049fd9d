"""When things are said: peaks of the second head, and times in milliseconds. Pure numpy, for every family with peaks.

A time follows from the frames of peaks by arithmetic on whole frames, which FunASR truncates to milliseconds: the same
frames give the same milliseconds. So what rounding can move is the frame of a peak. A difference has the margin by
which the truth's sum stands from the next whole token there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlx_model.decoding.peak_times import LONGEST, SHIFT
from mlx_model.parts.integrals import PEAK, integrals
from mlx_model.text.results import Times
from mlx_model.text.tokenizer import NEVER_PRINTED
from parity.decisions.decision import decision, rounding
from parity.decisions.threshold import threshold_differences
from reports.schema import DecisionRow

FRAME_MS = 20  # of the second head, as FunASR reckons


class Sums:
    """The truth's running sum of second alphas, and how far rounding may move it, both sides together.

    Args:
        truth: second alphas of the float64 reference, (3T,).
        single: of the float32 reference.
        allowance: how many times the float32 reference's own error counts.
        scale: what FunASR multiplies both by before it reads times off.
    """

    def __init__(self, truth: np.ndarray, single: np.ndarray, allowance: float, scale: float = 1.0):
        self.total = np.cumsum(truth.astype(np.float64)) * scale
        found = integrals((single * np.float32(scale)).astype(np.float32)[None], PEAK)[0]
        fired = np.cumsum(found >= np.float32(PEAK)) - (found >= np.float32(PEAK))  # taken off before a frame
        looped = found.astype(np.float64) + fired * PEAK
        same = np.round((looped - self.total) / PEAK)  # whole tokens apart are a peak that moved, not rounding
        stray = np.abs(looped - self.total - same * PEAK).max(initial=0.0)
        self.noise = float(allowance * (stray + np.spacing(np.float32(max(self.total[-1], 1.0)))))

    def margin(self, frame: int) -> float:
        """Return the distance of the sum from the next whole token, at a frame or the one before it."""
        near = [self.total[t] for t in (frame - 1, frame) if 0 <= t < len(self.total)]
        return float(min((abs(value - max(round(value / PEAK), 1) * PEAK) for value in near), default=np.inf))


def peak_differences(utt_id: str, sums: Sums, reference: np.ndarray, candidate: np.ndarray) -> list[DecisionRow]:
    """Return one row per frame of the second head that fires on one side only; both (3T,) bool."""

    def margins(frame: int) -> tuple[float, float]:
        return sums.margin(frame), sums.noise

    return threshold_differences("peak", utt_id, reference, candidate, margins, lambda frame, fires: "peak" * fires)


def time_differences(
    utt_id: str, sums: Sums, reference: Times | None, candidate: Times | None, causes: Sequence[DecisionRow]
) -> list[DecisionRow]:
    """Return the row of the first [start, end], ms, that differs; None on a side is that no times are known there.

    Explained where rounding explains its causes (tokens, peaks), or where the truth's sum comes near a whole token at
    one of the frames that the differing times are made of.
    """
    if reference == candidate:
        return []
    if rounding(causes, *{row.kind for row in causes}):
        return [decision("time", utt_id, 0, (_shown(reference, 0), _shown(candidate, 0)), 0.0, 0.0)]
    sides = [reference or [], candidate or []]
    both = min(map(len, sides))
    place = next((number for number in range(both) if sides[0][number] != sides[1][number]), both)
    margin = np.inf
    if place < both:
        pairs = zip(sides[0][place], sides[1][place], strict=True)
        frames = [round(ms / FRAME_MS - SHIFT) for pair in pairs if pair[0] != pair[1] for ms in pair]
        margin = min(sums.margin(frame - back) for frame in frames for back in (0, LONGEST))
    return [decision("time", utt_id, place, (_shown(reference, place), _shown(candidate, place)), margin, sums.noise)]


def _shown(times: Times | None, place: int) -> str:
    return "no times" if times is None else str(times[place]) if place < len(times) else "nothing"


def why_other(reference: Times | None, own: Times, tokens: Sequence[str], dropped: int) -> str:
    """Return in one sentence how many times by default are not FunASR's, and why; "" where none.

    Args:
        reference: FunASR's times; None where it ends in an IndexError.
        own: those by default.
        tokens: as text, without special ones.
        dropped: how many special tokens were left out.
    """
    if reference is None:
        return "FunASR ends in an IndexError where times are known by default"
    apart = [(theirs, ours) for theirs, ours in zip(reference, own, strict=False) if theirs != ours]
    differ = len(apart) + abs(len(reference) - len(own))
    if not differ:
        return ""
    reasons = [
        (any(edge < 0 for span in reference for edge in span), "FunASR's begin before the recording does"),
        (any(token in NEVER_PRINTED for token in tokens), "FunASR's move by one behind a token that is not printed"),
        (dropped != 1, f"FunASR rescales where {dropped} special tokens are left out and not 1"),
        (any(abs(a - b) == 1 for pair in apart for a, b in zip(*pair, strict=True)), "FunASR truncates"),
        (len(reference) != len(own), f"FunASR has {len(reference)} times for {len(own)} words"),
    ]
    return f"{differ} times by default are not FunASR's: {', '.join(text for holds, text in reasons if holds)}"
