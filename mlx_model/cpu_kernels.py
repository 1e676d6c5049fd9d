"""Attention, convolution, LayerNorm and power spectrum for CPUs, where MLX's own are slow or, the last two, inexact.

GPUs use MLX's kernels.

MLX's x86 softmax spends 10 ns on every exponential, a third of a whole encoder's time. Here exp(x) = 2^n 2^f with n the
nearest integer to x log2(e): 2^f is a polynomial, 2^n is bits moved into the exponent, and `mx.compile` makes one loop
of it that the C++ compiler vectorises. Same error as MLX's, 3e-6 relative at worst.

MLX's CPU sums run over a row in one float32 accumulator. For a variance over 2048 positive terms that costs a relative
error of 4e-6 where torch has 5e-8, ten times the rest of a decoder layer; sums in two levels have 1e-7 and are faster.

MLX's float32 FFT errs by more than Kaldi's: 2e-3 nat in mel bands that are almost empty.
"""

from __future__ import annotations

import functools
import math
import shutil
from collections.abc import Callable

import numpy as np
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


TAPS_AT_ONCE = 4  # few enough that one loop keeps their addresses in registers; all eleven at once take twice as long


def _add_taps(total: mx.array | float, frames: list[mx.array], weights: list[mx.array]) -> mx.array:
    for x, weight in zip(frames, weights, strict=True):
        total = total + x * weight
    return total  # pyright: ignore[reportReturnType]


@functools.cache
def _compiled_add_taps() -> Callable[[mx.array | float, list[mx.array], list[mx.array]], mx.array]:
    return mx.compile(_add_taps) if _can_compile() else _add_taps


def depthwise_conv1d(
    x: Float[mx.array, "B Tp D"], weight: Float[mx.array, "D K 1"], *, groups: int
) -> Float[mx.array, "B T D"]:
    """Return the depthwise convolution of padded frames (Tp = T + K - 1); takes the place of mx.conv1d.

    Shifted views of the frames times the taps, a few of them in one fused loop: a third of what the product of all
    windows takes, a ninth of MLX's grouped conv1d on the CPU.
    """
    taps = weight.shape[1]
    steps = x.shape[1] - taps + 1
    shifted = [x[:, k : k + steps] for k in range(taps)]  # each (B, T, D), views
    weights = list(mx.contiguous(weight[:, :, 0].T))  # each (D,)
    total = 0.0
    for k in range(0, taps, TAPS_AT_ONCE):
        total = _compiled_add_taps()(total, shifted[k : k + TAPS_AT_ONCE], weights[k : k + TAPS_AT_ONCE])
    return total  # pyright: ignore[reportReturnType]


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


@functools.lru_cache(maxsize=4)
def _fourier(size: int, n_fft: int) -> mx.array:
    """Return cosines and sines of the first n_fft/2 bins for frames of `size` samples: (size, n_fft), float64."""
    turns = np.outer(np.arange(size), np.arange(n_fft // 2)) % n_fft / n_fft
    angle = 2.0 * math.pi * turns
    return mx.array(np.concatenate([np.cos(angle), np.sin(angle)], axis=1), dtype=mx.float64)


def power_spectrum(frames: Float[mx.array, "B F W"], n_fft: int) -> Float[mx.array, "B F N"]:
    """Return |DFT|^2 of zero-padded frames without the Nyquist bin, (B, F, n_fft/2); summed in float64.

    One matrix product: at 512 points a good BLAS needs a third of the time kaldi-native-fbank takes for everything.
    """
    parts = mx.square(frames.astype(mx.float64) @ _fourier(frames.shape[-1], n_fft))  # (B, F, n_fft): real, imaginary
    half = n_fft // 2
    return (parts[..., :half] + parts[..., half:]).astype(frames.dtype)
