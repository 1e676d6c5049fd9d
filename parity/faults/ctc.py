"""Faults of a CTC head and of its greedy search: the layer, the blank, the collapse."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from mlx_model.decoding import greedy
from mlx_model.decoding.greedy import Run
from mlx_model.machine.blas import mx
from parity.faults.fault import Fault, exchange, fault, lost, within
from parity.sides.candidate import Candidate

FILE = "mlx_model.decoding.greedy"
IDS = "token_ids"
QUERIES = 4  # frames in front of speech


def _rows_shifted(layer: Any) -> None:
    layer.weight = mx.concatenate([layer.weight[1:], layer.weight[:1]])


def _read(stack: ExitStack, change: Callable[[np.ndarray, int], list[Run]]) -> None:
    exchange(stack, f"{FILE}.runs", change)


def _each(best: np.ndarray, keep: np.ndarray) -> list[Run]:
    places = np.flatnonzero(keep)
    return [Run(int(best[place]), int(place), int(place) + 1) for place in places]


def _unique(best: np.ndarray, blank_id: int) -> list[Run]:
    first = {run.token_id: run for run in reversed(HEALTHY(best, blank_id))}
    return [first[token] for token in sorted(first)]


def _blank_first(best: np.ndarray, blank_id: int) -> list[Run]:
    return HEALTHY(best[best != blank_id], blank_id)


def _no_collapse(best: np.ndarray, blank_id: int) -> list[Run]:
    return _each(best, best != blank_id)


def _cut_before_collapse(best: np.ndarray, blank_id: int) -> list[Run]:
    tags = _each(best[:QUERIES], np.ones(QUERIES, bool))
    return [*tags, *HEALTHY(best[QUERIES:], blank_id)]


def _last_frame_lost(best: np.ndarray, blank_id: int) -> list[Run]:
    return HEALTHY(best[: np.flatnonzero(best != blank_id)[-1]] if (best != blank_id).any() else best, blank_id)


def _last_is_blank(candidate: Candidate, stack: ExitStack) -> None:
    last = candidate.model.config.vocab_size - 1
    _read(stack, lambda best, blank_id: HEALTHY(best, last))


HEALTHY = greedy.runs


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of a CTC head that sits at `at`."""
    layer = within(at, "ctc_lo")

    def head(candidate: Candidate) -> Any:
        return candidate.modules[layer]

    return (
        fault("ctc_bias_lost", layer, "the output layer without its bias", lambda c, s: lost(head(c))),
        fault("ctc_rows_shifted", layer, "the output layer's weights one token late",
              lambda c, s: _rows_shifted(head(c))),
        fault("unique_for_consecutive", IDS, "every token once, sorted: `unique` in place of `unique_consecutive`",
              lambda c, s: _read(s, _unique)),
        fault("blank_dropped_first", IDS, "the blank dropped before equal neighbours are joined",
              lambda c, s: _read(s, _blank_first), needs="a token that is said twice in a row"),
        fault("no_collapse", IDS, "equal neighbours not joined", lambda c, s: _read(s, _no_collapse)),
        fault("last_id_is_blank", IDS, "the last id taken for the blank, not 0", _last_is_blank),
        fault("queries_cut_off_first", IDS, "tags read frame by frame, the rest collapsed by itself",
              lambda c, s: _read(s, _cut_before_collapse), needs="a query frame whose best token is the blank"),
        fault("last_token_lost", IDS, "reading stops before the last frame that holds a token",
              lambda c, s: _read(s, _last_frame_lost)),
    )  # fmt: skip
