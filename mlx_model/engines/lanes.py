"""Rows side by side on the cores of a CPU, computed by MLX: `ops` for blocks of a sequence.

MLX's CPU back end computes everything but matrix products on one thread per stream. So a sequence is cut into blocks of
rows, one per lane; a lane is a stream, and its matrix products run on one thread. Almost all of a layer works row by
row. What needs other rows, keys, values and the FSMN's neighbours, is joined in between: once per encoder layer, twice
per decoder layer. Every row's arithmetic is that of the plain modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from typing import Any

from jaxtyping import Float

from mlx_model import ops, ops_stream
from mlx_model.engines.stacks import is_written
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.device import cores, few_cores, share_products, streams
from mlx_model.ops import Mask, attend_blocks, convolve, masked, split_heads
from mlx_model.parts.basic import DepthwiseConv1d

Blocks = Sequence[mx.array]
LEAST_ROWS = 32  # in a block: each lane packs all weights for itself, which thin blocks do not repay
NAME = "lanes"

_forced: list[int] = []


@contextmanager
def exactly(count: int) -> Iterator[None]:
    """Compute in so many lanes inside the block, however short a sequence is; in 1: by the plain modules."""
    _forced.append(count)
    try:
        with ops.only(NAME if count > 1 else ops.PLAIN):
            yield
    finally:
        _forced.pop()


def lanes_for(x: mx.array) -> int:
    """Return how many lanes x (B, T, ...) is to be computed in; 1 where they would not pay.

    Not on GPUs, on macOS, on one core or on many, nor for short sequences.
    """
    rows = x.shape[1]
    if _forced:
        return max(1, min(_forced[-1], rows))
    return max(1, min(cores(), x.shape[0] * rows // LEAST_ROWS, rows)) if few_cores() else 1


def each(function: Callable[..., Any], *blocks: Sequence[Any]) -> list[Any]:
    """Return function(block, ...) of every lane's blocks, each computed on its lane's stream."""
    results = []
    for stream, *given in zip(streams(len(blocks[0])), *blocks, strict=True):
        with mx.stream(stream):
            results.append(function(*given))
    return results


def cut(x: mx.array, count: int) -> list[mx.array]:
    """Return (B, T, D) as blocks of rows, (B, t, D) each."""
    rows = x.shape[1]
    return list(mx.split(x, [rows * lane // count for lane in range(1, count)], axis=1))


def joined(blocks: Blocks) -> mx.array:
    """Return the blocks put together again."""
    return mx.concatenate(list(blocks), axis=1)


def reach(blocks: Blocks, start: int, stop: int) -> mx.array:
    """Return rows start to stop - 1 of the sequence the blocks make up; rows before and after it are zero."""
    B, _, D = blocks[0].shape
    size, first = sum(block.shape[1] for block in blocks), 0
    before, after = min(stop, 0) - min(start, 0), max(stop, size) - max(start, size)
    parts = [mx.zeros((B, before, D), dtype=blocks[0].dtype)]
    for block in blocks:
        parts.append(block[:, max(start - first, 0) : max(stop - first, 0)])
        first += block.shape[1]
    parts.append(mx.zeros((B, after, D), dtype=blocks[0].dtype))
    return joined([part for part in parts if part.shape[1]])


class Rows(ops.Rows):
    """Blocks (B, t, D) of a sequence and their masks, one of each a lane."""

    __slots__ = ("blocks", "masks")

    def __init__(self, blocks: Blocks, masks: Sequence[Mask]):
        self.blocks, self.masks = blocks, masks

    def _each(self, function: Callable[[mx.array], mx.array]) -> Rows:
        return Rows(each(function, self.blocks), self.masks)

    def linear(self, module: Any) -> Rows:
        """Return x W^T + bias."""
        return self._each(lambda x: ops.linear(x, module))

    def norm(self, module: Any) -> Rows:
        """Return LayerNorm over the last axis."""
        return self._each(lambda x: ops.norm(x, module))

    def relu(self) -> Rows:
        """Return max(x, 0)."""
        return self._each(ops.relu)

    def split(self, parts: int) -> Sequence[Rows]:
        """Return equal parts of the columns."""
        found = each(lambda x: ops.split(x, parts), self.blocks)
        return [Rows(blocks, self.masks) for blocks in zip(*found, strict=True)]

    def attend(self, k: Rows, v: Rows, heads: int) -> Rows:
        """Return softmax(x k^T / sqrt(D/H)) v: every lane's rows with the keys of all lanes."""
        keys, values = (each(lambda x: mx.contiguous(split_heads(x, heads)), part.blocks) for part in (k, v))
        return self._each(lambda x: attend_blocks(split_heads(x, heads), keys, values, k.masks))

    def memory(self, block: Any) -> Rows:
        """Return the FSMN's memory: of a lane's own masked block and its neighbours' edges."""
        if type(block) is not DepthwiseConv1d or not block.keeps_length:
            return self.like(ops.memory(self.leave(), block, self._mask()))
        blocks = each(masked, self.blocks, self.masks)
        starts = [sum(b.shape[1] for b in blocks[:lane]) for lane in range(len(blocks))]

        def remember(x: mx.array, mask: Mask, start: int) -> mx.array:
            around = reach(blocks, start - block.left, start + x.shape[1] + block.right)  # (B, t + K - 1, D)
            return masked(convolve(around, block) + x, mask)

        return Rows(each(remember, blocks, self.masks, starts), self.masks)

    def recall(self, taps: Any, past: mx.array | None) -> tuple[Rows, mx.array]:
        """Return the convolution with taps into the past, each lane's with what stands before its rows; new past."""
        reach = taps.reach
        whole = joined([ops_stream.before(self.blocks[0], reach, past), *self.blocks])  # (B, reach + T, D)
        ends = list(accumulate(block.shape[1] for block in self.blocks))
        around = [whole[:, start : end + reach] for start, end in pairwise([0, *ends])]
        return Rows(each(taps.convolve, around), self.masks), whole[:, whole.shape[1] - reach :]

    def behind(self, past: Float[mx.array, "B P _"]) -> Rows:
        """Return longer recordings: the first lane has the past."""
        first = self.masks[0] if self.masks else None
        mask = None if first is None else joined([mx.ones(past.shape[:2], mx.bool_), first])
        return Rows([joined([past, self.blocks[0]]), *self.blocks[1:]], [mask, *self.masks[1:]])

    def softmax(self) -> Rows:
        """Return the probabilities over the last axis."""
        return self._each(ops.softmax)

    def __add__(self, other: Rows) -> Rows:
        return Rows(each(mx.add, self.blocks, other.blocks), self.masks)

    def beside(self, x: Float[mx.array, "B T _"], mask: Mask) -> Rows:
        """Return rows of other inputs of the same stack, in as many lanes as they are long enough for."""
        return rows_of(x, mask, lanes_for(x))

    def like(self, x: Float[mx.array, "B T _"]) -> Rows:
        """Return rows of the same recordings that hold x."""
        return Rows(cut(x, len(self.blocks)), self.masks)

    def leave(self) -> Float[mx.array, "B T _"]:
        """Return (B, T, D)."""
        return joined(self.blocks)

    def start(self) -> None:
        """Let the CPU begin."""
        mx.async_eval(*self.blocks)

    def _mask(self) -> Mask:
        masks = [mask for mask in self.masks if mask is not None]
        return joined(masks) if masks else None


def rows_of(x: Float[mx.array, "B T _"], mask: Mask, count: int) -> Rows:
    """Return x and its mask in so many blocks."""
    blocks = cut(x, count)
    masks = [None for _ in blocks] if mask is None else [part[..., 0] for part in cut(mask[:, :, None], count)]
    return Rows(blocks, masks)


class Lanes:
    """The lanes, as `ops.Engine`."""

    name = NAME

    def enter(self, x: Float[mx.array, "B T _"], mask: Mask, stack: nn.Module) -> Rows | None:
        """Return x in blocks; None where one would be all there is, or a module of the stack is not known."""
        count = lanes_for(x)
        if count < 2 or not is_written(stack):
            return None
        share_products(alone=True)
        return rows_of(x, mask, count)

    def recur(self, gates: mx.array, module: Any, names: Sequence[str]) -> None:
        """Return None: MLX computes recurrences."""

    def in_words(self, stack: nn.Module) -> str:
        """Return in how many lanes long batches are computed; "" where none are."""
        return f"MLX, long batches in {cores()} lanes" if few_cores() and is_written(stack) else ""
