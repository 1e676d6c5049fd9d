"""Attention, depthwise convolution and LayerNorm for CPUs, where MLX's own are slow or, the last, inexact.

GPUs use MLX's kernels.

MLX's x86 softmax spends 10 ns on every exponential, a third of a whole encoder's time. Here exp(x) = 2^n 2^f with n the
nearest integer to x log2(e): 2^f is a polynomial, 2^n is bits moved into the exponent, and `mx.compile` makes one loop
of it that the C++ compiler vectorises. Same error as MLX's, 3e-6 relative at worst.

MLX's CPU sums run over a row in one float32 accumulator. For a variance over 2048 positive terms that costs a relative
error of 4e-6 where torch has 5e-8, ten times the rest of a decoder layer; sums in two levels have 1e-7 and are faster.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable

from jaxtyping import Bool, Float

from mlx_model.blas import mx

LOG2_E = 1.4426950408889634
# Minimax polynomial of 2^f on [-1/2, 1/2], relative error 1e-7: below float32's own rounding in the sum.
POWER_OF_TWO = (1.5353362e-4, 1.3398874e-3, 9.6184373e-3, 5.5503324e-2, 2.4022648e-1, 6.9314720e-1, 1.0)
ROUND_TO_INTEGER = 12582912.0  # 1.5 * 2^23: adding it leaves the nearest integer in the low bits of a float32
LEAST_EXPONENT = -100.0  # e^-69: nothing beside a largest term of 1, and far from denormals, which are slow


def on_gpu() -> bool:
    """Whether MLX computes on a GPU, whose own kernels are then the better ones."""
    return mx.default_device().type == mx.DeviceType.gpu


@functools.cache
def _can_compile() -> bool:
    """Whether MLX finds the compiler it calls for `mx.compile` on the CPU."""
    return shutil.which("g++") is not None or shutil.which("clang++") is not None


def _exp_of_difference(x: mx.array, largest: mx.array) -> mx.array:
    exponent = mx.maximum((x - largest) * LOG2_E, LEAST_EXPONENT)
    shifted = exponent + ROUND_TO_INTEGER
    part = exponent - (shifted - ROUND_TO_INTEGER)  # in [-1/2, 1/2]
    power = POWER_OF_TWO[0]
    for coefficient in POWER_OF_TWO[1:]:
        power = power * part + coefficient
    return power * mx.left_shift(shifted.view(mx.int32) + 127, 23).view(mx.float32)


@functools.cache
def _compiled_exp() -> Callable[[mx.array, mx.array], mx.array]:
    return mx.compile(_exp_of_difference)


def exponentials(scores: Float[mx.array, "*batch T"]) -> Float[mx.array, "*batch T"]:
    """Return exp(scores - their largest) over the last axis; entries of -inf give less than 1e-30.

    No row may be all -inf.
    """
    largest = scores.max(axis=-1, keepdims=True)
    if scores.dtype != mx.float32 or not _can_compile():
        return mx.exp(scores - largest)
    return _compiled_exp()(scores, largest)


def scaled_dot_product_attention(
    q: Float[mx.array, "B H U Dh"],
    k: Float[mx.array, "B H T Dh"],
    v: Float[mx.array, "B H T Dh"],
    *,
    scale: float,
    mask: Bool[mx.array, "B 1 1 T"] | None = None,
) -> Float[mx.array, "B H U Dh"]:
    """Return softmax(scale q k^T) v; takes the place of mx.fast.scaled_dot_product_attention, same arguments.

    The weights are not divided by their sum: the shorter product with v is, and the sum is a product too (MLX's CPU
    sums run in one accumulator).
    """
    scores = (q * scale) @ k.transpose(0, 1, 3, 2)  # (B, H, U, T)
    weights = exponentials(scores if mask is None else mx.where(mask, scores, -mx.inf))
    return (weights @ v) / (weights @ mx.ones((k.shape[2], 1), dtype=v.dtype))  # (B, H, U, Dh)


def depthwise_conv1d(
    x: Float[mx.array, "B Tp D"], weight: Float[mx.array, "D K 1"], *, groups: int
) -> Float[mx.array, "B T D"]:
    """Return the depthwise convolution of padded frames (Tp = T + K - 1); takes the place of mx.conv1d.

    Overlapping windows of the frames times the taps, summed: MLX's grouped conv1d takes four times as long on the CPU.
    The windows are a view; their product takes K times the memory of x for a moment.
    """
    B, steps, D = x.shape
    taps = weight.shape[1]
    windows = mx.as_strided(mx.contiguous(x), (B, steps - taps + 1, taps, D), (steps * D, D, D, 1))  # (B, T, K, D)
    return (windows * weight[:, :, 0].T).sum(axis=2)  # (B, T, D)


@functools.cache
def _stride(size: int) -> int:
    """The largest divisor of a width up to 64: so many accumulators run side by side."""
    return max(k for k in range(1, min(size, 64) + 1) if size % k == 0)


def mean(x: Float[mx.array, "*batch D"]) -> Float[mx.array, "*batch 1"]:
    """Return the mean over the last axis, summed in two levels."""
    size = x.shape[-1]
    partial = x.reshape(*x.shape[:-1], -1, _stride(size)).sum(axis=-2)  # (..., stride)
    return partial.sum(axis=-1, keepdims=True) * (1.0 / size)


def layer_norm(
    x: Float[mx.array, "*batch D"], weight: Float[mx.array, " D"], bias: Float[mx.array, " D"], eps: float
) -> Float[mx.array, "*batch D"]:
    """Return LayerNorm over the last axis in float32 accuracy."""
    if x.dtype != mx.float32:
        return mx.fast.layer_norm(x, weight, bias, eps)
    centred = x - mean(x)
    return centred * mx.rsqrt(mean(mx.square(centred)) + eps) * weight + bias
