"""The largest of a row of scores: which differ, and whether rounding explains it. Pure numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from parity.decisions.decision import decision
from reports.schema import DecisionRow


def argmax_differences(
    utt_id: str,
    truth: np.ndarray,
    reference: np.ndarray,
    candidate: np.ndarray,
    allowance: float,
    token: Callable[[int], str] = str,
    kind: str = "token",
    decided: np.ndarray | None = None,
    moved: np.ndarray | None = None,
) -> list[DecisionRow]:
    """Return one row per position of an utterance whose arg-max over scores differs; all are (U, V).

    The margin is the truth's gap between its best and second score; the noise is `allowance` times the reference's
    error at that position, twice over, because the gap has two ends. `token` names an id. `decided` are the scores that
    decide on the reference's side where they are others: its float32 run's, where the noise is a half precision's.
    `moved` (U,) is how far other inputs moved the candidate's scores, both ends of the gap alike.
    """
    rows, theirs = [], (reference if decided is None else decided).argmax(-1)
    for position in np.flatnonzero(theirs != candidate.argmax(-1)):
        second, best = np.sort(truth[position])[-2:]
        noise = float(2.0 * allowance * np.abs(reference[position] - truth[position]).max())
        noise += 0.0 if moved is None else 2.0 * float(moved[position])
        texts = (token(int(theirs[position])), token(int(candidate[position].argmax())))
        rows.append(decision(kind, utt_id, int(position), texts, float(best - second), noise))
    return rows
