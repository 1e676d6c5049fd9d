"""CTC's greedy search. Oracle: by hand, and torch.unique_consecutive as FunASR uses it."""

from __future__ import annotations

import numpy as np
import pytest

from mlx_model.decoding.greedy import Run, runs


def test_equal_neighbours_are_one_and_a_blank_parts_them():
    best = np.array([5, 5, 0, 5, 7, 7, 7, 0, 0, 2])
    assert runs(best, 0) == [Run(5, 0, 2), Run(5, 3, 4), Run(7, 4, 7), Run(2, 9, 10)]


def test_any_id_may_be_the_blank():
    assert [run.token_id for run in runs(np.array([0, 0, 3, 3, 0]), 3)] == [0, 0]


def test_nothing_but_blanks_and_nothing_at_all():
    assert runs(np.zeros(9, np.int64), 0) == []
    assert runs(np.zeros(0, np.int64), 0) == []


@pytest.mark.reference
def test_it_is_unique_consecutive():
    import torch

    rng = np.random.default_rng(0)
    for _ in range(50):
        best = rng.integers(0, 4, size=rng.integers(1, 40))
        found = torch.unique_consecutive(torch.tensor(best), dim=-1)
        assert [run.token_id for run in runs(best, 0)] == found[found != 0].tolist()
