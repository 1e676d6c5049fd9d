"""Rows on a GPU: `ops` in few operations. Knows kinds of modules, and no layer.

An operation costs the host 3 to 25 us, which is all the time there is for one short recording. So rows are (B*T, D),
heads are split without copies, and sums wait for the norm behind them: what stands between products is one operation
where it can be (`gpu_kernels.py`). Attention takes its mask as something to add, 0 or -inf: a third of the time of a
bool one. What stands in padded positions is never looked at: attention leaves their keys out, the FSMN sees zeros.

Nothing in this file is particular to CUDA or Metal.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jaxtyping import Bool, Float

from mlx_model import ops, ops_stream
from mlx_model.engines.gpu_kernels import (
    MANY_ROWS,
    Memory,
    Padding,
    padding_of,
    relu_and_norm,
    remembered,
    sum_and_norm,
)
from mlx_model.engines.stacks import is_traced, is_written
from mlx_model.machine import device
from mlx_model.machine.blas import mx, nn
from mlx_model.ops import Mask
from mlx_model.parts.basic import DepthwiseConv1d

Keep = Bool[mx.array, "B T"]  # False in the padding
STARTS = frozenset((1, 4, 12, 28))  # layers of a stack after which the card is given what there is
MOST_TERMS = 2  # of a sum that waits, beside a memory: what a kernel takes
Bias = Float[mx.array, "B 1 1 T"]  # what attention adds to the scores: 0, or -inf for keys in the padding


class Recordings(NamedTuple):
    """How long the recordings of a batch are, what attention adds for it, (B, T), and how many layers have begun."""

    padding: Padding
    bias: Bias
    shape: tuple[int, int]
    layers: Iterator[int]


def score_bias(keep: Keep, dtype: mx.Dtype) -> Bias:
    """Return the mask as attention adds it to its scores."""
    return mx.where(keep, 0.0, -float("inf")).astype(dtype)[:, None, None, :]


def attend(q: mx.array, k: mx.array, v: mx.array, bias: Bias) -> mx.array:
    """Return softmax(q k^T / sqrt(D/H) + bias) v of (B, ., H, D/H) each, heads joined: (B*U, D)."""
    q, k, v = (part.transpose(0, 2, 1, 3) for part in (q, k, v))
    context = mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=bias)
    B, H, U, width = context.shape
    return context.transpose(0, 2, 1, 3).reshape(B * U, H * width)


class Columns:
    """Rows (B*T, parts * D) that are split into equal parts; heads of all parts are split in one go."""

    __slots__ = ("_apart", "parts", "source", "width")

    def __init__(self, source: mx.array, parts: int):
        self.source, self.parts, self.width = source, parts, source.shape[1] // parts
        self._apart: tuple[int, list[mx.array]] | None = None

    def heads(self, batch: int, heads: int) -> list[mx.array]:
        """Return every part with its heads apart, (B, T, H, D/H) each."""
        if self._apart is None or self._apart[0] != heads:
            whole = self.source.reshape(batch, -1, self.parts * heads, self.width // heads)
            self._apart = heads, list(mx.split(whole, self.parts, axis=2))
        return self._apart[1]


class Column(NamedTuple):
    """One part of columns."""

    columns: Columns
    number: int

    def array(self) -> mx.array:
        """Return its values, (B*T, D)."""
        first = self.number * self.columns.width
        return self.columns.source[:, first : first + self.columns.width]


class Relu(NamedTuple):
    """max(x, 0), which waits for a norm."""

    x: mx.array

    def array(self) -> mx.array:
        """Return its values: by MLX's compiled function, whose kernel is faster than that of a maximum."""
        return nn.relu(self.x)


class Sum(NamedTuple):
    """A sum of arrays and a memory, or a memory alone, which waits for a norm."""

    terms: tuple[mx.array, ...]
    memory: Memory | None

    def array(self) -> mx.array:
        """Return its values."""
        more = () if self.memory is None else (remembered(self.memory),)
        return functools.reduce(mx.add, (*self.terms, *more))


class Rows(ops.Rows):
    """(B*T, D): an array, or what is to become one."""

    __slots__ = ("_array", "_waits", "of")

    def __init__(self, of: Recordings, array: mx.array | None, waits: Column | Relu | Sum | None = None):
        self.of, self._array, self._waits = of, array, waits

    @property
    def array(self) -> Float[mx.array, "BT D"]:
        """Return the rows' values."""
        if self._array is None:
            assert self._waits is not None
            self._array = self._waits.array()
        return self._array

    def linear(self, module: Any) -> Rows:
        """Return x W^T + bias."""
        if "scales" in module:
            return Rows(self.of, ops.linear(self.array, module))
        return Rows(self.of, nn.Linear.__call__(module, self.array))

    def norm(self, module: Any) -> Rows:
        """Return LayerNorm over D; a ReLU or a sum that waits is taken in, and the sum is kept."""
        waits = self._waits
        if self._array is None and type(waits) is Sum and waits.terms:
            self._array, normed = sum_and_norm(module, *waits)
            return Rows(self.of, normed)
        if self._array is None and type(waits) is Relu:
            return Rows(self.of, relu_and_norm(module, waits.x))
        return Rows(self.of, ops.norm(self.array, module))

    def relu(self) -> Rows:
        """Return max(x, 0), which waits."""
        return Rows(self.of, None, Relu(self.array))

    def split(self, parts: int) -> Sequence[Rows]:
        """Return equal parts of the columns."""
        columns = Columns(self.array, parts)
        return [Rows(self.of, None, Column(columns, number)) for number in range(parts)]

    def attend(self, k: Rows, v: Rows, heads: int) -> Rows:
        """Return softmax(x k^T / sqrt(D/H)) v."""
        return Rows(self.of, attend(self.by_heads(heads), k.by_heads(heads), v.by_heads(heads), k.of.bias))

    def by_heads(self, heads: int) -> Float[mx.array, "B T H Dh"]:
        """Return the rows with their heads apart."""
        batch, steps = self.of.shape
        if type(self._waits) is Column:
            columns, number = self._waits
            return columns.heads(batch, heads)[number]
        return self.array.reshape(batch, steps, heads, -1)

    def memory(self, block: Any) -> Rows:
        """Return the FSMN's memory, which waits for its sum."""
        if type(block) is not DepthwiseConv1d:  # somebody watches it, or put something in its place
            return self.like(ops.memory(self.leave(), block, self.of.padding.keep))
        if type(self._waits) is Column:
            columns, number = self._waits
            found = Memory(block, columns.source, number * columns.width, self.of.padding)
        else:
            found = Memory(block, self.array, 0, self.of.padding)
        return Rows(self.of, None, Sum((), found))

    def recall(self, taps: Any, past: mx.array | None) -> tuple[Rows, mx.array]:
        """Return the convolution with taps into the past, and the past of what comes next."""
        y, past = ops_stream.recall(self.leave(), taps, past)
        return self.like(y), past

    def behind(self, past: Float[mx.array, "B P _"]) -> Rows:
        """Return longer recordings: these behind frames of their past."""
        keep = mx.concatenate([mx.ones(past.shape[:2], mx.bool_), self.of.padding.keep], axis=1)
        return rows_of(mx.concatenate([past, self.leave()], axis=1), keep)

    def softmax(self) -> Rows:
        """Return the probabilities over D."""
        return Rows(self.of, ops.softmax(self.array))

    def __add__(self, other: Rows) -> Rows:
        (terms, memory), (others, another) = self._summands(), other._summands()
        if len(terms) + len(others) > MOST_TERMS or (memory is not None and another is not None):
            return Rows(self.of, None, Sum((self.array, other.array), None))
        return Rows(self.of, None, Sum(terms + others, another if memory is None else memory))

    def _summands(self) -> tuple[tuple[mx.array, ...], Memory | None]:
        waits = self._waits
        if self._array is None and type(waits) is Sum:
            return waits
        return (self.array,), None

    def beside(self, x: Float[mx.array, "B T _"], mask: Mask) -> Rows:
        """Return rows of other inputs of the same stack."""
        return rows_of(x, mask)

    def like(self, x: Float[mx.array, "B T _"]) -> Rows:
        """Return rows of the same recordings that hold x."""
        return Rows(self.of, x.reshape(-1, x.shape[-1]))

    def start(self) -> None:
        """Give the card what there is, after some layers: it begins while the host builds the graph of the next.

        Not few rows: the host has more to do than the card then, and every start costs it some more.
        """
        terms = self._summands()[0]
        if next(self.of.layers) in STARTS and len(terms[0]) >= MANY_ROWS and not is_traced():
            mx.async_eval(*terms)

    def leave(self) -> Float[mx.array, "B T _"]:
        """Return (B, T, D); anything may stand in the padding."""
        array = self.array
        return array.reshape(*self.of.shape, array.shape[-1])


def rows_of(x: Float[mx.array, "B T _"], mask: Mask) -> Rows:
    """Return x below one another, with how long its recordings are."""
    B, T, width = x.shape
    keep = mx.ones((B, T), mx.bool_) if mask is None else mask
    padding = padding_of(keep)
    return Rows(Recordings(padding, score_bias(keep, x.dtype), (B, T), itertools.count(1)), x.reshape(B * T, width))


class Fused:
    """The GPU's rows, as `ops.Engine`."""

    name = "GPU path"

    def enter(self, x: Float[mx.array, "B T _"], mask: Mask, stack: nn.Module) -> Rows | None:
        """Return x as rows; None where a module of the stack is not known."""
        return rows_of(x, mask) if device.on_gpu() and is_written(stack) else None

    def recur(self, gates: mx.array, module: Any, names: Sequence[str]) -> None:
        """Return None: MLX computes recurrences."""

    def in_words(self, stack: nn.Module) -> str:
        """Return the engine's name; "" where it does not take this stack."""
        return self.name if device.on_gpu() and is_written(stack) else ""
