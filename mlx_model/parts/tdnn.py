"""CAM++'s densely connected TDNN: layers over time, each masked by what it hears around. (B, T, C) throughout.

Mirrors funasr/models/campplus/components.py. What ports get wrong: the last segment's mean is over its own length, not
over 100 frames; the deviation of the statistics is the unbiased one, with no epsilon; what a dense layer adds stands
behind what came, never before it.
"""

from __future__ import annotations

from jaxtyping import Float

from mlx_model import ops, ops_conv
from mlx_model.config.speaker_networks import nonlinearities
from mlx_model.machine.blas import mx, nn
from mlx_model.parts.basic import Linear
from mlx_model.parts.convolutional import BatchNorm, Conv1d

SEGMENT = 100  # frames whose mean is one context


class ReLU(nn.Module):
    """max(x, 0)."""

    def __call__(self, x: Float[mx.array, "*batch C"]) -> Float[mx.array, "*batch C"]:
        return ops.relu(x)


class PReLU(nn.Module):
    """x, where it is negative times a weight of its channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = mx.full((channels,), 0.25)

    def __call__(self, x: Float[mx.array, "*batch C"]) -> Float[mx.array, "*batch C"]:
        return mx.maximum(x, 0) + self.weight * mx.minimum(x, 0)


KINDS = {
    "batchnorm": lambda channels: BatchNorm(channels),
    "batchnorm_": lambda channels: BatchNorm(channels, affine=False),
    "relu": lambda channels: ReLU(),
    "prelu": PReLU,
}


class Nonlinear(nn.Module):
    """What `config_str` lists, in its order. Mirrors get_nonlinear."""

    def __init__(self, kinds: str, channels: int):
        super().__init__()
        self.order = [name.rstrip("_") for name in nonlinearities(kinds)]
        for name in nonlinearities(kinds):
            setattr(self, name.rstrip("_"), KINDS[name](channels))

    def __call__(self, x: Float[mx.array, "*batch C"]) -> Float[mx.array, "*batch C"]:
        for name in self.order:
            x = self[name](x)
        return x


class TDNNLayer(nn.Module):
    """A convolution over time that keeps its middle, and what follows. Mirrors TDNNLayer with padding < 0."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int, kinds: str):
        super().__init__()
        self.linear = Conv1d(inputs, outputs, kernel, stride=stride, padding=(kernel - 1) // 2)
        self.nonlinear = Nonlinear(kinds, outputs)

    def __call__(self, x: Float[mx.array, "B T C"]) -> Float[mx.array, "B To O"]:
        return self.nonlinear(self.linear(x))


def segment_means(x: Float[mx.array, "B T C"], size: int = SEGMENT) -> Float[mx.array, "B N C"]:
    """Return the mean of every segment of `size` frames, the last one's over the frames that it has, float32."""
    whole = x.shape[1] // size * size
    means = []
    if whole:
        means.append(ops_conv.time_mean(mx.unflatten(x[:, :whole], 1, (-1, size)))[:, :, 0])  # (B, T/100, C)
    if whole < x.shape[1]:
        means.append(ops_conv.time_mean(x[:, whole:]))
    return means[0] if len(means) == 1 else mx.concatenate(means, axis=1)


class CAMLayer(nn.Module):
    """A convolution, masked by a context: the mean of all frames plus the mean of the segment. Mirrors CAMLayer.

    The mask is the same for all frames of a segment, and computed once for it; FunASR computes it for every frame.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int):
        super().__init__()
        self.linear_local = Conv1d(inputs, outputs, kernel, padding=(kernel - 1) // 2 * dilation, dilation=dilation)
        self.linear1 = Linear(inputs, inputs // 2)
        self.linear2 = Linear(inputs // 2, outputs)

    def __call__(self, x: Float[mx.array, "B T C"]) -> Float[mx.array, "B T O"]:
        context = (ops_conv.time_mean(x) + segment_means(x)).astype(x.dtype)  # (B, N, C)
        mask = mx.sigmoid(self.linear2(ops.relu(self.linear1(context))))
        if mask.shape[1] > 1:
            mask = mx.repeat(mask, SEGMENT, axis=1)[:, : x.shape[1]]
        return self.linear_local(x) * mask


class CAMDenseTDNNLayer(nn.Module):
    """Bottleneck and masked convolution. Mirrors CAMDenseTDNNLayer."""

    def __init__(self, inputs: int, outputs: int, bottleneck: int, kernel: int, *, dilation: int, kinds: str):
        super().__init__()
        self.nonlinear1 = Nonlinear(kinds, inputs)
        self.linear1 = Linear(inputs, bottleneck, bias=False)
        self.nonlinear2 = Nonlinear(kinds, bottleneck)
        self.cam_layer = CAMLayer(bottleneck, outputs, kernel, dilation)

    def __call__(self, x: Float[mx.array, "B T C"]) -> Float[mx.array, "B T O"]:
        return self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))


class CAMDenseTDNNBlock(nn.Module):
    """Layers of which each hears all before it: `tdnnd1`, `tdnnd2`, ... Mirrors CAMDenseTDNNBlock."""

    def __init__(self, layers: int, inputs: int, growth: int, bottleneck: int, *, dilation: int, kinds: str):
        super().__init__()
        self.names = [f"tdnnd{number + 1}" for number in range(layers)]
        for number, name in enumerate(self.names):
            width = inputs + number * growth
            layer = CAMDenseTDNNLayer(width, growth, bottleneck, 3, dilation=dilation, kinds=kinds)
            setattr(self, name, layer)

    def __call__(self, x: Float[mx.array, "B T C"]) -> Float[mx.array, "B T O"]:
        for name in self.names:
            x = mx.concatenate([x, self[name](x)], axis=-1)
        return x


class TransitLayer(nn.Module):
    """Half as many channels. Mirrors TransitLayer."""

    def __init__(self, inputs: int, outputs: int, kinds: str):
        super().__init__()
        self.nonlinear = Nonlinear(kinds, inputs)
        self.linear = Linear(inputs, outputs, bias=False)

    def __call__(self, x: Float[mx.array, "B T C"]) -> Float[mx.array, "B T O"]:
        return self.linear(self.nonlinear(x))


class DenseLayer(nn.Module):
    """The embedding: a product and a BatchNorm that has no weights. Mirrors DenseLayer."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.linear = Linear(inputs, outputs, bias=False)
        self.nonlinear = Nonlinear("batchnorm_", outputs)

    def __call__(self, x: Float[mx.array, "B C"]) -> Float[mx.array, "B O"]:
        return self.nonlinear(self.linear(x))


class StatsPool(nn.Module):
    """Mean over time, then unbiased deviation. Mirrors StatsPool; its `eps` is never used there."""

    def __call__(self, x: Float[mx.array, "B T C"]) -> Float[mx.array, "B C2"]:
        return mx.concatenate([ops_conv.time_mean(x), ops_conv.time_deviation(x)], axis=-1)[:, 0].astype(x.dtype)
