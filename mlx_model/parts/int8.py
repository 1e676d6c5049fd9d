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
PAIR = 127.999  # what two neighbouring weights are at most together, in steps: 128 when they are rounded
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
    """Return a float32 weight as integers, int8, and the scale of each output, float32: 0 of a row of zeros.

    A scale is the least with which no integer is larger than 127, and no two neighbours (of inputs 0 and 1, 2 and 3,
    ...) are larger than 128 together: processors with AVX2 then sum their products in 16 bits, 255 * 128. Normally
    distributed weights have 1.4 times larger steps for it.
    """
    sizes = np.abs(weight.astype(np.float64))
    pairs = np.add.reduceat(sizes, np.arange(0, weight.shape[1], 2), axis=1)
    scales = np.maximum(sizes.max(axis=1) / STEPS, pairs.max(axis=1) / PAIR).astype(np.float32)
    integers = np.rint(np.divide(weight, scales[:, None], where=scales[:, None] > 0, out=np.zeros_like(sizes)))
    return np.clip(integers, -STEPS, STEPS).astype(np.int8), scales


def can_round(shape: tuple[int, ...]) -> bool:
    """Whether a layer of these (outputs, inputs) can be computed so."""
    return shape[1] <= MOST_INPUTS
