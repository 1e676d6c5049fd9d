"""The linear layer with a packed weight, and what packing one means: groups, scales, biases, and the room they take."""

from __future__ import annotations

import math
from typing import Any

from jaxtyping import Float

from mlx_model import ops
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import as_written


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

    @property
    def missing(self) -> int:
        """Return how many zeros its inputs are given, to whole groups."""
        return padded_width(self.input_dims, self.group_size) - self.input_dims

    def __call__(self, x: ops.X) -> ops.X:
        return ops.linear(x, self)

    def by_mlx(self, x: Float[mx.array, "*batch Din"]) -> Float[mx.array, "*batch Dout"]:
        """Return the layer's output by MLX's own product."""
        filled = mx.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, self.missing)]) if self.missing else x
        return nn.QuantizedLinear.__call__(self, filled)


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
