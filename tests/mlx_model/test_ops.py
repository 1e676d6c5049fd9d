"""The operations by every kind of rows. Oracle: NumPy in float64, recording by recording, without any padding."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from mlx_model import engines, ops
from mlx_model.engines import lanes
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import as_written
from mlx_model.parts.basic import DepthwiseConv1d, LayerNorm, Linear
from tests.mlx_model.engines.ways import as_on_a_gpu, needs_engine

D, HEADS, LENGTHS = 32, 2, [21, 9]


@as_written
class Leaves(ops.Stack):
    """One of each leaf."""

    def __init__(self) -> None:
        super().__init__()
        mx.random.seed(3)
        self.linear, self.norm, self.fsmn = Linear(D, 3 * D), LayerNorm(D, 1e-5), DepthwiseConv1d(D, 5, 1)
        for module in (self.linear, self.norm, self.fsmn):
            for name, value in module.parameters().items():
                module[name] = mx.random.normal(value.shape) * 0.5


KINDS = ["plain", "lanes", "gpu", pytest.param("cpu", marks=needs_engine)]
CONTEXTS: dict[str, Callable[[], Any]] = {
    "plain": engines.plain, "lanes": lambda: lanes.exactly(2), "gpu": as_on_a_gpu, "cpu": contextlib.nullcontext,
}  # fmt: skip


@pytest.fixture(params=KINDS)
def entered(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any, Leaves, np.ndarray]]:
    """Yield (rows, the mask layers are given, the leaves, the same values as an array) of each kind."""
    stack = Leaves()
    engines.fit(stack)
    values = np.random.default_rng(0).standard_normal((2, max(LENGTHS), D)).astype(np.float32)
    mask = mx.array(np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None])
    with CONTEXTS[request.param]():
        x, given = ops.enter(mx.array(values), mask, stack)
        assert isinstance(x, ops.Rows) == (request.param != "plain")
        assert (given is None) == (request.param != "plain")
        yield x, given, stack, values.astype(np.float64)


def holds(rows: Any, expected: Callable[[int], np.ndarray], atol: float = 2e-5) -> None:
    """Assert what belongs to each recording; float32's rounding over 32 channels."""
    array = np.array(ops.leave(rows))
    for number, length in enumerate(LENGTHS):
        np.testing.assert_allclose(array[number, :length], expected(number)[:length], atol=atol)


def product(stack: Leaves, x: np.ndarray) -> np.ndarray:
    return x @ np.array(stack.linear.weight, np.float64).T + np.array(stack.linear.bias, np.float64)


def normed(stack: Leaves, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + stack.norm.eps)
    return scaled * np.array(stack.norm.weight, np.float64) + np.array(stack.norm.bias, np.float64)


def remembered(stack: Leaves, x: np.ndarray) -> np.ndarray:
    """x of one recording, and its convolution with the taps."""
    taps, left = np.array(stack.fsmn.weight, np.float64)[:, :, 0], stack.fsmn.left
    padded = np.pad(x, [(left, taps.shape[1] - 1 - left), (0, 0)])
    return x + sum(padded[k : k + len(x)] * taps[:, k] for k in range(taps.shape[1]))


def attended(q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int) -> np.ndarray:
    parts = []
    for q_, k_, v_ in zip(*(np.split(part, heads, axis=1) for part in (q, k, v)), strict=True):
        scores = q_ @ k_.T / np.sqrt(q_.shape[1])
        weights = np.exp(scores - scores.max(1, keepdims=True))
        parts.append(weights / weights.sum(1, keepdims=True) @ v_)
    return np.concatenate(parts, axis=1)


def test_each_operation(entered: tuple[Any, Any, Leaves, np.ndarray]):
    x, mask, stack, values = entered
    holds(x, lambda n: values[n], atol=0)
    holds(stack.linear(x), lambda n: product(stack, values[n]))
    holds(ops.linear(x, stack.linear, relu=True), lambda n: np.maximum(product(stack, values[n]), 0))
    holds(ops.relu(stack.linear(x)), lambda n: np.maximum(product(stack, values[n]), 0))
    holds(ops.relu(x), lambda n: np.maximum(values[n], 0))
    holds(stack.norm(x), lambda n: normed(stack, values[n]))
    holds(stack.norm(ops.relu(x)), lambda n: normed(stack, np.maximum(values[n], 0)))
    holds(x + x, lambda n: 2 * values[n])
    q, k, v = ops.split(stack.linear(x), 3)
    holds(v, lambda n: product(stack, values[n])[:, 2 * D :])
    exact = [np.split(product(stack, values[n, :size]), 3, axis=1) for n, size in enumerate(LENGTHS)]
    holds(ops.memory(v, stack.fsmn, mask), lambda n: remembered(stack, exact[n][2]))
    holds(ops.attend(q, k, v, HEADS, mask), lambda n: attended(*exact[n], HEADS))


def test_what_waits_is_the_same_whoever_asks_first(entered: tuple[Any, Any, Leaves, np.ndarray]):
    """A sum of a residual, a product's part and a memory: normed at once, looked at before, and used twice."""
    x, mask, stack, values = entered
    for looked_at in (False, True):
        q, k, _ = ops.split(stack.linear(x), 3)
        memory = ops.memory(k, stack.fsmn, mask)
        total = x + (q + memory)
        if looked_at:
            for part in (memory, total):
                ops.leave(part)

        def exact(n: int) -> np.ndarray:
            parts = np.split(product(stack, values[n, : LENGTHS[n]]), 3, axis=1)
            return values[n, : LENGTHS[n]] + parts[0] + remembered(stack, parts[1])

        holds(stack.norm(total), lambda n: normed(stack, exact(n)))
        holds(total + x, lambda n: exact(n) + values[n, : LENGTHS[n]])
        holds(x, lambda n: values[n], atol=0)  # what was added to something is what it was


def test_heads_and_windows_an_engine_has_no_kernel_for(entered: tuple[Any, Any, Leaves, np.ndarray]):
    x, mask, stack, values = entered
    expected = [attended(values[n, :size], values[n, :size], values[n, :size], 16) for n, size in enumerate(LENGTHS)]
    holds(ops.attend(x, x, x, 16, mask), lambda n: expected[n])
    with pytest.raises((ValueError, TypeError)):
        mx.eval(ops.leave(ops.attend(x, x, x, 5, mask)))
    with pytest.raises(ValueError, match=r".*"):
        mx.eval(ops.leave(ops.linear(ops.linear(x, stack.linear), stack.linear)))


def test_rows_are_put_back_and_other_inputs_stand_beside_them(entered: tuple[Any, Any, Leaves, np.ndarray]):
    x, _, stack, values = entered
    if isinstance(x, ops.Rows):
        again = x.like(2 * ops.leave(x))
        assert type(again) is type(x)
        holds(again, lambda n: 2 * values[n], atol=0)
    memory = np.random.default_rng(1).standard_normal((2, 70, D)).astype(np.float32)
    keep = mx.array(np.arange(70) < np.array([70, 33])[:, None])
    other, given = ops.enter(mx.array(memory), keep, stack, like=x)
    assert type(other) is type(x)
    keys = [memory[n, :size].astype(np.float64) for n, size in enumerate((70, 33))]
    expected = [attended(values[n, :size], keys[n], keys[n], HEADS) for n, size in enumerate(LENGTHS)]
    holds(ops.attend(x, other, other, HEADS, given), lambda n: expected[n])


def test_only_the_engine_that_was_asked_for():
    stack = Leaves()
    x = mx.zeros((1, 200, D))
    assert isinstance(ops.enter(x, None, stack)[0], mx.array)  # nobody has fitted it
    engines.fit(stack)
    with ops.only("GPU path"):  # there is none here
        assert isinstance(ops.enter(x, None, stack)[0], mx.array)
    with lanes.exactly(3):
        assert isinstance(ops.enter(x, None, stack)[0], lanes.Rows)
    stack.other = nn.Dropout()  # of which nobody says that it is written against ops
    with lanes.exactly(3):
        assert isinstance(ops.enter(x, None, stack)[0], mx.array)
