"""The small parts: LayerNorm, the position encoder, the feed-forward blocks, masks and the FSMN memory.

Mirrors funasr/models/transformer/{layer_norm,embedding,positionwise_feed_forward}.py and
funasr/models/sanm/positionwise_feed_forward.py. Axis letters: README.md beside this file.
"""

from __future__ import annotations

import math

from jaxtyping import Bool, Float, Int

from mlx_model import ops
from mlx_model.machine import device
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import Kept, as_written
from mlx_model.ops_cpu import depthwise_taps
from mlx_model.parts.quantized import QuantizedLinear

BLOCK = 32  # inputs of a NarrowLinear that are added up before their sum is added to others'


@as_written
class LayerNorm(nn.LayerNorm):
    """LayerNorm with the eps its family states: 1e-12 in FunASR's Paraformer line, torch's 1e-5 in others.

    Mirrors funasr/models/transformer/layer_norm.py::LayerNorm.
    """

    def __init__(self, dims: int, eps: float):
        super().__init__(dims, eps=eps)

    def __call__(self, x: ops.X) -> ops.X:
        return ops.norm(x, self)


@as_written
class Linear(nn.Linear):
    """x W^T + bias."""

    def __call__(self, x: ops.X) -> ops.X:
        return ops.linear(x, self)

    def to_quantized(
        self, group_size: int | None = None, bits: int | None = None, mode: str = "affine", quantize_input: bool = False
    ) -> QuantizedLinear:
        """Return the quantised form of this layer, of any input width; what nn.quantize calls. See `from_linear`."""
        if quantize_input:
            raise ValueError("quantize_input = True: only weights can be quantised here")
        return QuantizedLinear.from_linear(self, group_size, bits, mode)


class NarrowLinear(Linear):
    """x W^T + bias of a handful of outputs, summed in blocks of inputs on a CPU.

    BLAS adds all inputs of so few outputs up in a row, torch does not: of 160 inputs and 6 outputs the error is 1.9e-7
    of the result in a row, and 6.1e-8, float32's own, in blocks of 32.
    """

    def __call__(self, x: Float[mx.array, "B T D"]) -> Float[mx.array, "B T P"]:
        if device.on_gpu():
            return super().__call__(x)
        starts = range(0, self.weight.shape[1], BLOCK)
        parts = [x[..., start : start + BLOCK] @ self.weight[:, start : start + BLOCK].T for start in starts]
        total = sum(parts[1:], parts[0])
        return total + self.bias if "bias" in self else total


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


@as_written
class PositionwiseFeedForward(nn.Module):
    """w_2(relu(w_1(x))). Mirrors funasr/models/transformer/positionwise_feed_forward.py."""

    def __init__(self, dims: int, hidden: int):
        super().__init__()
        self.w_1 = Linear(dims, hidden)
        self.w_2 = Linear(hidden, dims)

    def __call__(self, x: ops.X) -> ops.X:
        return self.w_2(ops.relu(self.w_1(x)))


@as_written
class PositionwiseFeedForwardDecoderSANM(nn.Module):
    """w_2(norm(relu(w_1(x)))): a LayerNorm inside, after the ReLU, and no bias in w_2.

    Mirrors funasr/models/sanm/positionwise_feed_forward.py::PositionwiseFeedForwardDecoderSANM.
    """

    def __init__(self, dims: int, hidden: int, eps: float):
        super().__init__()
        self.w_1 = Linear(dims, hidden)
        self.w_2 = Linear(hidden, dims, bias=False)
        self.norm = LayerNorm(hidden, eps)

    def __call__(self, x: ops.X) -> ops.X:
        return self.w_2(self.norm(ops.relu(self.w_1(x))))


@as_written
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
        self._taps: tuple[Kept, list[mx.array]] | None = None  # the weight, and what the CPU made of it

    def __call__(self, x: Float[mx.array, "B T D"]) -> Float[mx.array, "B T D"]:
        return ops.depthwise(x, self)

    stride = 1  # as `ops_stream.recall` asks of taps; a stream's window ends with the frame itself, whatever `left` is

    @property
    def reach(self) -> int:
        """How many frames the first tap is behind the last."""
        return self.weight.shape[1] - 1

    def convolve(self, padded: Float[mx.array, "B Tp D"]) -> Float[mx.array, "B T D"]:
        """Return the convolution of frames that are padded already, T = Tp - reach."""
        return ops.convolve(padded, self)

    @property
    def keeps_length(self) -> bool:
        """Whether there is a frame of output for every frame of input, which changed padding may not leave so."""
        whole = isinstance(self.left, int) and isinstance(self.right, int)
        return whole and self.left >= 0 and self.left + self.right == self.weight.shape[1] - 1

    def pad(self, x: Float[mx.array, "B T D"]) -> Float[mx.array, "B Tp D"]:
        """Return x with the frames before and after it that the taps reach, Tp = T + K - 1."""
        T, K = x.shape[1], self.weight.shape[1]
        padded = mx.pad(x, [(0, 0), (self.left, max(self.right, 0)), (0, 0)])
        return padded[:, : T + K - 1] if self.right < 0 else padded  # (B, T + K - 1, D)

    def taps(self) -> list[mx.array]:
        """Return the weights of each tap, (D,) side by side: what a CPU computes with."""
        if self._taps is None or not self._taps[0].is_still(self.weight):
            self._taps = (Kept(self.weight), depthwise_taps(self.weight))
        return self._taps[1]
