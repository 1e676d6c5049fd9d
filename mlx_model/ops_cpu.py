"""Attention, convolution, LayerNorm, arg-max and spectrum for CPUs, where MLX's own are slow, or (norm, FFT) inexact.

GPUs use MLX's kernels.

MLX's x86 softmax spends 10 ns on every exponential, a third of a whole encoder's time. Here 2^x = 2^n 2^f with n the
nearest integer: 2^f is a polynomial in units of the mantissa's last bit, n is added to the exponent's bits, and
`mx.compile` makes one loop of it that the C++ compiler vectorises: 1 ns. Same error as MLX's, 3e-6 relative at worst.

MLX's CPU sums run over a row in one float32 accumulator. For a variance over 2048 positive terms that costs a relative
error of 4e-6 where torch has 5e-8, ten times the rest of a decoder layer; sums in two levels have 1e-7 and are faster.

MLX's float32 FFT errs by more than Kaldi's: 2e-3 nat in mel bands that are almost empty.
"""

from __future__ import annotations

import functools
import math
import shutil
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt

from mlx_model.machine.blas import mx

LOG2_E = 1.4426950408889634
# Minimax polynomial of sqrt(2) 2^f on [-1/2, 1/2] (relative error 7.5e-8), in units of a float32's last mantissa bit:
# the leading 1 taken off, half a bit added to round. Lowest power first.
MANTISSA = (3474676.5, 8222999.0, 2849812.0, 658496.8125, 114783.6875, 15750.2548828125)
ROUND_TO_INTEGER = 12582912.0  # 1.5 * 2^23: adding and taking it off again rounds a float32 to the nearest integer
LEAST_EXPONENT = -100  # e^-69: nothing beside a largest term of 1, and far from denormals, which are slow
MASKED = -1e6  # stands for -inf: the exponential below is integer arithmetic, and wants finite numbers


@functools.cache
def _can_compile() -> bool:
    """Whether MLX finds the compiler it calls for `mx.compile` on the CPU."""
    return shutil.which("g++") is not None or shutil.which("clang++") is not None


@functools.cache
def _compiled(function: Callable[..., mx.array]) -> Callable[..., mx.array]:
    return mx.compile(function)


def _bits_of_power_of_two(exponent: mx.array) -> mx.array:
    """Return the bits of 2^(exponent + 1/2) as int32.

    Shaped for the compilers: few enough steps in a row for MLX to fuse all in one loop (Estrin, not Horner), which the
    C++ compiler vectorises for it holds no float maximum (MLX's looks for NaN) and no shift by a variable.
    """
    whole = (exponent + ROUND_TO_INTEGER) - ROUND_TO_INTEGER
    f = exponent - whole  # in [-1/2, 1/2]
    c, f2 = MANTISSA, f * f
    mantissa = ((c[0] + c[1] * f) + f2 * (c[2] + c[3] * f)) + (f2 * f2) * (c[4] + c[5] * f)
    return mx.left_shift(mx.maximum(whole.astype(mx.int32), LEAST_EXPONENT) + 127, 23) + mantissa.astype(mx.int32)


def powers_of_two(scores: Float[mx.array, "*batch T U"], top: Float[mx.array, "*batch 1 U"]) -> mx.array:
    """Return 2^(scores - top); top is the largest of each column, so that nothing exceeds 1.

    Scores of MASKED weigh less than 1e-29. NaN and infinite scores do not come out as such.
    """
    if scores.dtype != mx.float32 or not _can_compile():
        return mx.exp((scores - top) * math.log(2.0))
    return _compiled(_bits_of_power_of_two)(scores - (top + 0.5)).view(mx.float32)


def scaled_dot_product_attention(
    q: Float[mx.array, "B H U Dh"],
    keys: Sequence[Float[mx.array, "#B H _ Dh"]],
    values: Sequence[Float[mx.array, "#B H _ Dh"]],
    *,
    scale: float,
    masks: Sequence[Bool[mx.array, "B _"] | Bool[mx.array, "B _ U"] | None],
) -> Float[mx.array, "B U H Dh"]:
    """Return softmax(scale q k^T) v, heads beside one another; keys and values in blocks of rows, (B, H, t, Dh) each.

    Scores stand in columns, (t, U), because MLX finds the largest of a row four times more slowly than a column's. The
    weights are not divided by their sum: the shorter product with v is, and the sum is a product too (MLX's CPU sums
    run in one accumulator). NaN and infinity stay visible through the largest score. A mask is one for all queries, or
    (B, t, U).
    """
    columns = (q * (scale * LOG2_E)).transpose(0, 1, 3, 2)  # (B, H, Dh, U)
    scores = [k @ columns for k in keys]  # each (B, H, t, U)
    scores = [s if m is None else _without_padding(s, m) for s, m in zip(scores, masks, strict=True)]
    top = functools.reduce(mx.maximum, [s.max(axis=-2, keepdims=True) for s in scores])  # (B, H, 1, U)
    weights = [powers_of_two(s, top) for s in scores]
    total = _sum([_ones(w.shape[-2], w.dtype) @ w for w in weights]) + 0.0 * top  # (B, H, 1, U)
    context = _sum([w.transpose(0, 1, 3, 2) @ v for w, v in zip(weights, values, strict=True)])
    # Divided in this order, the heads of a row come to lie together without a copy of their own.
    return context.transpose(0, 2, 1, 3) / total.transpose(0, 3, 1, 2)  # (B, U, H, Dh)


def _without_padding(scores: mx.array, mask: mx.array) -> mx.array:
    keep = mask[:, None, :, None] if mask.ndim == 2 else mask[:, None]
    return mx.where(keep, scores, mx.array(MASKED, dtype=scores.dtype))


def _sum(parts: Sequence[mx.array]) -> mx.array:
    return functools.reduce(mx.add, parts)


@functools.lru_cache(maxsize=64)
def _ones(size: int, dtype: mx.Dtype) -> mx.array:
    ones = mx.ones((1, size), dtype=dtype)
    mx.eval(ones)  # what is kept must not wait for the thread that happened to ask first
    return ones


TAPS_AT_ONCE = 4  # few enough that one loop keeps their addresses in registers; all eleven at once take twice as long


def _products(frames: Sequence[mx.array], weights: Sequence[mx.array]) -> mx.array:
    return _sum([x * weight for x, weight in zip(frames, weights, strict=True)])


def _add_taps(total: mx.array, frames: Sequence[mx.array], weights: Sequence[mx.array]) -> mx.array:
    return _sum([total, *(x * weight for x, weight in zip(frames, weights, strict=True))])


def depthwise_taps(weight: Float[mx.array, "D K 1"]) -> list[mx.array]:
    """Return a depthwise kernel as what `depthwise_conv1d` takes: the weights of each tap, (D,) side by side."""
    taps = list(mx.contiguous(weight[:, :, 0].T))
    mx.eval(taps)  # kept by the module, and then used by any thread
    return taps


def depthwise_conv1d(x: Float[mx.array, "B Tp D"], taps: list[mx.array], dilation: int = 1) -> Float[mx.array, "B T D"]:
    """Return the depthwise convolution of padded frames (Tp = T + (K - 1) * dilation).

    Shifted views of the frames times the taps, a few of them in one fused loop: MLX's grouped conv1d takes several
    times as long on the CPU.
    """
    steps = x.shape[1] - (len(taps) - 1) * dilation
    shifted = [x[:, k * dilation : k * dilation + steps] for k in range(len(taps))]  # each (B, T, D), views
    start, add = _products, _add_taps
    if x.dtype == mx.float32 and _can_compile():
        start, add = _compiled(start), _compiled(add)
    first = (len(taps) - 1) % TAPS_AT_ONCE + 1
    total = start(shifted[:first], taps[:first])
    for k in range(first, len(taps), TAPS_AT_ONCE):
        total = add(total, shifted[k : k + TAPS_AT_ONCE], taps[k : k + TAPS_AT_ONCE])
    return total


SHORT = 150  # frames: below, one product of overlapping views takes a seventh of the time of K products (measured)


def dilated_conv1d(
    padded: Float[mx.array, "B Tp D"], taps: list[mx.array], weights: Float[mx.array, "K D"], dilation: int
) -> Float[mx.array, "B T D"]:
    """Return `depthwise_conv1d`, short pieces by one product; `weights` are the taps as one array."""
    if padded.shape[1] > SHORT:
        return depthwise_conv1d(padded, taps, dilation)
    (B, Tp, D), count = padded.shape, len(taps)
    beside = (B, Tp - (count - 1) * dilation, count, D)  # every frame beside those its taps reach: (B, T, K, D)
    frames = mx.as_strided(mx.contiguous(padded), beside, (Tp * D, D, dilation * D, 1))
    return (frames * weights).sum(axis=2)


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


def argmax(logits: Float[mx.array, "*batch V"]) -> UInt[mx.array, "*batch"]:
    """Return the index of the largest of the last axis, the first of equal ones, by NumPy.

    MLX looks at one number after the other: 20 ms for 684 rows of 25,055, where this takes 9.
    """
    if logits.dtype != mx.float32:
        return logits.argmax(axis=-1)
    return mx.array(np.asarray(logits).argmax(axis=-1).astype(np.uint32))


@functools.lru_cache(maxsize=4)
def _fourier(size: int, n_fft: int) -> mx.array:
    """Return cosines and sines of the first n_fft/2 bins for frames of `size` samples: (size, n_fft), float64."""
    turns = np.outer(np.arange(size), np.arange(n_fft // 2)) % n_fft / n_fft
    angle = 2.0 * math.pi * turns
    return mx.array(np.concatenate([np.cos(angle), np.sin(angle)], axis=1), dtype=mx.float64)


def mel_energies(
    frames: Float[mx.array, "B F W"], n_fft: int, banks: Float[mx.array, "N M"]
) -> Float[mx.array, "B F M"]:
    """Return |DFT|^2 of zero-padded frames without the Nyquist bin, by mel bands (N = n_fft/2); summed in float64.

    Matrix products: at 512 points a good BLAS needs a third of the time kaldi-native-fbank takes for everything. A
    BLAS sums in an order that depends on how many frames there are. Of float64 sums rounded to float32 that is not
    seen, so that a stream's features have the bits of the whole recording's; the second product takes 4 % more for it.
    """
    parts = mx.square(frames.astype(mx.float64) @ _fourier(frames.shape[-1], n_fft))  # (B, F, n_fft): real, imaginary
    half = n_fft // 2
    return ((parts[..., :half] + parts[..., half:]) @ banks.astype(mx.float64)).astype(frames.dtype)
