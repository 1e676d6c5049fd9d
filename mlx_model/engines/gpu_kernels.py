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
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Bool, Float, Int

from mlx_model import ops
from mlx_model.machine.blas import mx
from mlx_model.machine.device import on_gpu
from mlx_model.machine.kept import kind_of
from mlx_model.ops import masked
from mlx_model.parts.basic import DepthwiseConv1d, LayerNorm, length_mask

Rows = Float[mx.array, "BT _"]  # all positions of a batch, one below the other
WARP, THREADS = 32, 256  # of a block, at most
WIDEST = 8192  # channels: a thread keeps two of every 512 in registers
MOST_TAPS = 32  # and the taps of its channels
MANY_ROWS = 2048  # from here on a block takes eight, so that it loads taps and gains for more of them

HEADER = """
template <typename T> struct alignas(2 * sizeof(T)) Pair { T x, y; };
"""

# A block takes TURNS rows, one after the other; a thread two neighbouring channels of every STEP. `taps` is (D, K).
SOURCE = """
    constexpr int STEP = 2 * THREADS, PAIRS = (D + STEP - 1) / STEP;
    const int first = 2 * threadIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int rows = added_shape[0], steps = rows / lengths_shape[0];
    __shared__ float sums[2][THREADS / 32];
    const auto pair = [](const T* at) {
        const auto found = *reinterpret_cast<const Pair<T>*>(at);
        return float2{static_cast<float>(found.x), static_cast<float>(found.y)};
    };
    const auto put = [](T* at, float x, float y) {
        *reinterpret_cast<Pair<T>*>(at) = {static_cast<T>(x), static_cast<T>(y)};
    };
    const auto everywhere = [&](float x, float* part) {
        for (int i = 16; i; i /= 2) x += __shfl_xor_sync(0xffffffff, x, i);
        if (lane == 0) part[warp] = x;
        __syncthreads();
        float sum = 0;
        for (int i = 0; i < THREADS / 32; i++) sum += part[i];
        return sum;
    };
    float2 w[PAIRS][K];
    if constexpr (MEMORY)
        for (int i = 0, c = first; i < PAIRS; i++, c += STEP)
            for (int k = 0; k < K; k++)
                if (c < D) w[i][k] = {static_cast<float>(taps[c * K + k]), static_cast<float>(taps[(c + 1) * K + k])};
    for (int row = blockIdx.x * TURNS; row < min(rows, (int)(blockIdx.x + 1) * TURNS); row++) {
        const long start = (long)row * D;
        float2 values[PAIRS];
        float sum = 0, squares = 0;
        for (int i = 0, c = first; i < PAIRS; i++, c += STEP) {
            float2 value = {0, 0};
            if (c < D) {
                if constexpr (ADDED) value = pair(added + start + c);
                if constexpr (RELU) value = {value.x < 0 ? 0 : value.x, value.y < 0 ? 0 : value.y};
                if constexpr (MEMORY) {
                    const int t = row % steps, length = min(steps, lengths[row / steps * lengths_shape[1]]);
                    const T* v = memory + (long)row * STRIDE + FIRST + c;
                    for (int k = 0; k < K; k++) {
                        const int from = t + k - LEFT;
                        const bool there = 0 <= from && from < length;
                        const float2 x = there ? pair(v + (k - LEFT) * STRIDE) : float2{0, 0};
                        value.x += x.x * w[i][k].x, value.y += x.y * w[i][k].y;
                    }
                    const float2 itself = t < length ? pair(v) : float2{0, 0};
                    value.x += itself.x, value.y += itself.y;
                }
                if constexpr (RESIDUAL) {
                    const float2 x = pair(residual + start + c);
                    value.x += x.x, value.y += x.y;
                }
                if constexpr (RESIDUAL || MEMORY) put(total + start + c, value.x, value.y);
            }
            values[i] = value, sum += value.x + value.y;
        }
        const float mean = everywhere(sum, sums[0]) / D;
        for (int i = 0, c = first; i < PAIRS; i++, c += STEP)
            if (c < D) {
                values[i].x -= mean, values[i].y -= mean;
                squares += values[i].x * values[i].x + values[i].y * values[i].y;
            }
        const float scale = rsqrtf(everywhere(squares, sums[1]) / D + __int_as_float(EPS));
        for (int i = 0, c = first; i < PAIRS; i++, c += STEP)
            if (c < D) {
                const float2 g = pair(gain + c), s = pair(shift + c);
                put(normed + start + c, values[i].x * scale * g.x + s.x, values[i].y * scale * g.y + s.y);
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


def padding_of(lengths: Int[mx.array, " B"], steps: int) -> Padding:
    """Return the padding of recordings of these lengths in a batch of so many steps."""
    return Padding(mx.repeat(lengths[:, None], 4, axis=1), length_mask(lengths, steps))


def sum_and_norm(
    norm: LayerNorm, residual: Rows | None, added: Rows | None = None, memory: Memory | None = None
) -> tuple[Rows, Rows]:
    """Return residual + added + what the FSMN makes of `memory` (see `attention.forward_fsmn`), and LayerNorm of it.

    At least two of the three are there. What stands in the padding's rows is never looked at.
    """
    like = added if added is not None else residual
    assert like is not None
    if _fits(norm, like, memory) and (residual is None or residual.shape == like.shape):
        total, normed = _kernel(norm, like, residual, added, memory)
        return total, normed
    parts = [part for part in (residual, added) if part is not None]
    total = functools.reduce(mx.add, parts if memory is None else [*parts, remembered(memory)])
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
    v = masked(v, memory.padding.keep)
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
    size = rows.shape[1]
    if not on_cuda() or not on_gpu() or kind_of(norm) != "LayerNorm" or not isinstance(norm.eps, (int, float)):
        return False
    if any(parameter.dtype != rows.dtype or parameter.shape != (size,) for parameter in (norm.weight, norm.bias)):
        return False
    return size % 2 == 0 and size <= WIDEST and (memory is None or _remembers(memory, rows))


def _remembers(memory: Memory, rows: Rows) -> bool:
    """Whether the kernel can compute this FSMN."""
    block, weight = memory.block, memory.block.weight
    known = kind_of(block) == "DepthwiseConv1d" and block.keeps_length and weight.dtype == rows.dtype
    return known and weight.shape[1] <= MOST_TAPS and weight.shape == (rows.shape[1], weight.shape[1], 1)


@functools.cache
def _no_lengths() -> mx.array:
    found = mx.ones((1, 4), mx.int32)  # never read, but its shape is
    mx.eval(found)
    return found


@functools.lru_cache(256)
def _launcher(rows: int, size: int, dtype: mx.Dtype, **constants: int) -> Callable[..., list[mx.array]]:
    """Return function(inputs) -> [total, normed], or [normed] where nothing is summed: then relu comes first."""
    summed = bool(constants["RESIDUAL"] or constants["MEMORY"])
    outputs = ["total", "normed"] if summed else ["normed"]
    names = ["residual", "added", "memory", "taps", "lengths", "gain", "shift"]
    source = SOURCE if summed else f"T* total = nullptr;{SOURCE}"  # never written to, but named
    threads = min(THREADS, -(-size // (2 * WARP)) * WARP)
    turns = 1 if rows < MANY_ROWS else 8
    constants = {"K": 1, "LEFT": 0, "STRIDE": 0, "FIRST": 0} | constants
    constants |= {"D": size, "THREADS": threads, "TURNS": turns, "RELU": not summed}
    kernel: Any = mx.fast.cuda_kernel("sum_and_norm", names, outputs, source, header=HEADER)
    return functools.partial(
        kernel,
        template=[("T", dtype), *constants.items()],
        grid=(-(-rows // turns) * threads, 1, 1),
        threadgroup=(threads, 1, 1),
        output_shapes=[(rows, size)] * len(outputs),
        output_dtypes=[dtype] * len(outputs),
    )


def _kernel(
    norm: LayerNorm, like: Rows, residual: Rows | None, added: Rows | None, memory: Memory | None
) -> list[mx.array]:
    source, taps, lengths = like, norm.weight, _no_lengths()
    (bits,) = struct.unpack("<i", struct.pack("<f", norm.eps))
    constants = {"EPS": bits, "MEMORY": memory is not None}
    constants |= {"RESIDUAL": residual is not None, "ADDED": added is not None}
    if memory is not None:
        source, taps, lengths = memory.source, memory.block.weight, memory.padding.lengths
        constants |= {"K": taps.shape[1], "LEFT": memory.block.left}
        constants |= {"STRIDE": source.shape[1], "FIRST": memory.first}
    launch = _launcher(*like.shape, like.dtype, **constants)
    residual, added = like if residual is None else residual, like if added is None else added
    return launch(inputs=[residual, added, source, taps, lengths, norm.weight, norm.bias])
