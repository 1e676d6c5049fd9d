"""Discrete outcomes explained: firing frames against the running sum's noise, tokens against the logits' noise.

A difference is *explained* where the truth itself stands closer to the decision's edge than the numbers are exact:
then two right implementations may decide differently. Anything else is a bug.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Taps may stray to 4 times the reference's own distance; then the two sides together stray by 1 + 4 times it. Only the
# reference's error may excuse a difference: a wrong candidate has large errors of its own.
BOTH_SIDES = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """How many entries differ, how many of those the noise floor explains, and one line per case."""

    count: int
    explained: int
    lines: tuple[str, ...]


def firing_differences(
    truth_alphas: np.ndarray, reference_alphas: np.ndarray, reference_fires: np.ndarray, candidate_fires: np.ndarray
) -> Differences:
    """Compare firing frames of one utterance; all arguments are (T,).

    The margin is the truth's distance of the running sum from the nearest whole token; the floor is how far the float32
    reference's sum strays from the truth's, plus float32's rounding of the sum (FunASR looks at it in float32).
    """
    if reference_fires.shape != candidate_fires.shape:
        return Differences(count=1, explained=0, lines=(f"{candidate_fires.size} frames for {reference_fires.size}",))
    frames = np.flatnonzero(reference_fires != candidate_fires)
    truth = np.cumsum(truth_alphas.astype(np.float64))
    stray = np.abs(np.cumsum(reference_alphas.astype(np.float64)) - truth).max()
    floor = BOTH_SIDES * (stray + np.spacing(np.float32(truth[-1])))
    lines, explained = [], 0
    for frame in frames:
        margin = min(abs(truth[t] - max(round(truth[t]), 1)) for t in (frame, max(frame - 1, 0)))
        explained += bool(margin <= floor)
        lines.append(f"frame {frame}: running sum {margin:.1e} from an integer, noise floor {floor:.1e}")
    return Differences(count=len(frames), explained=explained, lines=tuple(lines))


def token_differences(truth: np.ndarray, reference: np.ndarray, candidate: np.ndarray) -> Differences:
    """Compare the arg-max of logits (U, V) of one utterance.

    The margin is the truth's gap between its best and second logit; the floor is the float32 reference's error at that
    token, twice over, because the gap has two ends.
    """
    if reference.shape != candidate.shape:
        return Differences(
            count=max(abs(len(reference) - len(candidate)), 1),
            explained=0,
            lines=(f"{len(candidate)} tokens for {len(reference)}",),
        )
    tokens = np.flatnonzero(reference.argmax(-1) != candidate.argmax(-1))
    lines, explained = [], 0
    for token in tokens:
        second, best = np.sort(truth[token])[-2:]
        floor = 2.0 * BOTH_SIDES * np.abs(reference[token] - truth[token]).max()
        explained += bool(best - second <= floor)
        lines.append(f"token {token}: top two {best - second:.1e} apart, noise floor {floor:.1e}")
    return Differences(count=len(tokens), explained=explained, lines=tuple(lines))
