"""Hotwords as vectors: their tokens' embeddings, read by an LSTM, of which the state at the last token is kept.

Mirrors `_hotword_representation` of funasr/models/seaco_paraformer/model.py::SeacoParaformer, and the same lines of
funasr/models/contextual_paraformer/model.py::ContextualParaformer (`cal_decoder_with_predictor`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from mlx_model.machine.blas import mx, tree_flatten
from mlx_model.machine.kept import Kept
from mlx_model.parts.basic import Linear
from mlx_model.parts.lstm import LSTM

TOGETHER = 512  # hotwords that the LSTM reads side by side: more take no less time each, with MLX or an engine
Ids = tuple[tuple[int, ...], ...]  # of every entry of a list, the last one [sos]


def hotword_vectors(
    table: Float[mx.array, "V D"], lstm: LSTM, projection: Linear | None, ids: Sequence[Sequence[int]]
) -> Float[mx.array, "N D"]:
    """Return one vector for each hotword, from the last token's state of the LSTM; (N, D).

    Args:
        table: the embedding of every token.
        lstm: the bias encoder.
        projection: what brings the states of two directions back to D; None: there is one direction.
        ids: each hotword's token ids, at least one.
    """
    order = sorted(range(len(ids)), key=lambda number: len(ids[number]))  # so that hardly anything is padding
    found = [
        _last_states(table, lstm, [ids[number] for number in order[start : start + TOGETHER]])
        for start in range(0, len(ids), TOGETHER)
    ]
    states = mx.concatenate(found)[mx.array(places(order))]
    return states if projection is None else projection(states)


def places(order: Sequence[int]) -> Int[np.ndarray, " N"]:
    """Return at which place of an order each entry stands."""
    return np.argsort(order)


def _last_states(table: Float[mx.array, "V D"], lstm: LSTM, ids: Sequence[Sequence[int]]) -> Float[mx.array, "N D1"]:
    lengths = [len(each) for each in ids]
    rows = np.zeros((len(ids), max(lengths)), np.int32)
    for row, each in zip(rows, ids, strict=True):
        row[: len(each)] = each
    states = lstm(table[mx.array(rows)], mx.array(lengths))
    last = states[mx.arange(len(ids)), mx.array(lengths) - 1]
    mx.eval(last)  # a group at a time: the gates of thousands of hotwords would lie side by side
    return last


class KeptVectors:
    """The vectors of the last list that was asked for: for all batches of a call, and all calls with the same words.

    They are made anew for another list, and where a weight that they were made of, or a class, is another one.
    """

    def __init__(self):
        self._of: tuple[Ids, tuple[type, ...]] | None = None
        self._made_of: tuple[Kept, ...] = ()
        self._vectors: Float[mx.array, "N D"] | None = None

    def of(
        self, table: Float[mx.array, "V D"], lstm: LSTM, projection: Linear | None, ids: Ids
    ) -> Float[mx.array, "N D"]:
        """Return what `hotword_vectors` does."""
        readers = [module for module in (lstm, projection) if module is not None]
        arrays = [table, *(array for module in readers for _, array in tree_flatten(module.parameters()))]
        asked = (ids, tuple(map(type, readers)))
        if self._vectors is None or self._of != asked or not all(map(Kept.is_still, self._made_of, arrays)):
            self._vectors = hotword_vectors(table, lstm, projection, ids)
            self._of, self._made_of = asked, tuple(map(Kept, arrays))
        return self._vectors
