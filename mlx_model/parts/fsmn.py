"""FSMN: a feed-forward network with memory. Linear, depthwise taps into the past (and future), affine, ReLU, stacked.

Mirrors funasr/models/fsmn_vad_streaming/encoder.py. In a stream every block keeps the frames its taps reach back to
in a cache; without a cache the past is zero.
"""

from __future__ import annotations

from jaxtyping import Float

from mlx_model import ops, ops_stream
from mlx_model.config.parts import FSMNConfig
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import Kept, as_written
from mlx_model.ops_cpu import depthwise_taps
from mlx_model.parts.basic import Linear

Cache = dict[str, mx.array]  # "cache_layer_0" -> (B, past, D): what a block's taps still need of earlier chunks
X = ops.X


@as_written
class LinearTransform(nn.Module):
    """x W^T. Mirrors encoder.py::LinearTransform."""

    def __init__(self, input_dim: int, output_dim: int):
        super().__init__()
        self.linear = Linear(input_dim, output_dim, bias=False)

    def __call__(self, x: X) -> X:
        return self.linear(x)


@as_written
class AffineTransform(nn.Module):
    """x W^T + b. Mirrors encoder.py::AffineTransform."""

    def __init__(self, input_dim: int, output_dim: int):
        super().__init__()
        self.linear = Linear(input_dim, output_dim)

    def __call__(self, x: X) -> X:
        return self.linear(x)


@as_written
class RectifiedLinear(nn.Module):
    """max(x, 0). Mirrors encoder.py::RectifiedLinear, whose dropout acts in training only."""

    def __call__(self, x: X) -> X:
        return ops.relu(x)


@as_written
class Softmax(nn.Module):
    """Probabilities over the last axis. Exponentials of 16-bit scores are taken and added up in float32, as in torch.

    MLX would take them in 16 bits: five times further from the truth than FunASR in float16, measured by parity.
    """

    def __call__(self, x: X) -> X:
        return ops.softmax(x)


@as_written
class Taps(nn.Module):
    """One bias-free kernel per channel over time; `weight` is (D, K, 1, 1), FunASR's Conv2d (D, 1, K, 1) transposed.

    `stride` is the distance of the taps (the convolution's dilation), FunASR's lstride / rstride; `reach` that of the
    first from the last. `ops_stream` computes with them.
    """

    def __init__(self, dims: int, order: int, stride: int):
        super().__init__()
        self.weight = mx.zeros((dims, order, 1, 1))
        self.stride = stride
        self.reach = (order - 1) * stride
        self._taps: tuple[Kept, list[mx.array], mx.array] | None = None  # the weight, and what the CPU made of it

    def convolve(self, padded: Float[mx.array, "B Tp D"]) -> Float[mx.array, "B T D"]:
        """Return the convolution of padded frames, T = Tp - reach."""
        return ops.dilated(padded, self)

    def taps(self) -> tuple[list[mx.array], mx.array]:
        """Return the weights of each tap, (D,) side by side, and of all, (K, D): what a CPU computes with."""
        if self._taps is None or not self._taps[0].is_still(self.weight):
            weight = self.weight[..., 0]  # (D, K, 1)
            self._taps = (Kept(self.weight), depthwise_taps(weight), mx.contiguous(weight[..., 0].T))
            mx.eval(self._taps[2])
        return self._taps[1:]


@as_written
class FSMNBlock(nn.Module):
    """x + taps over the past + taps over the future. Mirrors encoder.py::FSMNBlock.

    The past includes the frame itself: lorder taps, lstride frames apart. The future starts rstride frames ahead:
    rorder taps. A chunk's future beyond its end is zero, in a stream too, as in FunASR.
    """

    def __init__(self, dims: int, config: FSMNConfig):
        super().__init__()
        self.conv_left = Taps(dims, config.lorder, config.lstride)
        self.conv_right = Taps(dims, config.rorder, config.rstride) if config.rorder > 0 else None

    def __call__(self, x: X, cache: Float[mx.array, "B past D"] | None = None) -> tuple[X, Float[mx.array, "B past D"]]:
        """Return the block's output and the cache for the next chunk; a missing cache is a past of zeros."""
        memory, past = ops_stream.recall(x, self.conv_left, cache)
        out = x + memory
        return (out if self.conv_right is None else out + ops_stream.expect(x, self.conv_right)), past


@as_written
class BasicBlock(nn.Module):
    """relu(affine(fsmn_block(linear(x)))). Mirrors encoder.py::BasicBlock."""

    def __init__(self, config: FSMNConfig, stack_layer: int):
        super().__init__()
        self.name = f"cache_layer_{stack_layer}"
        self.linear = LinearTransform(config.linear_dim, config.proj_dim)
        self.fsmn_block = FSMNBlock(config.proj_dim, config)
        self.affine = AffineTransform(config.proj_dim, config.linear_dim)
        self.relu = RectifiedLinear()

    def __call__(self, x: X, cache: Cache | None = None) -> X:
        """Return the block's output; what `cache` holds of this block is replaced, as in FunASR."""
        x, past = self.fsmn_block(self.linear(x), None if cache is None else cache.get(self.name))
        if cache is not None:
            cache[self.name] = past
        return self.relu(self.affine(x))


@as_written
class FSMN(ops.Stack):
    """Features (B, T, input_dim) -> probabilities of the pdfs (B, T, output_dim). Mirrors encoder.py::FSMN.

    `in_linear1` has no activation of its own; the ReLU stands after `in_linear2`.
    """

    def __init__(self, config: FSMNConfig):
        super().__init__()
        self.in_linear1 = AffineTransform(config.input_dim, config.input_affine_dim)
        self.in_linear2 = AffineTransform(config.input_affine_dim, config.linear_dim)
        self.relu = RectifiedLinear()
        self.fsmn = [BasicBlock(config, layer) for layer in range(config.fsmn_layers)]
        self.out_linear1 = AffineTransform(config.linear_dim, config.output_affine_dim)
        self.out_linear2 = AffineTransform(config.output_affine_dim, config.output_dim)
        self.softmax = Softmax()

    def __call__(self, feats: Float[mx.array, "B T Din"], cache: Cache | None = None) -> Float[mx.array, "B T pdfs"]:
        """Return the probabilities; `cache` is {} at the start of a stream and updated in place, as in FunASR."""
        x, _ = ops.enter(feats, None, self)
        x = self.relu(self.in_linear2(self.in_linear1(x)))
        for block in self.fsmn:
            x = block(x, cache)
        return ops.leave(self.softmax(self.out_linear2(self.out_linear1(x))))
