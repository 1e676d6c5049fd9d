"""Discrete outcomes explained: firing frames against the running sum's noise, tokens against the logits' noise.

A difference is *explained* where the truth itself stands closer to the decision's edge than the numbers are exact:
then two right implementations may decide differently. Anything else is a bug. Pure numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from parity.decisions.decision import decision
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
    if reference_fires.shape != candidate_fires.shape:
        frames = (f"{reference_fires.size} frames", f"{candidate_fires.size} frames")
        return [decision("firing", utt_id, min(reference_fires.size, candidate_fires.size), frames, np.inf, 0.0)]
    truth, noise = _sum_and_noise(truth_alphas, reference_alphas, allowance)
    rows = []
    for frame in np.flatnonzero(reference_fires != candidate_fires):
        margin = min(abs(truth[t] - max(round(truth[t]), 1)) for t in (frame, max(frame - 1, 0)))
        tail = " (the tail frame)" if frame == len(truth) - 1 else ""
        texts = [f"fires{tail}" if fires[frame] else "does not fire" for fires in (reference_fires, candidate_fires)]
        rows.append(decision("firing", utt_id, int(frame), (texts[0], texts[1]), float(margin), noise))
    return rows


def count_difference(
    utt_id: str, truth_alphas: np.ndarray, reference_alphas: np.ndarray, counts: tuple[int, int], allowance: float
) -> list[DecisionRow]:
    """Return a row where the two token counts differ; FunASR counts by another sum than it fires by.

    The margin is the distance of the truth's whole sum from the nearest whole token, the noise that of the firings.
    """
    if counts[0] == counts[1]:
        return []
    truth, noise = _sum_and_noise(truth_alphas, reference_alphas, allowance)
    texts = (f"{counts[0]} tokens", f"{counts[1]} tokens")
    margin = float(abs(truth[-1] - round(truth[-1]))) if abs(counts[0] - counts[1]) == 1 else np.inf
    return [decision("count", utt_id, len(truth) - 1, texts, margin, noise)]


def unexplained_count(utt_id: str, reference: int, candidate: int) -> DecisionRow:
    """Return the row of two decoders that give different numbers of tokens although the predictors agree."""
    texts = (f"{reference} tokens decoded", f"{candidate} tokens decoded")
    return decision("count", utt_id, min(reference, candidate), texts, np.inf, 0.0)


def _sum_and_noise(truth: np.ndarray, reference: np.ndarray, allowance: float) -> tuple[np.ndarray, float]:
    """Return the truth's running sum and how far rounding may move it, both sides together."""
    total = np.cumsum(truth.astype(np.float64))
    stray = np.abs(np.cumsum(reference.astype(np.float64)) - total).max()
    return total, float(allowance * (stray + np.spacing(np.float32(total[-1]))))


def token_differences(
    utt_id: str,
    truth: np.ndarray,
    reference: np.ndarray,
    candidate: np.ndarray,
    allowance: float,
    token: Callable[[int], str] = str,
) -> list[DecisionRow]:
    """Return one row per position of an utterance whose arg-max over logits differs; all are (U, V).

    The margin is the truth's gap between its best and second logit; the noise is `allowance` times the float32
    reference's error at that position, twice over, because the gap has two ends. `token` names an id.
    """
    rows = []
    for position in np.flatnonzero(reference.argmax(-1) != candidate.argmax(-1)):
        second, best = np.sort(truth[position])[-2:]
        noise = float(2.0 * allowance * np.abs(reference[position] - truth[position]).max())
        texts = (token(int(reference[position].argmax())), token(int(candidate[position].argmax())))
        rows.append(decision("token", utt_id, int(position), texts, float(best - second), noise))
    return rows
