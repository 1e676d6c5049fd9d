"""The best so many of a list of scores: whether two choices differ, and whether rounding explains it. Pure numpy."""

from __future__ import annotations

from collections import Counter

import numpy as np

from parity.decisions.decision import decision
from reports.schema import DecisionRow


def ranking_differences(
    kind: str,
    utt_id: str,
    truth: np.ndarray,
    noise: float,
    chosen: tuple[np.ndarray, np.ndarray],
    least: int,
) -> list[DecisionRow]:
    """Return one row per entry that only the reference chose; the order among the chosen decides nothing.

    The margin is the truth's distance of that entry's score from the edge: the score of the last entry that is in, or
    of the first that is out, whichever it is not.

    Args:
        kind: of the decision.
        utt_id: whose.
        truth: the scores of all entries, (N,), of the float64 run.
        noise: how far rounding may move the distance of two scores.
        chosen: the entries that the reference and the candidate chose, each any number of them, repeated or not.
        least: how many are chosen by their scores: the edge lies behind that many.
    """
    reference, candidate = (sorted(map(int, side)) for side in chosen)
    if reference == candidate:
        return []
    ranked = np.sort(truth.astype(np.float64))[::-1]
    lost, gained = Counter(reference) - Counter(candidate), Counter(candidate) - Counter(reference)
    if len(reference) != len(candidate):
        sides = (f"{len(reference)} entries", f"{len(candidate)} entries")
        return [decision(kind, utt_id, 0, sides, np.inf, 0.0)]
    rows = []
    for one, other in zip(lost.elements(), gained.elements(), strict=True):
        margin = max(abs(float(truth[entry]) - _edge(ranked, least, float(truth[entry]))) for entry in (one, other))
        sides = (f"keeps entry {one}", f"keeps entry {other}")
        rows.append(decision(kind, utt_id, one, sides, margin, noise))
    return rows


def _edge(ranked: np.ndarray, least: int, score: float) -> float:
    """Return the score across the edge from one."""
    return float(ranked[least] if score >= ranked[least - 1] else ranked[least - 1])
