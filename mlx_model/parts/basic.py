"""The small parts: LayerNorm, the position encoder, the feed-forward blocks, masks and the FSMN memory.

Mirrors funasr/models/transformer/{layer_norm,embedding,positionwise_feed_forward}.py and
funasr/models/sanm/positionwise_feed_forward.py. Axis letters: README.md beside this file.
"""

from __future__ import annotations

import math
from typing import Any

from jaxtyping import Bool, Float, Int

from mlx_model.machine.blas import mx, nn
from mlx_model.machine.device import on_gpu
from mlx_model.machine.kept import Kept, as_written
from mlx_model.ops_cpu import depthwise_conv1d, depthwise_taps, layer_norm

LAYER_NORM_EPS = 1e-12  # FunASR overrides torch's 1e-5 for the whole SANM / Paraformer line


@as_written
class LayerNorm(nn.LayerNorm):
    """LayerNorm with FunASR's eps. Mirrors funasr/models/transformer/layer_norm.py::LayerNorm."""

    def __init__(self, dims: int, eps: float = LAYER_NORM_EPS):
        super().__init__(dims, eps=eps)

    def __call__(self, x: Float[mx.array, "*batch D"]) -> Float[mx.array, "*batch D"]:
        kernel = mx.fast.layer_norm if on_gpu() else layer_norm
        return kernel(x, self.weight, self.bias, self.eps)


@as_written
class Linear(nn.Linear):
    """x W^T + bias. On a CPU the bias is added after the product: MLX's own (addmm) first copies it to every row."""

    def __call__(self, x: Float[mx.array, "*batch Din"]) -> Float[mx.array, "*batch Dout"]:
        if on_gpu() or "bias" not in self:
            return super().__call__(x)
        return x @ self.weight.T + self.bias

    def to_quantized(
        self, group_size: int | None = None, bits: int | None = None, mode: str = "affine", quantize_input: bool = False
    ) -> QuantizedLinear:
        """Return the quantised form of this layer, of any input width; what nn.quantize calls. See `from_linear`."""
        if quantize_input:
            raise ValueError("quantize_input = True: only weights can be quantised here")
        return QuantizedLinear.from_linear(self, group_size, bits, mode)


@as_written
class QuantizedLinear(nn.QuantizedLinear):
    """A linear layer whose weight is packed by `quantize_weight`: inputs are padded with zeros to whole groups too."""

    def __init__(self, input_dims: int, output_dims: int, bias: bool = True, group_size: int = 64, bits: int = 4):
        super().__init__(padded_width(input_dims, group_size), output_dims, bias, group_size, bits)
        self.input_dims = input_dims

    @classmethod
    def from_linear(
        cls, linear_layer: Any, group_size: int | None = None, bits: int | None = None, mode: str = "affine"
    ) -> QuantizedLinear:
        """Return a linear layer with its weight quantised, in groups of 64 and 4 bits unless others are given.

        Raises:
            ValueError: a mode other than MLX's affine one.
        """
        if mode != "affine":
            raise ValueError(f"mode = {mode!r}: only MLX's affine quantisation is supported")
        group_size, bits = group_size or 64, bits or 4
        outputs, inputs = linear_layer.weight.shape
        made = cls(inputs, outputs, False, group_size, bits)
        made.weight, made.scales, made.biases = quantize_weight(linear_layer.weight, group_size, bits)
        if "bias" in linear_layer:
            made.bias = linear_layer.bias
        return made

    def __call__(self, x: Float[mx.array, "*batch Din"]) -> Float[mx.array, "*batch Dout"]:
        missing = padded_width(self.input_dims, self.group_size) - self.input_dims
        return super().__call__(mx.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)]) if missing else x)


def padded_width(width: int, group_size: int) -> int:
    """Return how many inputs a quantised layer has: whole groups."""
    return -(-width // group_size) * group_size


def quantize_weight(
    weight: Float[mx.array, "Dout Din"], group_size: int, bits: int
) -> tuple[mx.array, mx.array, mx.array]:
    """Return a weight packed, its scales and its biases; columns of zeros fill the last group.

    uint32 (Dout, padded * bits / 32), and (Dout, padded / group_size), twice. Those are kept in 16 bits, as a float16
    or bfloat16 weight has them: in float32 they take a third of all 4-bit weights, and save a hundredth of a step.
    """
    missing = padded_width(weight.shape[1], group_size) - weight.shape[1]
    weight = mx.pad(weight, [(0, 0), (0, missing)]) if missing else weight
    packed, *factors = mx.quantize(weight, group_size=group_size, bits=bits)
    kept = mx.float16 if weight.dtype == mx.float32 else weight.dtype
    scales, biases = (factor.astype(kept) for factor in factors)
    return packed, scales, biases


def restore_weight(packed: mx.array, scales: mx.array, biases: mx.array, *, group_size: int, bits: int) -> mx.array:
    """Return the weight that a quantised layer computes with, (Dout, padded), float32."""
    factors = (factor.astype(mx.float32) for factor in (scales, biases))  # MLX's product does so, too
    return mx.dequantize(packed, *factors, group_size=group_size, bits=bits)


def quantized_bytes(shape: tuple[int, ...], *, group_size: int, bits: int) -> int:
    """Return what a weight (Dout, Din) takes quantised, its scales and biases in two bytes each."""
    outputs, padded = shape[0], padded_width(shape[1], group_size)
    return outputs * (padded * bits // 8 + 2 * (padded // group_size) * 2)


def quantizing_pays(shape: tuple[int, ...], itemsize: int, *, group_size: int, bits: int) -> bool:
    """Whether a weight (Dout, Din) of `itemsize` bytes each gets smaller: a narrow one may not, for its padding."""
    return quantized_bytes(shape, group_size=group_size, bits=bits) < math.prod(shape) * itemsize


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

    def __call__(self, x: Float[mx.array, "*batch D"]) -> Float[mx.array, "*batch D"]:
        return self.w_2(nn.relu(self.w_1(x)))


@as_written
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
        if on_gpu() and self.left == self.right:  # the kernel pads by itself, and saves a copy
            return mx.conv1d(x, self.weight, padding=self.left, groups=x.shape[-1])
        return self.convolve(self.pad(x))

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

    def convolve(self, padded: Float[mx.array, "B Tp D"]) -> Float[mx.array, "B T D"]:
        """Return the convolution of padded frames."""
        if on_gpu():
            return mx.conv1d(padded, self.weight, groups=padded.shape[-1])
        if self._taps is None or not self._taps[0].is_still(self.weight):
            self._taps = (Kept(self.weight), depthwise_taps(self.weight))
        return depthwise_conv1d(padded, self._taps[1])
