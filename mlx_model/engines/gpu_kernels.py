"""What stands between the matrix products of a layer, in one kernel: FSMN memory, residual, LayerNorm.

On a GPU every operation costs the host some microseconds and the card a trip of all activations through its memory;
mask, convolution, three additions and LayerNorm are six of them. On CUDA, where `mx.fast.cuda_kernel` takes our own
source, they are one: a block for every frame, sums in float32, nothing rounded in between. Elsewhere (Metal, and the
tests on a CPU) MLX's operations compute the same; so do they where a kernel does not fit (`fits`).

No kernel reads an array of 8 bytes or less: MLX keeps those where the host can write them, and when all blocks read one
there, the kernel takes 20 us longer, which is five times what it takes. So eps is a constant of the source, and a
batch's lengths are spread (`padding_of`).
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Bool, Float, Int

from mlx_model import ops
from mlx_model.machine.blas import mx
from mlx_model.machine.kept import kind_of
from mlx_model.parts.basic import DepthwiseConv1d, LayerNorm

Rows = Float[mx.array, "BT _"]  # all positions of a batch, one below the other
WARP, THREADS = 32, 512  # of a block, at most
LOAD = 16  # bytes a thread loads at once: its channels, half of that or a quarter where they are no multiple
MOST_TAPS = 16  # a thread keeps those of its channels in registers
MANY_ROWS, TURNS = 2048, 2  # from here on a block takes so many, and most frames are loaded once for all of them

HEADER = """
template <typename T, int N> struct alignas(N * sizeof(T)) Few { T x[N]; };
"""

# A block takes TURNS neighbouring rows of one recording, a thread MINE neighbouring channels of them. Every frame that
# the taps of these rows reach is loaded once. `taps` is (D, K); sums are taken in float32, over a block's warps.
SOURCE = """
    constexpr int WARPS = THREADS / 32;
    using Values = Few<T, MINE>;
    const int c = threadIdx.x * MINE, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int steps = added_shape[0] / lengths_shape[0], blocks = (steps + TURNS - 1) / TURNS;
    const int recording = blockIdx.x / blocks, t0 = blockIdx.x % blocks * TURNS, turns = min(TURNS, steps - t0);
    const long first = (long)recording * steps;
    __shared__ float sums[2][TURNS][WARPS];
    float values[TURNS][MINE] = {}, parts[TURNS] = {}, means[TURNS];
    const auto load = [](const T* at) { return *reinterpret_cast<const Values*>(at); };
    const auto over_all = [&](float (&of)[TURNS][WARPS]) {
        for (int r = 0; r < TURNS; r++) {
            for (int i = 16; i; i /= 2) parts[r] += __shfl_xor_sync(0xffffffff, parts[r], i);
            if (lane == 0) of[r][warp] = parts[r];
        }
        __syncthreads();
        for (int r = 0; r < TURNS; r++) {
            parts[r] = 0;
            for (int i = 0; i < WARPS; i++) parts[r] += of[r][i];
        }
    };
    if (c < D) {
        if constexpr (MEMORY) {
            const int length = max(1, min(steps, lengths[recording * lengths_shape[1]]));
            const T* v = memory + first * STRIDE + FIRST + c;
            Values flat[K];
            for (int k = 0; k < K; k++) flat[k] = load(taps + c * K + k * MINE);
            float w[K][MINE];
            for (int k = 0; k < K; k++)
                for (int i = 0; i < MINE; i++)
                    w[k][i] = static_cast<float>(flat[(i * K + k) / MINE].x[(i * K + k) % MINE]) + (k == LEFT ? 1 : 0);
#pragma unroll
            for (int j = 0; j < TURNS + K - 1; j++) {
                const int from = t0 + j - LEFT;
                const Values x = load(v + (long)max(0, min(from, length - 1)) * STRIDE);
                const bool there = 0 <= from && from < length;
#pragma unroll
                for (int r = 0; r < TURNS; r++)
                    if (r <= j && j < r + K)
                        for (int i = 0; i < MINE; i++)
                            values[r][i] += there ? static_cast<float>(x.x[i]) * w[j - r][i] : 0;
            }
            if constexpr (LEFT >= K)  // the frame itself is not among those that the taps reach
                for (int r = 0; r < TURNS; r++) {
                    const Values x = load(v + (long)min(t0 + r, length - 1) * STRIDE);
                    for (int i = 0; i < MINE; i++) values[r][i] += t0 + r < length ? static_cast<float>(x.x[i]) : 0;
                }
        }
#pragma unroll
        for (int r = 0; r < TURNS; r++) {
            const long at = (first + t0 + min(r, turns - 1)) * D + c;
            const Values x = load(added + at);
            for (int i = 0; i < MINE; i++) {
                const float value = static_cast<float>(x.x[i]);
                values[r][i] += RELU && value < 0 ? 0 : value;
            }
            if constexpr (RESIDUAL) {
                const Values x = load(residual + at);
                for (int i = 0; i < MINE; i++) values[r][i] += static_cast<float>(x.x[i]);
            }
            if constexpr (RESIDUAL || MEMORY) {
                Values sum;
                for (int i = 0; i < MINE; i++) sum.x[i] = static_cast<T>(values[r][i]);
                if (r < turns) *reinterpret_cast<Values*>(total + at) = sum;
            }
            for (int i = 0; i < MINE; i++) parts[r] += values[r][i];
        }
    }
    over_all(sums[0]);
    for (int r = 0; r < TURNS; r++) {
        means[r] = parts[r] / D, parts[r] = 0;
        if (c < D)
            for (int i = 0; i < MINE; i++) values[r][i] -= means[r], parts[r] += values[r][i] * values[r][i];
    }
    over_all(sums[1]);
    if (c < D) {
        const Values g = load(gain + c), s = load(shift + c);
        for (int r = 0; r < TURNS; r++) {
            const float scale = rsqrtf(parts[r] / D + __int_as_float(EPS));
            Values y;
            for (int i = 0; i < MINE; i++)
                y.x[i] = static_cast<T>(values[r][i] * scale * static_cast<float>(g.x[i]) + static_cast<float>(s.x[i]));
            if (r < turns) *reinterpret_cast<Values*>(normed + (first + t0 + r) * D + c) = y;
        }
    }
"""


class Padding(NamedTuple):
    """How long every recording of a batch is, said in two ways; see `padding_of`."""

    lengths: Int[mx.array, "B 4"]  # each four times
    keep: Bool[mx.array, "B T"]  # False in the padding


class Memory(NamedTuple):
    """What an FSMN remembers: `size` columns of `source` from `first` on."""

    block: DepthwiseConv1d
    source: Rows
    first: int
    padding: Padding


def padding_of(keep: Bool[mx.array, "B T"]) -> Padding:
    """Return the padding of a batch."""
    lengths = keep.sum(axis=1, keepdims=True)  # int32
    return Padding(mx.contiguous(mx.broadcast_to(lengths, (len(keep), 4))), keep)


def sum_and_norm(norm: LayerNorm, terms: tuple[Rows, ...], memory: Memory | None = None) -> tuple[Rows, Rows]:
    """Return the sum of one or two terms and what the FSMN makes of `memory` (see `ops.memory`), and LayerNorm of it.

    What stands in the padding's rows is never looked at.
    """
    first, last = terms[0], terms[-1]
    if _fits(norm, last, memory) and (first is last or first.shape == last.shape):
        total, normed = _kernel(norm, last, first if len(terms) > 1 else None, last, memory)
        return total, normed
    total = functools.reduce(mx.add, terms if memory is None else (*terms, remembered(memory)))
    return total, ops.norm(total, norm)


def relu_and_norm(norm: LayerNorm, x: Rows) -> Rows:
    """Return LayerNorm of relu(x)."""
    if _fits(norm, x, None):
        return _kernel(norm, x, None, x, None)[0]
    return ops.norm(mx.maximum(x, 0), norm)


def remembered(memory: Memory) -> Rows:
    """Return what the FSMN makes of `memory`, by MLX."""
    (B, T), size = memory.padding.keep.shape, memory.block.weight.shape[0]
    v = memory.source[:, memory.first : memory.first + size].reshape(B, T, size)
    v = ops.masked(v, memory.padding.keep)
    return (memory.block(v) + v).reshape(B * T, size)


@functools.cache
def on_cuda() -> bool:
    """Whether MLX's GPU here is one of NVIDIA's."""
    cuda = getattr(mx, "cuda", None)
    return cuda is not None and cuda.is_available()


def _fits(norm: LayerNorm, rows: Rows, memory: Memory | None) -> bool:
    """Whether the kernel can compute this: on CUDA, in one precision, an even width and taps that fit registers.

    And as the modules would: they may have been given other functions, or parameters of another shape.
    """
    if not on_cuda() or not _is(norm, LayerNorm) or not isinstance(norm.eps, (int, float)):
        return False
    (_, size), dtype, gain, shift = rows.shape, rows.dtype, norm["weight"], norm["bias"]
    if gain.dtype != dtype or shift.dtype != dtype or gain.shape != (size,) or shift.shape != (size,):
        return False
    whole = _whole(size, dtype, () if memory is None else _lies(memory))
    return whole > 1 and size <= THREADS * whole and (memory is None or _remembers(memory, size, dtype))


def _lies(memory: Memory) -> tuple[int, int]:
    """Return how wide a memory's source is, and where in it the memory begins."""
    return memory.source.shape[1], memory.first


def _whole(size: int, dtype: mx.Dtype, lies: tuple[int, ...]) -> int:
    """Return how many channels a thread can load at once, wherever they lie."""
    return math.gcd(size, *lies, LOAD // dtype.size)


def _is(module: Any, cls: type) -> bool:
    """Whether a module, all of whose functions are known (`engines.stacks`), does what this class does."""
    return type(module) is cls or kind_of(module) == cls.__name__


def _remembers(memory: Memory, size: int, dtype: mx.Dtype) -> bool:
    """Whether the kernel can compute this FSMN."""
    block, weight = memory.block, memory.block["weight"]
    channels, taps, last = weight.shape
    known = _is(block, DepthwiseConv1d) and block.keeps_length and weight.dtype == dtype
    return known and taps <= MOST_TAPS and channels == size and last == 1


@functools.cache
def _no_lengths() -> mx.array:
    found = mx.ones((1, 4), mx.int32)  # never read, but its shape is
    mx.eval(found)
    return found


@functools.lru_cache(256)
def _launcher(
    rows: int, size: int, dtype: mx.Dtype, eps: float, residual: bool, memory: tuple[int, ...], batch: int
) -> Callable[..., list[mx.array]]:
    """Return function(inputs) -> [total, normed], or [normed] where nothing is summed: then relu comes first.

    Of a memory: how many taps, how many in the past, how wide its source is and where in it it begins.
    """
    summed = residual or bool(memory)
    (bits,) = struct.unpack("<i", struct.pack("<f", eps))
    constants = {"EPS": bits, "MEMORY": bool(memory), "RESIDUAL": residual}
    outputs = ["total", "normed"] if summed else ["normed"]
    names = ["residual", "added", "memory", "taps", "lengths", "gain", "shift"]
    source = SOURCE if summed else f"T* total = nullptr;{SOURCE}"  # never written to, but named
    mine = _whole(size, dtype, memory[2:])
    threads = -(-size // (mine * WARP)) * WARP
    turns = 1 if rows < MANY_ROWS else TURNS
    blocks = batch * -(-rows // (batch * turns))
    constants |= zip(("K", "LEFT", "STRIDE", "FIRST"), memory or (1, 0, 0, 0), strict=True)
    constants |= {"D": size, "THREADS": threads, "TURNS": turns, "MINE": mine, "RELU": not summed}
    kernel: Any = mx.fast.cuda_kernel("sum_and_norm", names, outputs, source, header=HEADER)
    return functools.partial(
        kernel,
        template=[("T", dtype), *constants.items()],
        grid=(blocks * threads, 1, 1),
        threadgroup=(threads, 1, 1),
        output_shapes=[(rows, size)] * len(outputs),
        output_dtypes=[dtype] * len(outputs),
    )


def _kernel(norm: LayerNorm, like: Rows, residual: Rows | None, added: Rows, memory: Memory | None) -> list[mx.array]:
    (rows, size), gain = like.shape, norm["weight"]
    source, taps, lengths, constants = like, gain, _no_lengths(), ()
    if memory is not None:
        block, source, _, padding = memory
        taps, lengths = block["weight"], padding.lengths
        constants = taps.shape[1], block.left, *_lies(memory)
    launch = _launcher(rows, size, like.dtype, norm.eps, residual is not None, constants, lengths.shape[0])
    return launch(inputs=[like if residual is None else residual, added, source, taps, lengths, gain, norm["bias"]])
