"""What follows from many decisions (a transition, a segment): the first that differs, explained by those before it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from parity.decisions.decision import decision
from reports.schema import DecisionRow


def first_difference(
    kind: str, utt_id: str, reference: np.ndarray, candidate: np.ndarray, causes: Sequence[DecisionRow]
) -> list[DecisionRow]:
    """Return the row of the first entry that differs, (N, ...) each, explained where its causes are, and all of them.

    A boundary has no margin of its own: it takes that of the cause which stands furthest outside its noise. Without a
    cause nothing explains it.
    """
    if np.array_equal(reference, candidate):
        return []
    both = min(len(reference), len(candidate))
    place = next((i for i in range(both) if not np.array_equal(reference[i], candidate[i])), both)
    texts = [str(side[place].tolist()) if place < len(side) else "nothing" for side in (reference, candidate)]
    worst = max(causes, key=lambda row: row.margin - row.noise, default=None)
    margin, noise = (np.inf, 0.0) if worst is None else (worst.margin, worst.noise)
    return [decision(kind, utt_id, place, (texts[0], texts[1]), margin, noise)]
