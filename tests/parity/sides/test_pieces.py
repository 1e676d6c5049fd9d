"""A stream in pieces on one cache. Oracle: the whole at once, and the cuts by hand."""

from __future__ import annotations

import numpy as np

from mlx_model.machine.blas import mx, nn
from parity.sides.pieces import PIECE, even, in_pieces, introduced, pieces
from parity.taps.tapset import TapSpec


class Running(nn.Module):
    """The running sum of frames, carried in a cache."""

    def __call__(self, x: mx.array, cache: dict[str, mx.array] | None = None) -> tuple[mx.array, dict | None]:
        total = mx.cumsum(x, axis=1)
        if cache is not None:
            total = total + cache.get("sum", mx.zeros_like(x[:, :1]))
            cache["sum"] = total[:, -1:]
        return total, cache


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.sum = Running()

    def __call__(self, x: mx.array, cache: dict | None = None) -> mx.array:
        return self.sum(x, cache)[0]


X = np.arange(2 * PIECE + 7, dtype=np.float32)[None, :, None]


def test_cuts_by_hand():
    assert even(2 * PIECE + 7) == [PIECE, PIECE, 7]
    assert list(pieces([3, 0, 2])) == [(0, 3), (3, 5)]


def test_pieces_on_one_cache_are_the_whole():
    model, cache = Model(), {}
    seen = in_pieces(model, ["sum", "sum@args"], lambda piece: model(piece, cache), mx.array(X))
    np.testing.assert_array_equal(seen["sum"][0], np.cumsum(X, axis=1))
    np.testing.assert_array_equal(seen["sum@args"][0], X)


def test_a_module_alone_gets_a_cache_where_its_row_says_so():
    model = Model()
    for arguments, expected in ((("0", "cache"), np.cumsum(X, axis=1)), (("0",), None)):
        tap = TapSpec(name=("sum",), reason="", introduced=arguments)
        (found,) = introduced(model, tap, ["sum"], model.sum, mx.array(X))["sum"]
        if expected is None:  # every piece starts anew
            expected = np.concatenate([np.cumsum(X[:, a:b], axis=1) for a, b in pieces(even(X.shape[1]))], axis=1)
        np.testing.assert_array_equal(found, expected)
