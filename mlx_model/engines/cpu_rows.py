"""Rows on a CPU's own kernels: `ops` by the operations of `cpu_engine.py`. Knows kinds of modules, and no layer.

Rows hold no padding: (M, D), all recordings' frames one after the other. Two operations wait for the next one: a
product, which a ReLU behind it or a sum then takes in; and a memory, which is only ever part of a sum. So what is added
to a layer's residual is added in its place, after it was copied where anybody else may still look at it.

An engine computes a stack where it has an operation for every leaf. Where one does not fit what it is called with
(heads that are no whole vectors, a window that was cropped), MLX computes that operation alone, on padded arrays.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from mlx_model import ops, ops_stream
from mlx_model.engines import cpu_bodies, cpu_engine, cpu_int8, cpu_lstm
from mlx_model.engines.cpu_engine import (
    KINDS,
    OPERATIONS,
    Starts,
    in_float32,
    kernels,
    operation,
    padded,
    rows_of,
    starts_of,
)
from mlx_model.engines.stacks import with_leaves
from mlx_model.machine import device
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.device import cores
from mlx_model.machine.kept import kind_of, kinds_of
from mlx_model.ops import Mask
from mlx_model.parts.basic import DepthwiseConv1d

ALONE = 3  # references of an array that only its rows hold: theirs, and two of who asks; fewer in later Pythons
Operations = Mapping[int, Any]  # of a stack's leaves, by their id; made sure of when it was entered


@dataclass(frozen=True, slots=True, kw_only=True)
class Recordings:
    """Where each recording's rows begin (B + 1,), what they are as one array, and the stack's operations."""

    starts: Starts
    steps: int
    dtype: mx.Dtype
    operations: Operations

    def operation(self, module: Any) -> Any:
        """Return what computes a leaf here; None where nothing does."""
        return self.operations.get(id(module)) or operation(module)

    @property
    def mask(self) -> Mask:
        """Return where the padded array is no padding; None where it has none."""
        lengths = np.diff(self.starts)
        return None if (lengths == self.steps).all() else mx.arange(self.steps)[None] < mx.array(lengths)[:, None]


@dataclass(slots=True)
class _Product:
    """A product that waits: relu?(x W^T + bias)."""

    operation: Any
    x: np.ndarray
    relu: bool = False

    @property
    def width(self) -> int:
        return self.operation.outputs

    def to(self, y: np.ndarray | None) -> np.ndarray:
        """Return the result, added to y where there is one, in its place."""
        if y is None or self.relu or self.operation.padding:
            made = self.operation(self.x, relu=self.relu)[:, : self.width]
            return made if y is None else y + made
        self.operation.add(self.x, y)
        return y


@dataclass(slots=True)
class _Memory:
    """An FSMN's memory that waits for its sum."""

    operation: Any
    v: np.ndarray
    starts: Starts
    left: int

    @property
    def width(self) -> int:
        return self.operation.size

    def to(self, y: np.ndarray | None) -> np.ndarray:
        """Return the result, added to y where there is one, in its place."""
        y = np.zeros(self.v.shape, np.float32) if y is None else np.ascontiguousarray(y)
        self.operation.add(self.v, self.starts, y, self.left)
        return y


@dataclass(slots=True)
class _Recalled:
    """Taps of a stream that wait for their sum; see `cpu_engine.Memory.recall`."""

    operation: Any
    v: np.ndarray
    starts: Starts
    apart: int
    past: np.ndarray | None

    @property
    def width(self) -> int:
        return self.operation.size

    def to(self, y: np.ndarray | None) -> np.ndarray:
        """Return the result, added to y where there is one, in its place."""
        y = np.zeros(self.v.shape, np.float32) if y is None else np.ascontiguousarray(y)
        self.operation.recall(self.v, self.starts, y, self.apart, self.past)
        return y


Waiting = _Product | _Memory | _Recalled


class Rows(ops.Rows):
    """(M, D) float32; or what it is the sum of, until somebody asks for it.

    An array is written to again only where nothing but these rows knows it: a sum is then made in its place.
    """

    __slots__ = ("_array", "_waiting", "of")

    def __init__(self, of: Recordings, array: np.ndarray | None, waiting: tuple[Waiting, ...] = ()):
        self.of, self._array, self._waiting = of, array, waiting

    @property
    def array(self) -> Float[np.ndarray, "M D"]:
        """Return the rows' values."""
        if self._waiting:
            y = self._array
            if y is not None and not (sys.getrefcount(y) <= ALONE and y.base is None):
                y = y.copy()
            for term in self._waiting:
                y = term.to(y)
            self._array, self._waiting = y, ()
        assert self._array is not None
        return self._array

    @property
    def width(self) -> int:
        """Return D, without computing anything."""
        return self._waiting[0].width if self._waiting else self.array.shape[1]

    def linear(self, module: Any) -> Rows:
        """Return x W^T + bias, which waits."""
        product = self.of.operation(module)
        if product is None or product.inputs != self.width:
            return self._by_mlx(lambda x: ops.linear(x, module))
        return Rows(self.of, None, (_Product(product, self.array),))

    def norm(self, module: Any) -> Rows:
        """Return LayerNorm over D."""
        found, eps = self.of.operation(module), module.eps
        if found is None or found.size != self.width or not isinstance(eps, (int, float)):
            return self._by_mlx(lambda x: ops.norm(x, module))
        return Rows(self.of, found(self.array, eps))

    def relu(self) -> Rows:
        """Return max(x, 0); where a product waits it takes that over."""
        if self._array is None and len(self._waiting) == 1 and isinstance(self._waiting[0], _Product):
            product = self._waiting[0]
            return Rows(self.of, None, (_Product(product.operation, product.x, relu=True),))
        return Rows(self.of, np.maximum(self.array, 0))

    def split(self, parts: int) -> Sequence[Rows]:
        """Return equal parts of the columns: views."""
        array, each = self.array, self.width // parts
        return [Rows(self.of, array[:, at : at + each]) for at in range(0, parts * each, each)]

    def attend(self, k: Rows, v: Rows, heads: int) -> Rows:
        """Return softmax(x k^T / sqrt(D/H)) v; keys of one recording are those of all."""
        whole = isinstance(heads, int) and heads > 0 and self.width % (heads * kernels().engine_lanes()) == 0
        if not whole or not self.width == k.width == v.width:
            return self.like(ops.attend(self.leave(), k.leave(), v.leave(), heads, k.of.mask))
        keys, values = k.array, v.array
        if keys.strides != values.strides:
            keys, values = np.ascontiguousarray(keys), np.ascontiguousarray(values)
        starts = self.of.starts if len(self.of.starts) == len(k.of.starts) else self.of.starts[[0, -1]]
        return Rows(self.of, cpu_engine.attend(self.array, keys, values, starts, k.of.starts, heads))

    def memory(self, block: Any) -> Rows:
        """Return the FSMN's memory, which waits."""
        found = self.of.operation(block)
        known = found is not None and found.size == self.width and block.keeps_length
        if not known or type(block) is not DepthwiseConv1d:  # somebody watches it, or put something in its place
            return self.like(ops.memory(self.leave(), block, self.of.mask))
        return Rows(self.of, None, (_Memory(found, self.array, self.of.starts, block.left),))

    def recall(self, taps: Any, past: mx.array | None) -> tuple[Rows, mx.array]:
        """Return the convolution with taps that reach into the past, which waits, and the past of what comes next."""
        found, reach = self.of.operation(taps), taps.reach
        known = found is not None and found.size == self.width and reach == (found.count - 1) * taps.stride
        if not known or not (past is None or past.shape[1] == reach):
            y, past = ops_stream.recall(self.leave(), taps, past)
            return self.like(y), past
        before = None if past is None else in_float32(past)
        after = _last(self.array, self.of.starts, reach, before)
        waiting = _Recalled(found, self.array, self.of.starts, taps.stride, before)
        return Rows(self.of, None, (waiting,)), mx.array(after).astype(self.of.dtype)

    def behind(self, past: Float[mx.array, "B P D"]) -> Rows:
        """Return longer recordings: these behind frames of their past."""
        count, starts = past.shape[1], self.of.starts
        of = dataclasses.replace(
            self.of, starts=(starts + count * np.arange(len(starts))).astype(np.int32), steps=self.of.steps + count
        )
        pieces = zip(in_float32(past), np.split(self.array, starts[1:-1]), strict=True)
        return Rows(of, np.concatenate([part for pair in pieces for part in pair]))

    def softmax(self) -> Rows:
        """Return the probabilities over D."""
        return Rows(self.of, cpu_engine.softmax(self.array))

    def __add__(self, other: Rows) -> Rows:
        if (self._array is not None and other._array is not None) or self.width != other.width:
            return Rows(self.of, self.array + other.array)
        first = other._array if self._array is None else self._array
        waiting = (*self._waiting, *other._waiting)
        # Products first: where there is no array yet, one makes it, and needs no zeros to begin with.
        return Rows(self.of, first, tuple(sorted(waiting, key=lambda term: not isinstance(term, _Product))))

    def beside(self, x: Float[mx.array, "B T _"], mask: Mask) -> Rows:
        """Return rows of other inputs of the same stack."""
        starts = starts_of(x, mask)
        of = Recordings(starts=starts, steps=x.shape[1], dtype=x.dtype, operations=self.of.operations)
        return Rows(of, rows_of(x, starts))

    def like(self, x: Float[mx.array, "B T _"]) -> Rows:
        """Return rows of the same recordings that hold x."""
        if x.shape[:2] != (len(self.of.starts) - 1, self.of.steps):
            raise ValueError(f"rows of {len(self.of.starts) - 1} x {self.of.steps} steps are given {x.shape}")
        return Rows(self.of, rows_of(x, self.of.starts))

    def leave(self) -> Float[mx.array, "B T _"]:
        """Return (B, T, D) in the precision of what entered, zero in the padding."""
        return padded(self.array, self.of.starts, self.of.steps, self.of.dtype)

    def _by_mlx(self, function: Callable[[mx.array], mx.array]) -> Rows:
        """Return what MLX makes of rows that need nothing of each other."""
        return Rows(self.of, np.array(function(mx.array(self.array)[None]).astype(mx.float32))[0])


def _last(
    v: Float[np.ndarray, "M D"], starts: Starts, count: int, past: Float[np.ndarray, "B P D"] | None
) -> Float[np.ndarray, "B P D"]:
    """Return so many last frames of each recording; where it has fewer, behind those of its past, or zeros."""
    last = np.zeros((len(starts) - 1, count, v.shape[1]), np.float32)
    for number, (start, end) in enumerate(pairwise(starts.tolist())):
        own = min(end - start, count)
        if past is not None and own < count:
            last[number, : count - own] = past[number, own:]
        last[number, count - own :] = v[end - own : end]
    return last


class Kernels:
    """The CPU engine, as `ops.Engine`."""

    name = "CPU engine"

    def enter(self, x: Float[mx.array, "B T _"], mask: Mask, stack: nn.Module) -> Rows | None:
        """Return x as rows; None where some leaf of the stack has no operation here."""
        operations = operations_of(stack) if x.dtype in KINDS and x.ndim == 3 else None
        if operations is None:
            return None
        of = Recordings(starts=starts_of(x, mask), steps=x.shape[1], dtype=x.dtype, operations=operations)
        return Rows(of, rows_of(x, of.starts))

    def recur(self, gates: mx.array, module: Any, names: Sequence[str]) -> mx.array | None:
        """Return an LSTM's states; None where MLX is to compute them."""
        return cpu_lstm.recur(gates, module, names)

    def in_words(self, stack: nn.Module) -> str:
        """Return the engine's name and what it computes with; "" where it does not take this stack."""
        operations = operations_of(stack)
        if operations is None:
            return ""
        rounded = any(isinstance(made, cpu_int8.Int8Product) for made in operations.values())
        words = f"{cpu_bodies.in_words()}, int8 by {cpu_int8.in_words()}" if rounded else cpu_bodies.in_words()
        return f"CPU engine ({words}, {cores()} threads)"


def operations_of(stack: nn.Module) -> Operations | None:
    """Return what computes each leaf of a stack, by its id; None where not every one can be, here and now."""
    if device.on_gpu() or not cpu_engine.available():
        return None
    found: dict[int, Any] = {}
    modules = with_leaves(stack)
    for (module, is_leaf), kind in zip(modules, kinds_of(module for module, _ in modules), strict=True):
        if not kind:
            return None
        if is_leaf:
            made = operation(module, kind)
            if made is None:
                return None
            found[id(module)] = made
    return found


def products_of(stack: nn.Module) -> list[nn.Module]:
    """Return the linear layers of a stack that can be computed, without a look at their weights; [] where it cannot."""
    if device.on_gpu() or not cpu_engine.available():
        return []
    found = [(module, is_leaf, kind_of(module)) for module, is_leaf in with_leaves(stack)]
    leaves = [(module, OPERATIONS.get(kind)) for module, is_leaf, kind in found if is_leaf]
    if not all(kind for *_, kind in found) or not all(make is not None and make.can(leaf) for leaf, make in leaves):
        return []
    return [module for module, make in leaves if cpu_engine.is_product(make)]
