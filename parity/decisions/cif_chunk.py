"""What CIF decides over the windows of a stream: firing frames, by FunASR's own float32 loop and what it carries on."""

from __future__ import annotations

import numpy as np

from parity.decisions.threshold import threshold_differences
from reports.schema import DecisionRow


class Sums:
    """The truth's running sum over a whole stream, and how far rounding may move it, both sides together.

    Args:
        alphas: of the float64 reference, of all frames decided on, (T,).
        exact: the float64 reference's sums before a token is taken off, (T + 1,) with the tail.
        single: the float32 reference's, which it decides by.
        fires: where the float32 reference fires, (T + 1,) bool.
        allowance: how many times the float32 reference's own error counts.
    """

    def __init__(self, alphas: np.ndarray, exact: np.ndarray, single: np.ndarray, fires: np.ndarray, allowance: float):
        tail = exact[-1] - (exact[-2] - float(exact[-2] >= 1.0))
        self.total = np.cumsum([*alphas.astype(np.float64), float(tail)])
        looped = single.astype(np.float64) + np.cumsum(fires) - fires  # what was taken off before a frame
        off = looped - self.total
        stray = np.abs(off - np.round(off)).max(initial=0.0)  # whole tokens apart are a firing that moved
        self.noise = float(allowance * (stray + np.spacing(np.float32(1.0))))

    def margin(self, frame: int) -> float:
        """Return the distance of the sum from the nearest whole token, at a frame or the one before it."""
        near = [self.total[t] for t in (frame - 1, frame) if 0 <= t < len(self.total)]
        return float(min(abs(value - max(round(value), 1)) for value in near))


def firing_differences(utt_id: str, sums: Sums, reference: np.ndarray, candidate: np.ndarray) -> list[DecisionRow]:
    """Return one row per frame of a stream that fires on one side only; both (T + 1,) bool, the tail at the end."""

    def margins(frame: int) -> tuple[float, float]:
        return sums.margin(frame), sums.noise

    def words(frame: int, fires: bool) -> str:
        tail = " (the tail frame)" if frame == len(reference) - 1 else ""
        return f"fires{tail}" if fires else "does not fire"

    return threshold_differences("firing", utt_id, reference, candidate, margins, words)
