"""Convolutions over time and over frequency and time, as the products they are; and means over time. See `ops.py`.

MLX's own convolutions of many channels are slow on a CPU. Here what a kernel reaches is laid out in rows (im2col), a
block of frames at a time so that it stays in the cache, and one product computes a block on all cores. A GPU has MLX's
own kernels. Shapes: (B, T, C) over time, (B, F, T, C) over frequency and time; weights as MLX has them, inputs last.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float

from mlx_model.machine import device
from mlx_model.machine.blas import mx, nn

COLUMNS = 1 << 20  # numbers laid out at once
BLOCK = 64  # frames that are added up before their sum is added to others': a float32 sum of many loses digits


def conv1d(x: Float[mx.array, "B T C"], module: Any) -> Float[mx.array, "B To O"]:
    """Return the convolution over time of a module with `weight` (O, K, C), `stride`, `padding` and `dilation`."""
    if device.on_gpu():
        y = mx.conv1d(x, module.weight, stride=module.stride, padding=module.padding, dilation=module.dilation)
    else:
        K, reach = module.weight.shape[1], (module.weight.shape[1] - 1) * module.dilation
        padded = mx.pad(x, [(0, 0), (module.padding, module.padding), (0, 0)]) if module.padding else x
        end = padded.shape[1] - reach
        taps = [padded[:, k * module.dilation : end + k * module.dilation : module.stride] for k in range(K)]
        y = mx.concatenate(taps, axis=-1) @ module.weight.flatten(1).T  # (B, To, K*C) @ (K*C, O)
    return y + module.bias if "bias" in module else y


def mixed(padded: Float[mx.array, "B Tp D"], module: Any) -> Float[mx.array, "B T Dout"]:
    """Return a dense convolution of padded frames, with a bias; on a GPU as a product: cuDNN's graph is made anew."""
    if not device.on_gpu():
        return nn.Conv1d.__call__(module, padded)
    taps = module.weight.shape[1]
    reached = [padded[:, tap : padded.shape[1] - taps + 1 + tap] for tap in range(taps)]  # each (B, T, D)
    return mx.addmm(module.bias, mx.concatenate(reached, axis=-1), module.weight.flatten(1).T)


def conv2d(x: Float[mx.array, "B F T C"], module: Any) -> Float[mx.array, "B Fo To O"]:
    """Return the convolution of a module with `weight` (O, Kf, Kt, C), `stride` and `padding`, each (F, T)."""
    if device.on_gpu():
        y = mx.conv2d(x, module.weight, stride=module.stride, padding=module.padding)
    elif module.weight.shape[1:3] == (1, 1):
        y = x[:, :: module.stride[0], :: module.stride[1]] @ module.weight.flatten(1).T
    else:
        y = _products(x, module)
    return y + module.bias if "bias" in module else y


def _products(x: mx.array, module: Any) -> mx.array:
    """The same on a CPU, a block of frames after the other."""
    (_, Kf, Kt, C), (sf, st), (pf, pt) = module.weight.shape, module.stride, module.padding
    padded = mx.pad(x, [(0, 0), (pf, pf), (pt, pt), (0, 0)])
    B, Fp, Tp, _ = padded.shape
    Fo, To = (Fp - Kf) // sf + 1, (Tp - Kt) // st + 1
    kernel = module.weight.flatten(1).T  # (Kf*Kt*C, O)
    frames = max(COLUMNS // (B * Fo * Kf * Kt * C), 1)
    blocks: list[mx.array] = []
    for start in range(0, To, frames):
        count = min(frames, To - start)
        taps = [
            padded[:, f : f + (Fo - 1) * sf + 1 : sf, start * st + t : (start + count - 1) * st + t + 1 : st]
            for f in range(Kf)
            for t in range(Kt)
        ]
        blocks.append(mx.concatenate(taps, axis=-1) @ kernel)  # (B, Fo, count, O)
    return blocks[0] if len(blocks) == 1 else mx.concatenate(blocks, axis=2)


def time_sum(x: Float[mx.array, "*batch T C"]) -> Float[mx.array, "*batch 1 C"]:
    """Return the sum over time, in float32, of blocks of frames first."""
    x = x.astype(mx.float32)
    T = x.shape[-2]
    if T <= BLOCK or device.on_gpu():
        return x.sum(axis=-2, keepdims=True)
    widths = [(0, 0)] * (x.ndim - 2) + [(0, -T % BLOCK), (0, 0)]
    blocks = mx.unflatten(mx.pad(x, widths), -2, (-1, BLOCK)).sum(axis=-2)  # (*batch, T/BLOCK, C)
    return time_sum(blocks)


def time_mean(x: Float[mx.array, "*batch T C"]) -> Float[mx.array, "*batch 1 C"]:
    """Return the mean over time, in float32."""
    return time_sum(x) / x.shape[-2]


def time_deviation(x: Float[mx.array, "*batch T C"], eps: float = 0.0) -> Float[mx.array, "*batch 1 C"]:
    """Return sqrt(variance + eps) over time with T - 1 below, as torch's `std` and `var`; NaN where T is 1."""
    centred = x.astype(mx.float32) - time_mean(x)
    return mx.sqrt(time_sum(mx.square(centred)) / (x.shape[-2] - 1) + eps)
