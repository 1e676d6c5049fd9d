"""What CIF decides, of every family that has it: firing frames and token counts; and the oracle of its arithmetic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from parity.decisions.count import count_difference
from parity.decisions.threshold import threshold_differences
from parity.taps.distances import Comparison
from reports.schema import DecisionRow


class Integrated(NamedTuple):
    """CIF of one utterance, frame by frame: running_sum (T,), weights (U, T) of complete tokens, fires (T,) bool."""

    running_sum: np.ndarray
    weights: np.ndarray
    fires: np.ndarray


def integrate(alphas: np.ndarray) -> Integrated:
    """Return what a loop over the frames gives, in float64: the oracle of the candidate's closed form.

    Mirrors the loop of funasr/models/paraformer/cif_predictor.py::cif, which carries a remainder below the threshold 1.
    """
    rows, row = [], np.zeros(len(alphas))
    total, remainder = np.zeros(len(alphas)), 0.0
    fires = np.zeros(len(alphas), dtype=bool)
    for frame, alpha in enumerate(alphas.astype(np.float64)):
        total[frame] = alpha + (total[frame - 1] if frame else 0.0)
        if remainder + alpha >= 1.0:
            row[frame] = 1.0 - remainder
            rows.append(row)
            row = np.zeros(len(alphas))
            row[frame] = remainder + alpha - 1.0
            remainder, fires[frame] = row[frame], True
        else:
            row[frame] = alpha
            remainder += alpha
    return Integrated(total, np.stack(rows) if rows else np.zeros((0, len(alphas))), fires)


def add_cif(comparison: Comparison, utt_id: str, taps: dict[str, np.ndarray]) -> None:
    """Hold the candidate's running sum and weights against a float64 loop over its own alphas."""
    exact = integrate(taps["predictor.alphas"][0])
    comparison.total("cif.running_sum").add_absolute(utt_id, exact.running_sum, taps["cif.running_sum"][0])
    weights = taps["cif.weights"][0]
    both = min(len(weights), len(exact.weights))
    if both:
        comparison.total("cif.weights").add_absolute(utt_id, exact.weights[:both], weights[:both])


def firing_differences(
    utt_id: str,
    truth_alphas: np.ndarray,
    reference_alphas: np.ndarray,
    reference_fires: np.ndarray,
    candidate_fires: np.ndarray,
    allowance: float,
) -> list[DecisionRow]:
    """Return one row per frame of an utterance that fires on one side only; all arrays are (T,).

    The margin is the truth's distance of the running sum from the nearest whole token, before or after the frame. The
    noise is `allowance` times how far the float32 reference's sum strays from the truth's, float32's rounding of the
    sum included (FunASR looks at it in float32). Only the reference's error may excuse a difference: a wrong candidate
    has large errors of its own.
    """
    truth, noise = sum_and_noise(truth_alphas, reference_alphas, allowance)

    def margins(frame: int) -> tuple[float, float]:
        return min(abs(truth[t] - max(round(truth[t]), 1)) for t in (frame, max(frame - 1, 0))), noise

    def words(frame: int, fires: bool) -> str:
        tail = " (the tail frame)" if frame == len(truth) - 1 else ""
        return f"fires{tail}" if fires else "does not fire"

    return threshold_differences("firing", utt_id, reference_fires, candidate_fires, margins, words)


def token_count_difference(
    utt_id: str, truth_alphas: np.ndarray, reference_alphas: np.ndarray, counts: tuple[int, int], allowance: float
) -> list[DecisionRow]:
    """Return a row where the two token counts differ; FunASR counts by another sum than it fires by.

    The margin is the distance of the truth's whole sum from the nearest whole token, the noise that of the firings.
    """
    truth, noise = sum_and_noise(truth_alphas, reference_alphas, allowance)
    return count_difference(utt_id, counts, truth[-1], noise, len(truth) - 1)


def sum_and_noise(truth: np.ndarray, reference: np.ndarray, allowance: float) -> tuple[np.ndarray, float]:
    """Return the truth's running sum and how far rounding may move it, both sides together."""
    total = np.cumsum(truth.astype(np.float64))
    stray = np.abs(np.cumsum(reference.astype(np.float64)) - total).max()
    return total, float(allowance * (stray + np.spacing(np.float32(total[-1]))))
