"""Convolutions and BatchNorm as torch has them, for networks that look at features as at a picture.

Layouts: (B, T, C) over time, (B, F, T, C) over frequency and time, where torch has (B, C, T) and (B, C, F, T).
"""

from __future__ import annotations

from jaxtyping import Float

from mlx_model import ops_conv
from mlx_model.machine.blas import mx, nn

BATCH_NORM_EPS = 1e-5  # torch's own, which FunASR leaves alone


class Conv1d(nn.Module):
    """Convolution over time; `weight` (O, K, C) is torch's (O, C, K) transposed."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int = 0, dilation: int = 1
    ):
        super().__init__()
        self.weight = mx.zeros((outputs, kernel, inputs))
        self.stride, self.padding, self.dilation = stride, padding, dilation

    def __call__(self, x: Float[mx.array, "B T C"]) -> Float[mx.array, "B To O"]:
        return ops_conv.conv1d(x, self)


class Conv2d(nn.Module):
    """Convolution over frequency and time; `weight` (O, Kf, Kt, C) is torch's (O, C, Kf, Kt) transposed.

    Args:
        inputs: channels that come.
        outputs: channels that leave.
        kernel: taps along either axis; padded so that stride 1 keeps the size.
        stride: along frequency and along time.
        bias: whether there is one.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: tuple[int, int] = (1, 1), bias: bool = False):
        super().__init__()
        self.weight = mx.zeros((outputs, kernel, kernel, inputs))
        if bias:
            self.bias = mx.zeros((outputs,))
        self.stride, self.padding = stride, (kernel // 2, kernel // 2)

    def __call__(self, x: Float[mx.array, "B F T C"]) -> Float[mx.array, "B Fo To O"]:
        return ops_conv.conv2d(x, self)


class BatchNorm(nn.Module):
    """(x - running_mean) / sqrt(running_var + eps), times weight, plus bias: what is left of it after training.

    Mirrors torch.nn.BatchNorm1d and 2d in eval mode; `affine` False has neither weight nor bias.
    """

    def __init__(self, channels: int, *, affine: bool = True, eps: float = BATCH_NORM_EPS):
        super().__init__()
        self.running_mean, self.running_var = mx.zeros((channels,)), mx.ones((channels,))
        if affine:
            self.weight, self.bias = mx.ones((channels,)), mx.zeros((channels,))
        self.eps = eps

    def __call__(self, x: Float[mx.array, "*batch C"]) -> Float[mx.array, "*batch C"]:
        scale, shift = self.line()
        return x * scale.astype(x.dtype) + shift.astype(x.dtype)

    def line(self) -> tuple[Float[mx.array, " C"], Float[mx.array, " C"]]:
        """Return what it multiplies by and what it adds, float32."""
        scale = mx.rsqrt(self.running_var.astype(mx.float32) + self.eps)
        if "weight" not in self:
            return scale, -self.running_mean * scale
        scale = scale * self.weight
        return scale, self.bias - self.running_mean * scale
