"""Rows on a GPU: `ops` in few operations. Knows kinds of modules, and no layer.

An operation costs the host 3 to 25 us, which is all the time there is for one short recording. So rows are (B*T, D),
heads are split without copies, and sums wait for the norm behind them: what stands between products is one operation
where it can be (`gpu_kernels.py`). Attention takes its mask as something to add, 0 or -inf: a third of the time of a
bool one. What stands in padded positions is never looked at: attention leaves their keys out, the FSMN sees zeros.

Nothing in this file is particular to CUDA or Metal.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxtyping import Bool, Float

from mlx_model import ops
from mlx_model.engines.gpu_kernels import Memory, Padding, padding_of, relu_and_norm, remembered, sum_and_norm
from mlx_model.engines.stacks import is_written
from mlx_model.machine import device
from mlx_model.machine.blas import mx, nn
from mlx_model.ops import Mask

Keep = Bool[mx.array, "B T"]  # False in the padding
Bias = Float[mx.array, "B 1 1 T"]  # what attention adds to the scores: 0, or -inf for keys in the padding


class Recordings(NamedTuple):
    """How long the recordings of a batch are, and what attention adds for it."""

    padding: Padding
    bias: Bias

    @property
    def shape(self) -> tuple[int, int]:
        """Return (B, T)."""
        batch, steps = self.padding.keep.shape
        return batch, steps


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
    """Rows (B*T, parts * D) that were split into equal parts; heads of all parts are split in one go."""

    def __init__(self, source: mx.array, parts: int):
        self.source, self.parts = source, parts
        self.width = source.shape[1] // parts
        self.heads = functools.cache(self._heads)

    def part(self, number: int) -> mx.array:
        """Return one part, (B*T, D)."""
        return self.source[:, number * self.width : (number + 1) * self.width]

    def _heads(self, batch: int, heads: int) -> Sequence[mx.array]:
        """Return every part with its heads apart, (B, T, H, D/H) each."""
        whole = self.source.reshape(batch, -1, self.parts * heads, self.width // heads)
        return list(mx.split(whole, self.parts, axis=2))


class Rows(ops.Rows):
    """(B*T, D): an array; or a part of columns, a ReLU or a sum that wait."""

    __slots__ = ("_column", "_memory", "_relu", "_terms", "of")

    def __init__(
        self,
        of: Recordings,
        *terms: mx.array,
        memory: Memory | None = None,
        relu: bool = False,
        column: tuple[Columns, int] | None = None,
    ):
        self.of, self._memory, self._relu, self._column = of, memory, relu, column
        self._terms: Sequence[mx.array] = terms

    @property
    def array(self) -> Float[mx.array, "BT D"]:
        """Return the rows' values."""
        if self._column is not None:
            return self._column[0].part(self._column[1])
        if self._relu:
            self._is(mx.maximum(self._terms[0], 0))
        elif len(self._terms) > 1 or self._memory is not None:
            more = [] if self._memory is None else [remembered(self._memory)]
            self._is(functools.reduce(mx.add, [*self._terms, *more]))
        return self._terms[0]

    def _is(self, array: mx.array) -> None:
        self._terms, self._memory, self._relu = (array,), None, False

    def linear(self, module: Any) -> Rows:
        """Return x W^T + bias."""
        return Rows(self.of, ops.linear(self.array, module))

    def norm(self, module: Any) -> Rows:
        """Return LayerNorm over D; a ReLU or a sum that waits is taken in, and the sum is kept."""
        if self._relu:
            return Rows(self.of, relu_and_norm(module, *self._terms))
        if len(self._terms) + (self._memory is not None) > 1 and len(self._terms) < 3:
            total, normed = sum_and_norm(module, *self._terms, memory=self._memory)
            self._is(total)
            return Rows(self.of, normed)
        return Rows(self.of, ops.norm(self.array, module))

    def relu(self) -> Rows:
        """Return max(x, 0), which waits."""
        return Rows(self.of, self.array, relu=True)

    def split(self, parts: int) -> Sequence[Rows]:
        """Return equal parts of the columns."""
        columns = Columns(self.array, parts)
        return [Rows(self.of, column=(columns, number)) for number in range(parts)]

    def attend(self, k: Rows, v: Rows, heads: int) -> Rows:
        """Return softmax(x k^T / sqrt(D/H)) v."""
        q, keys, values = (part.by_heads(heads) for part in (self, k, v))
        return Rows(self.of, attend(q, keys, values, k.of.bias))

    def by_heads(self, heads: int) -> Float[mx.array, "B T H Dh"]:
        """Return the rows with their heads apart."""
        batch, steps = self.of.shape
        if self._column is not None:
            columns, number = self._column
            return columns.heads(batch, heads)[number]
        return self.array.reshape(batch, steps, heads, -1)

    def memory(self, block: Any) -> Rows:
        """Return the FSMN's memory, which waits for its sum."""
        source, first = (self._column[0].source, self._column[1] * self._column[0].width) if self._column else (None, 0)
        return Rows(self.of, memory=Memory(block, self.array if source is None else source, first, self.of.padding))

    def __add__(self, other: Rows) -> Rows:
        if self._relu or other._relu or self._column or other._column or (self._memory and other._memory):
            return Rows(self.of, self.array, other.array)
        return Rows(self.of, *self._terms, *other._terms, memory=self._memory or other._memory)

    def beside(self, x: Float[mx.array, "B T _"], mask: Mask) -> Rows:
        """Return rows of other inputs of the same stack."""
        return rows_of(x, mask)

    def like(self, x: Float[mx.array, "B T _"]) -> Rows:
        """Return rows of the same recordings that hold x."""
        return Rows(self.of, x.reshape(-1, x.shape[-1]))

    def leave(self) -> Float[mx.array, "B T _"]:
        """Return (B, T, D); anything may stand in the padding."""
        array = self.array
        return array.reshape(*self.of.shape, array.shape[-1])


def rows_of(x: Float[mx.array, "B T _"], mask: Mask) -> Rows:
    """Return x below one another, with how long its recordings are."""
    B, T, width = x.shape
    lengths = mx.full((B,), T, mx.int32) if mask is None else mask.astype(mx.int32).sum(axis=1)
    padding = padding_of(lengths, T)
    return Rows(Recordings(padding, score_bias(padding.keep, x.dtype)), x.reshape(B * T, width))


class Fused:
    """The GPU's rows, as `ops.Engine`."""

    name = "GPU path"

    def enter(self, x: Float[mx.array, "B T _"], mask: Mask, stack: nn.Module) -> Rows | None:
        """Return x as rows; None where a module of the stack is not known."""
        return rows_of(x, mask) if device.on_gpu() and is_written(stack) else None

    def in_words(self, stack: nn.Module) -> str:
        """Return the engine's name; "" where it does not take this stack."""
        return self.name if device.on_gpu() and is_written(stack) else ""
