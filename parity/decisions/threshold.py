"""A number on one side of an edge or on the other, frame by frame: which differ, and whether rounding explains it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from parity.decisions.decision import decision
from reports.schema import DecisionRow

Margins = Callable[
    [int], tuple[float, float]
]  # frame -> (the truth's distance from the edge, what rounding moves it by)


def threshold_differences(
    kind: str,
    utt_id: str,
    reference: np.ndarray,
    candidate: np.ndarray,
    margins: Margins,
    words: Callable[[int, bool], str],
) -> list[DecisionRow]:
    """Return one row per frame that is over the edge on one side only; both (T,) bool, `words(frame, over)` names them.

    Another number of frames is a row of its own, that nothing explains.
    """
    if reference.shape != candidate.shape:
        frames = (f"{reference.size} frames", f"{candidate.size} frames")
        return [decision(kind, utt_id, min(reference.size, candidate.size), frames, np.inf, 0.0)]
    rows = []
    for frame in map(int, np.flatnonzero(reference != candidate)):
        margin, noise = margins(frame)
        texts = (words(frame, bool(reference[frame])), words(frame, bool(candidate[frame])))
        rows.append(decision(kind, utt_id, frame, texts, float(margin), float(noise)))
    return rows
