"""CTC's n-best: token sequences with the probability of all paths that collapse to them, by prefix search.

Mirrors what Hannun et al. (2014, "First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional
Recurrent DNNs", algorithm 1) describe, without a language model. Exact while no frame has more tokens than it is given
candidates, and the prefixes fit into the beam. Imports numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

Prefix = tuple[int, ...]
Beam = dict[Prefix, tuple[float, float]]  # log-probability of the paths that end in the blank, and in the last token


def n_best(
    ids: np.ndarray, log_probs: np.ndarray, blank_id: int, number: int, beam: int | None = None
) -> list[tuple[list[int], float]]:
    """Return the likeliest token sequences with their log-probabilities, best first.

    Args:
        ids: (T, K) candidates of every frame.
        log_probs: (T, K) of them; -inf is none.
        blank_id: the id that means "no token".
        number: how many are wanted.
        beam: how many prefixes live from frame to frame; None: four times `number`, 16 at least.
    """
    kept: Beam = {(): (0.0, -math.inf)}
    width = max(4 * number, 16) if beam is None else beam
    for frame, scores in zip(ids.tolist(), log_probs.tolist(), strict=True):
        kept = _step(kept, [pair for pair in zip(frame, scores, strict=True) if pair[1] > -math.inf], blank_id)
        kept = dict(sorted(kept.items(), key=lambda item: -_sum(*item[1]))[:width])
    ranked = sorted(kept.items(), key=lambda item: -_sum(*item[1]))[:number]
    return [(list(prefix), _sum(*ends)) for prefix, ends in ranked]


def _step(kept: Beam, candidates: Iterable[tuple[int, float]], blank_id: int) -> Beam:
    """Return every prefix that one more frame makes of those kept."""
    found: Beam = {}
    candidates = list(candidates)
    for prefix, (blank, token) in kept.items():
        either = _sum(blank, token)
        for next_id, score in candidates:
            if next_id == blank_id:
                _add(found, prefix, either + score, -math.inf)
            elif prefix and next_id == prefix[-1]:
                _add(found, prefix, -math.inf, token + score)  # the same token goes on
                _add(found, (*prefix, next_id), -math.inf, blank + score)  # or begins anew, past a blank
            else:
                _add(found, (*prefix, next_id), -math.inf, either + score)
    return found


def _add(found: Beam, prefix: Prefix, blank: float, token: float) -> None:
    if blank == token == -math.inf:
        return
    before = found.get(prefix, (-math.inf, -math.inf))
    found[prefix] = (_sum(before[0], blank), _sum(before[1], token))


def _sum(left: float, right: float) -> float:
    """The logarithm of the sum of two probabilities."""
    high, low = (left, right) if left >= right else (right, left)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
