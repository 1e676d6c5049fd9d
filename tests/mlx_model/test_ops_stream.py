"""Operations of a stream, by every kind of rows. Oracle: NumPy on the whole stream; the plain modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlx_model import engines, ops, ops_stream
from mlx_model.config.parts import FSMNConfig
from mlx_model.machine.blas import mx, nn, tree_flatten
from mlx_model.parts.basic import DepthwiseConv1d, Linear
from mlx_model.parts.fsmn import FSMN, Taps
from tests.mlx_model.engines.ways import WAYS, ways

SIZES = {
    "input_dim": 24,
    "input_affine_dim": 14,
    "fsmn_layers": 2,
    "linear_dim": 25,
    "proj_dim": 16,
    "output_affine_dim": 14,
    "output_dim": 9,
}  # fmt: skip  only the memory is whole vectors
PIECES = ((0, 3), (3, 4), (4, 40), (40, 110))


def random(model: Any) -> Any:
    mx.random.seed(0)
    parameters: Any = tree_flatten(model.parameters())
    weights = [(name, 0.25 * mx.random.normal(value.shape)) for name, value in parameters]
    model.load_weights(weights)
    engines.fit(model)
    return model


def network(*, rorder: int = 0, lstride: int = 1) -> FSMN:
    return random(FSMN(FSMNConfig(lorder=5, lstride=lstride, rorder=rorder, rstride=rorder, **SIZES)))


def in_pieces(model: FSMN, feats: mx.array, each: Callable[[int], Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the scores and the last caches of a stream, every piece of it computed in the way that `each` opens."""
    cache: dict[str, mx.array] = {}
    parts = []
    for number, (first, stop) in enumerate(PIECES):
        with each(number):
            parts.append(model(feats[:, first:stop], cache))
            mx.eval(parts[-1], cache)
    return np.array(mx.concatenate(parts, axis=1)), {name: np.array(past) for name, past in cache.items()}


@ways
@pytest.mark.parametrize("orders", [{}, {"lstride": 3}, {"rorder": 2}])
def test_a_stream_is_the_same_by_every_engine_and_by_all_in_turn(way: str, orders: dict[str, int]):
    model, feats = network(**orders), mx.random.normal((2, 110, 24), key=mx.random.key(1))
    expected, past = in_pieces(model, feats, lambda _: engines.plain())
    assert in_words(model, way)
    for each in (lambda _: WAYS[way](), lambda number: engines.plain() if number % 2 else WAYS[way]()):
        found, after = in_pieces(model, feats, each)
        np.testing.assert_allclose(found, expected, atol=2e-6)
        assert after.keys() == past.keys()
        for name, value in after.items():
            np.testing.assert_allclose(value, past[name], atol=2e-5)


def in_words(model: FSMN, way: str) -> str:
    with WAYS[way]():
        return next(filter(None, (engine.in_words(model) for engine in ops.offered(model))), "")


def bend_stride(model: FSMN) -> None:
    model.fsmn[1].fsmn_block.conv_left.stride = 2
    model.fsmn[1].fsmn_block.conv_left.reach = 8


def written_into(model: FSMN) -> None:
    model.fsmn[0].fsmn_block.conv_left.weight *= 2


def replaced(model: FSMN) -> None:
    model.out_linear2.linear.weight = model.out_linear2.linear.weight[::-1]


def another_function(model: FSMN) -> None:
    block = model.fsmn[0].fsmn_block
    block.__class__ = type("Silent", (type(block),), {"__call__": lambda self, x, cache=None: (0 * x, cache)})


def no_bias(model: FSMN) -> None:
    del model.in_linear2.linear["bias"]


@ways
@pytest.mark.parametrize("change", [bend_stride, written_into, replaced, another_function, no_bias])
def test_what_is_changed_later_is_computed_with(way: str, change: Callable[[FSMN], None]):
    model, feats = network(), mx.random.normal((1, 110, 24), key=mx.random.key(1))
    with WAYS[way]():
        before = np.array(model(feats))
    change(model)
    with engines.plain():
        expected = np.array(model(feats))
    with WAYS[way]():
        found = np.array(model(feats))
    assert np.abs(expected - before).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=2e-6)


class Attending(ops.Stack):
    """Rows that attend to a cache and themselves, and remember what stood before them: what windows are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.fsmn_block = Linear(32, 32), DepthwiseConv1d(32, 5, 0)

    def __call__(self, x: mx.array, keys: mx.array, past: mx.array, mask: ops.Mask = None) -> mx.array:
        rows, mask = ops.enter(x, mask, self)
        k = ops_stream.behind(keys, rows)
        attended = ops.attend(self.q(rows), k, k, 1, None)
        return ops.leave(attended + ops_stream.memory_behind(past, rows, self.fsmn_block, mask))


@ways
def test_keys_and_taps_behind_a_cache(way: str, monkeypatch: pytest.MonkeyPatch):
    """Oracle: NumPy in float64."""
    monkeypatch.setattr("mlx_model.engines.cpu_rows.kind_of", lambda module: type(module).__name__)
    stack = random(Attending())
    x, keys, past = (mx.random.normal((2, size, 32), key=mx.random.key(size)) for size in (70, 40, 4))
    with WAYS[way]():
        found = np.array(stack(x, keys, past))
    x, keys, past = (np.array(each, np.float64) for each in (x, keys, past))
    weight, taps = np.array(stack.q.weight, np.float64), np.array(stack.fsmn_block.weight, np.float64)[:, :, 0].T
    k = np.concatenate([keys, x], axis=1)
    scores = (x @ weight.T + np.array(stack.q.bias)) @ k.transpose(0, 2, 1) / np.sqrt(32)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    frames = np.concatenate([past, x], axis=1)
    memory = x + sum(frames[:, tap : tap + 70] * taps[tap] for tap in range(5))
    expected = weights / weights.sum(axis=-1, keepdims=True) @ k + memory
    np.testing.assert_allclose(found, expected, atol=1e-4)


@ways
def test_padding_reaches_nobody(way: str):
    """Streams that give fewer tokens than others: what stands behind them is no past of theirs. Oracle: each alone."""
    block, past = random(nn.Sequential(DepthwiseConv1d(32, 5, 0))).layers[0], mx.random.normal((2, 4, 32))
    x, mask = mx.random.normal((2, 9, 32)), mx.arange(9)[None] < mx.array([9, 4])[:, None]
    sizes = ((0, 9), (1, 4))
    alone = [ops_stream.memory_behind(past[i : i + 1], x[i : i + 1, :size], block, None) for i, size in sizes]
    linear = random(Identity(32))
    with WAYS[way]():
        rows, mask = ops.enter(x, mask, linear)
        found = ops.leave(ops_stream.memory_behind(past, rows, block, mask))
    for i, size in sizes:
        np.testing.assert_allclose(np.array(found)[i, :size], np.array(alone[i])[0], atol=1e-5)


class Identity(ops.Stack):
    """A stack that engines know, with nothing done in it here."""

    def __init__(self, size: int):
        super().__init__()
        self.linear = Linear(size, size)


def test_taps_into_the_future_by_hand():
    taps = Taps(1, 2, 2)
    taps.weight = mx.array([1.0, 10.0]).reshape(1, 2, 1, 1)
    x = mx.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).reshape(1, 6, 1)
    found = np.array(ops_stream.expect(x, taps)).ravel()
    np.testing.assert_array_equal(found, [3 + 50, 4 + 60, 5, 6, 0, 0])  # x[t + 2] + 10 x[t + 4]
