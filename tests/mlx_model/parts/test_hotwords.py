"""Hotwords as vectors. Oracle: one at a time through the LSTM, whose own oracle is torch (test_lstm.py)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlx_model.machine.blas import mx, tree_flatten
from mlx_model.parts.basic import Linear
from mlx_model.parts.hotwords import KeptVectors, hotword_vectors
from mlx_model.parts.lstm import LSTM

WIDTH = 16


def filled(module: Any, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    for name, value in tree_flatten(module.parameters()):
        module[name] = mx.array(0.4 * rng.standard_normal(value.shape).astype(np.float32))
    return module


def normal(*shape: int, seed: int = 1) -> mx.array:
    return mx.array(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def test_a_hotwords_vector_does_not_depend_on_the_list():
    table, lstm = normal(9, WIDTH), filled(LSTM(WIDTH, WIDTH, layers=2, bidirectional=True))
    projection = filled(Linear(2 * WIDTH, WIDTH), 2)
    ids = [(3, 4, 5), (6,), (7, 8), (2, 2, 2, 2), (1,)]
    together = np.array(hotword_vectors(table, lstm, projection, ids))
    for vector, each in zip(together, ids, strict=True):
        np.testing.assert_allclose(vector, np.array(projection(lstm(table[mx.array([each])]))[0, -1]), atol=1e-6)
    assert not np.allclose(together[0], together[3])


def test_one_direction_is_not_projected():
    table, lstm = normal(9, WIDTH), filled(LSTM(WIDTH, WIDTH, layers=2))
    found = hotword_vectors(table, lstm, None, [(3, 4), (5,)])
    np.testing.assert_allclose(np.array(found[1]), np.array(lstm(table[mx.array([[5]])])[0, 0]), atol=1e-6)


def test_hotwords_of_all_lengths_stand_where_they_were():
    table, lstm = normal(20, WIDTH), filled(LSTM(WIDTH, WIDTH))
    ids = [(3,), (4, 5, 6), (7, 8), (9,), (1, 2, 3), (1,)]
    alone = np.stack([np.array(lstm(table[mx.array([each])])[0, -1]) for each in ids])
    assert np.abs(np.array(hotword_vectors(table, lstm, None, ids)) - alone).max() < 1e-6


def test_vectors_are_kept_for_the_same_list_of_the_same_weights():
    table, lstm, kept = normal(20, WIDTH), filled(LSTM(WIDTH, WIDTH)), KeptVectors()
    ids = ((3, 4), (1,))
    first = kept.of(table, lstm, None, ids)
    assert kept.of(table, lstm, None, ((3, 4), (1,))) is first
    assert len(kept.of(table, lstm, None, ids[:1])) == 1
    again = kept.of(table, lstm, None, ids)
    assert np.array_equal(np.array(again), np.array(first))
    lstm.bias_hh_l0 = lstm.bias_hh_l0 + 1.0  # pyright: ignore[reportAttributeAccessIssue]
    changed = np.array(kept.of(table, lstm, None, ids))
    assert np.abs(changed - np.array(first)).max() > 1e-2
    assert np.abs(np.array(kept.of(table * 2, lstm, None, ids)) - changed).max() > 1e-2
