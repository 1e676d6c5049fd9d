"""How many there are: whether two counts differ, and whether rounding explains it."""

from __future__ import annotations

import numpy as np

from parity.decisions.decision import decision
from reports.schema import DecisionRow


def count_difference(
    utt_id: str, counts: tuple[int, int], total: float, noise: float, position: int, words: str = "tokens"
) -> list[DecisionRow]:
    """Return a row where two counts differ that are taken of one sum, by rounding or by floor.

    The margin is the distance of the truth's sum, `total`, from the nearest whole number; more than one apart nothing
    explains.
    """
    if counts[0] == counts[1]:
        return []
    texts = (f"{counts[0]} {words}", f"{counts[1]} {words}")
    margin = float(abs(total - round(total))) if abs(counts[0] - counts[1]) == 1 else np.inf
    return [decision("count", utt_id, position, texts, margin, noise)]


def unexplained_count(utt_id: str, reference: int, candidate: int, words: str = "tokens decoded") -> DecisionRow:
    """Return the row of two counts that no rounding can tell apart, as of decoders whose predictors agree."""
    texts = (f"{reference} {words}", f"{candidate} {words}")
    return decision("count", utt_id, min(reference, candidate), texts, np.inf, 0.0)
