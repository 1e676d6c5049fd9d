"""The linear layer of int8 weights whose inputs are rounded to 8 bits, too, row by row as they come: int8 dynamic.

A weight is `scales[output]` times an integer of -127 to 127; a row of inputs becomes as many steps to either side of 0,
of the size of its largest number / 127. So a product is a sum of integers, and what processors are made for. These are
the layer's own numbers wherever it computes: the CPU engine sums integers (`engines/cpu_int8.py`), MLX, which has no
such product, the same integers as floats, on weights that it widens in every call: slower, and for proof and GPUs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mlx_model import ops
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import as_written

STEPS = 127  # to either side of 0: -128 is left out, so that the range is even
LEAST = 1e-30  # a row whose largest number is smaller counts as zeros: 127 / it would leave float32's range
MOST_INPUTS = 1 << 17  # of a layer: a sum of so many products of 127 x 127 still fits 32 bits


@as_written
class Int8Linear(nn.Module):
    """x W^T + bias of rounded numbers; `weight` (Dout, Din) int8, `scales` (Dout,) float32."""

    def __init__(self, input_dims: int, output_dims: int, bias: bool = True):
        super().__init__()
        self.weight = mx.zeros((output_dims, input_dims), dtype=mx.int8)
        self.scales = mx.ones((output_dims,))
        if bias:
            self.bias = mx.zeros((output_dims,))

    @classmethod
    def unfilled(cls, linear: Any) -> Int8Linear:
        """Return a layer of a linear layer's size, for weights to be put in."""
        outputs, inputs = linear.weight.shape
        return cls(inputs, outputs, bias="bias" in linear)

    @classmethod
    def from_linear(cls, linear: Any) -> Int8Linear:
        """Return a linear layer with its weight rounded."""
        weight, scales = round_weight(np.array(linear.weight.astype(mx.float32)))
        made = cls.unfilled(linear)
        made.weight, made.scales = mx.array(weight), mx.array(scales)
        if "bias" in linear:
            made.bias = linear.bias
        return made

    def __call__(self, x: ops.X) -> ops.X:
        return ops.linear(x, self)

    def by_mlx(self, x: Float[mx.array, "*batch Din"]) -> Float[mx.array, "*batch Dout"]:
        """Return the layer's output: sums of integers as float32, exact below 2^24, in the precision of x."""
        wide = x.astype(mx.float32)
        largest = mx.abs(wide).max(axis=-1, keepdims=True)
        steps = mx.round(wide * mx.where(largest > LEAST, STEPS / largest, 0.0))
        sizes = mx.where(largest <= LEAST, 0.0, largest / STEPS)  # NaN stays
        y = (steps @ self.weight.astype(mx.float32).T) * (self.scales * sizes)
        return (y + self.bias if "bias" in self else y).astype(x.dtype)


def round_weight(
    weight: Float[np.ndarray, "Dout Din"],
) -> tuple[Int[np.ndarray, "Dout Din"], Float[np.ndarray, " Dout"]]:
    """Return a float32 weight as integers, int8, and the scale of each output, float32: 0 of a row of zeros."""
    scales = (np.abs(weight).max(axis=1) / np.float32(STEPS)).astype(np.float32)
    inverse = np.divide(1.0, scales, dtype=np.float64, where=scales > 0, out=np.zeros(len(scales)))
    return np.clip(np.rint(weight * inverse[:, None]), -STEPS, STEPS).astype(np.int8), scales


def can_round(shape: tuple[int, ...]) -> bool:
    """Whether a layer of these (outputs, inputs) can be computed so."""
    return shape[1] <= MOST_INPUTS
