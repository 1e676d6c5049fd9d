"""The small parts: LayerNorm, the position encoder, the feed-forward blocks, masks and the FSMN memory.

Mirrors funasr/models/transformer/{layer_norm,embedding,positionwise_feed_forward}.py and
funasr/models/sanm/positionwise_feed_forward.py. Axis letters: README.md beside this file.
"""

from __future__ import annotations

import math

from jaxtyping import Bool, Float, Int

from mlx_model.blas import mx, nn
from mlx_model.cpu_kernels import depthwise_conv1d, depthwise_taps, layer_norm, on_gpu

LAYER_NORM_EPS = 1e-12  # FunASR overrides torch's 1e-5 for the whole SANM / Paraformer line


class LayerNorm(nn.LayerNorm):
    """LayerNorm with FunASR's eps. Mirrors funasr/models/transformer/layer_norm.py::LayerNorm."""

    def __init__(self, dims: int):
        super().__init__(dims, eps=LAYER_NORM_EPS)

    def __call__(self, x: Float[mx.array, "*batch D"]) -> Float[mx.array, "*batch D"]:
        kernel = mx.fast.layer_norm if on_gpu() else layer_norm
        return kernel(x, self.weight, self.bias, self.eps)


class Linear(nn.Linear):
    """x W^T + bias. On a CPU the bias is added after the product: MLX's own (addmm) first copies it to every row."""

    def __call__(self, x: Float[mx.array, "*batch Din"]) -> Float[mx.array, "*batch Dout"]:
        if on_gpu() or "bias" not in self:
            return super().__call__(x)
        return x @ self.weight.T + self.bias


def length_mask(lengths: Int[mx.array, " B"], size: int) -> Bool[mx.array, "B T"]:
    """Return True where a position belongs to its utterance, False in the padding. Shapes: (B,) -> (B, size)."""
    return mx.arange(size)[None, :] < lengths[:, None]


def sinusoidal_positions(steps: int, depth: int) -> Float[mx.array, "T D"]:
    """Return sin/cos position codes, shape (steps, depth), float32: halves, not interleaved; positions start at 1.

    Mirrors funasr/models/transformer/embedding.py::SinusoidalPositionEncoder. The divisor is depth/2 - 1.
    """
    half = depth // 2
    increment = math.log(10000.0) / (half - 1) if half > 1 else 0.0
    inverse_timescales = mx.exp(mx.arange(half, dtype=mx.float32) * -increment)  # (D/2,)
    scaled = mx.arange(1, steps + 1, dtype=mx.float32)[:, None] * inverse_timescales[None, :]  # (T, D/2)
    return mx.concatenate([mx.sin(scaled), mx.cos(scaled)], axis=-1)


class PositionwiseFeedForward(nn.Module):
    """w_2(relu(w_1(x))). Mirrors funasr/models/transformer/positionwise_feed_forward.py."""

    def __init__(self, dims: int, hidden: int):
        super().__init__()
        self.w_1 = Linear(dims, hidden)
        self.w_2 = Linear(hidden, dims)

    def __call__(self, x: Float[mx.array, "*batch D"]) -> Float[mx.array, "*batch D"]:
        return self.w_2(nn.relu(self.w_1(x)))


class PositionwiseFeedForwardDecoderSANM(nn.Module):
    """w_2(norm(relu(w_1(x)))): a LayerNorm inside, after the ReLU, and no bias in w_2.

    Mirrors funasr/models/sanm/positionwise_feed_forward.py::PositionwiseFeedForwardDecoderSANM.
    """

    def __init__(self, dims: int, hidden: int):
        super().__init__()
        self.w_1 = Linear(dims, hidden)
        self.w_2 = Linear(hidden, dims, bias=False)
        self.norm = LayerNorm(hidden)

    def __call__(self, x: Float[mx.array, "*batch D"]) -> Float[mx.array, "*batch D"]:
        return self.w_2(self.norm(nn.relu(self.w_1(x))))


class DepthwiseConv1d(nn.Module):
    """The FSMN's taps: one bias-free kernel per channel; `weight` is (D, K, 1), FunASR's (D, 1, K) transposed.

    A shift moves the window into the past (`left` grows, `right` shrinks); where `right` goes negative torch's
    ConstantPad1d crops, and so do we. Mirrors `fsmn_block` + `pad_fn` of funasr/models/sanm/attention.py.
    """

    def __init__(self, dims: int, kernel_size: int, shift: int):
        super().__init__()
        self.weight = mx.zeros((dims, kernel_size, 1))
        self.left = (kernel_size - 1) // 2 + max(shift, 0)
        self.right = kernel_size - 1 - self.left
        self._taps: tuple[mx.array | None, list[mx.array]] = (None, [])  # the weight, and what the CPU made of it

    def __call__(self, x: Float[mx.array, "B T D"]) -> Float[mx.array, "B T D"]:
        if on_gpu() and self.left == self.right:  # the kernel pads by itself, and saves a copy
            return mx.conv1d(x, self.weight, padding=self.left, groups=x.shape[-1])
        return self.convolve(self.pad(x))

    def pad(self, x: Float[mx.array, "B T D"]) -> Float[mx.array, "B Tp D"]:
        """Return x with the frames before and after it that the taps reach, Tp = T + K - 1."""
        T, K = x.shape[1], self.weight.shape[1]
        padded = mx.pad(x, [(0, 0), (self.left, max(self.right, 0)), (0, 0)])
        return padded[:, : T + K - 1] if self.right < 0 else padded  # (B, T + K - 1, D)

    def convolve(self, padded: Float[mx.array, "B Tp D"]) -> Float[mx.array, "B T D"]:
        """Return the convolution of padded frames."""
        if on_gpu():
            return mx.conv1d(padded, self.weight, groups=padded.shape[-1])
        if self._taps[0] is not self.weight:
            self._taps = (self.weight, depthwise_taps(self.weight))
        return depthwise_conv1d(padded, self._taps[1])
