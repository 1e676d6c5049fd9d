"""The GPU's rows, run on the CPU device: what waits for what. Oracle: the same operations on arrays, by MLX."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlx_model import ops
from mlx_model.engines import gpu_rows, stacks
from mlx_model.engines.gpu_rows import Rows, rows_of
from mlx_model.machine.blas import mx
from mlx_model.parts.basic import DepthwiseConv1d, LayerNorm, Linear

B, T, D = 2, 9, 32
MASK = mx.arange(T)[None] < mx.array([9, 5])[:, None]


def normal(seed: int, *shape: int) -> mx.array:
    return mx.random.normal(shape, key=mx.random.key(seed))


def block(taps: int = 5) -> DepthwiseConv1d:
    made = DepthwiseConv1d(D, taps, 1)
    made.weight = normal(9, D, taps, 1)
    return made


def agree(rows: Rows, array: mx.array) -> None:
    """Check what belongs to the recordings; what stands in the padding means nothing."""
    kept = np.array(MASK)
    np.testing.assert_allclose(np.array(ops.leave(rows))[kept], np.array(array)[kept], atol=2e-5)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of the fused operations that were asked for, in order."""
    asked: list[str] = []
    def noted(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def note(*given: Any) -> Any:
            asked.append(name)
            return run(*given)

        return note

    for name in ("sum_and_norm", "relu_and_norm"):
        monkeypatch.setattr(gpu_rows, name, noted(name, getattr(gpu_rows, name)))
    return asked


def test_a_sum_waits_for_its_norm_and_is_kept(kernels: list[str]):
    """Residual, product and memory in one operation, of which the next sum takes the total."""
    x, y, norm, memory = normal(0, B, T, D), normal(1, B, T, D), LayerNorm(D, 1e-5), block()
    a, b = rows_of(x, MASK), rows_of(y, MASK)
    total = a + (b + ops.memory(a, memory, None))
    normed = ops.norm(total, norm)
    assert kernels == ["sum_and_norm"]
    expected = x + y + ops.memory(x, memory, MASK)
    agree(normed, ops.norm(expected, norm))
    agree(total, expected)
    agree(ops.norm(total, norm), ops.norm(expected, norm))
    assert kernels == ["sum_and_norm"]  # the sum is an array by now


def test_a_relu_waits_for_its_norm(kernels: list[str]):
    x, norm = normal(0, B, T, D), LayerNorm(D, 1e-5)
    rectified = ops.relu(rows_of(x, MASK))
    agree(ops.norm(rectified, norm), ops.norm(ops.relu(x), norm))
    agree(rectified, ops.relu(x))
    agree(rectified + rows_of(x, MASK), ops.relu(x) + x)
    assert kernels == ["relu_and_norm"]


def test_sums_of_more_than_a_kernel_takes_are_right(kernels: list[str]):
    parts, norm, memory = [normal(seed, B, T, D) for seed in range(4)], LayerNorm(D, 1e-5), block()
    rows = [rows_of(part, MASK) for part in parts]
    agree(rows[0] + rows[1] + (rows[2] + rows[3]), sum(parts[1:], parts[0]))
    twice = ops.memory(rows[0], memory, None) + ops.memory(rows[1], memory, None)
    agree(ops.norm(twice, norm), ops.norm(ops.memory(parts[0] + parts[1], memory, MASK), norm))
    alone = ops.norm(ops.memory(rows[0], memory, None), norm)  # nothing is added: MLX's operations
    agree(alone, ops.norm(ops.memory(parts[0], memory, MASK), norm))
    assert kernels == ["sum_and_norm"]


@pytest.mark.parametrize("heads", [1, 4])
def test_columns_are_attended_to_and_remembered(heads: int):
    """A memory reads its columns where they lie, and heads are split of all parts in one go."""
    x, memory = normal(0, B, T, 3 * D), block()
    q, k, v = ops.split(rows_of(x, MASK), 3)
    parts = mx.split(x, 3, axis=-1)
    agree(ops.attend(q, k, v, heads, None), ops.attend(*parts, heads, MASK))
    agree(ops.memory(v, memory, None) + q, ops.memory(parts[2], memory, MASK) + parts[0])
    agree(v, parts[2])


@pytest.mark.parametrize("quantised", [False, True])
def test_products(quantised: bool):
    x, linear = normal(0, B, T, D), Linear(D, 2 * D)
    module = linear.to_quantized(32, 8) if quantised else linear
    agree(ops.linear(rows_of(x, MASK), module, relu=True), ops.linear(x, module, relu=True))


def test_a_window_of_another_class_is_called():
    """As parity's taps are, and what is put in a module's place."""

    class Louder(DepthwiseConv1d):
        def __call__(self, inputs: mx.array) -> mx.array:
            return 2 * super().__call__(inputs)

    x, memory = normal(0, B, T, D), block()
    plain = ops.memory(x, memory, MASK)
    memory.__class__ = Louder
    changed = ops.memory(x, memory, MASK)
    assert float(mx.abs(changed - plain).max()) > 0.1
    agree(ops.memory(rows_of(x, MASK), memory, None), changed)


@pytest.mark.parametrize(("many", "traced", "starts"), [(1, False, [1, 4]), (1, True, []), (B * T + 1, False, [])])
def test_a_card_begins_after_some_layers(many: int, traced: bool, starts: list[int], monkeypatch: pytest.MonkeyPatch):
    """Of many rows, and not while a graph is made to be compiled; a sum is not taken for it."""
    begun: list[tuple[int, int]] = []
    layers: list[int] = []
    monkeypatch.setattr(gpu_rows, "MANY_ROWS", many)
    monkeypatch.setattr(gpu_rows.mx, "async_eval", lambda *arrays: begun.append((len(layers), len(arrays))))

    def layer(x: Rows) -> Rows:
        layers.append(1)
        return x + x

    with stacks.traced() if traced else contextlib.nullcontext():
        ops.through([layer] * 6, rows_of(normal(0, B, T, D), MASK))
    assert begun == [(number, 2) for number in starts]
