"""CTC's greedy search: the best token of every frame, repetitions collapsed, the blank dropped. Imports numpy only."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np


class Run(NamedTuple):
    """A token that is the best one of the frames `start` to `end`, the latter excluded."""

    token_id: int
    start: int
    end: int


def runs(best: np.ndarray, blank_id: int) -> list[Run]:
    """Return what CTC reads out of the best token of every frame, in order.

    Equal neighbours are one token, and only then the blank is dropped, so that it can stand between two of a kind.
    Mirrors torch.unique_consecutive and the mask after it in funasr/models/sense_voice/model.py::inference.

    Args:
        best: (T,) token ids, without padding.
        blank_id: the id that means "no token".
    """
    edges = np.flatnonzero(np.diff(best)) + 1
    bounds = [0, *edges.tolist(), len(best)] if len(best) else []
    found = (Run(int(best[start]), start, end) for start, end in pairwise(bounds))
    return [run for run in found if run.token_id != blank_id]
