"""ERes2NetV2: residual 2-D convolutions whose channels pass one after the other, fused by attention. (B, F, T, C).

Mirrors funasr/models/eres2net/eres2netv2.py and funasr/models/eres2net/fusion.py. What ports get wrong: inside blocks the ReLU ends at 20, the
stem's does not; the stride stands in the 1 x 1 convolution; widths are rounded down; the branch between the third and
the fourth layer has no BatchNorm.
"""

from __future__ import annotations

from jaxtyping import Float

from mlx_model import ops, ops_conv
from mlx_model.config.speaker_networks import ERes2NetV2Arguments
from mlx_model.machine.blas import mx, nn
from mlx_model.parts.basic import Linear
from mlx_model.parts.convolutional import BatchNorm, Conv2d

CEILING = 20.0  # of the ReLU inside blocks
REDUCTION = 4  # of the attention that fuses: `r`, which FunASR does not change
STD_EPS = 1e-8  # below the root of the statistics


def clipped(x: mx.array) -> mx.array:
    """Return x, at least 0 and at most 20. Mirrors eres2netv2.py::ReLU."""
    return mx.clip(x, 0.0, CEILING)


class SiLU(nn.Module):
    """x times its sigmoid."""

    def __call__(self, x: Float[mx.array, "*batch C"]) -> Float[mx.array, "*batch C"]:
        return x * mx.sigmoid(x)


class AFF(nn.Module):
    """x and y, each weighed by what both are: x (1 + tanh a) + y (1 - tanh a). Mirrors fusion.py::AFF."""

    def __init__(self, channels: int):
        super().__init__()
        inner = channels // REDUCTION
        self.local_att = [
            Conv2d(2 * channels, inner, 1, bias=True), BatchNorm(inner), SiLU(),
            Conv2d(inner, channels, 1, bias=True), BatchNorm(channels),
        ]  # fmt: skip

    def __call__(self, x: Float[mx.array, "B F T C"], y: Float[mx.array, "B F T C"]) -> Float[mx.array, "B F T C"]:
        weight = mx.concatenate([x, y], axis=-1)
        for module in self.local_att:
            weight = module(weight)
        weight = 1.0 + mx.tanh(weight)
        return x * weight + y * (2.0 - weight)


class Block(nn.Module):
    """Channels in `scale` parts, each convolved together with what the one before became.

    Mirrors BasicBlockERes2NetV2, and with `fused` BasicBlockERes2NetV2AFF, which fuses the parts where that adds them.
    """

    def __init__(self, inputs: int, planes: int, stride: int, config: ERes2NetV2Arguments, *, fused: bool):
        super().__init__()
        self.width, scale, outputs = config.width(planes), config.scale, planes * config.expansion
        self.conv1 = Conv2d(inputs, self.width * scale, 1, stride=(stride, stride))
        self.bn1 = BatchNorm(self.width * scale)
        self.convs = [Conv2d(self.width, self.width, 3) for _ in range(scale)]
        self.bns = [BatchNorm(self.width) for _ in range(scale)]
        self.fuse_models = [AFF(self.width) for _ in range(scale - 1)] if fused else []
        self.conv3, self.bn3 = Conv2d(self.width * scale, outputs, 1), BatchNorm(outputs)
        changes = stride != 1 or inputs != outputs
        self.shortcut = [Conv2d(inputs, outputs, 1, stride=(stride, stride)), BatchNorm(outputs)] if changes else []

    def __call__(self, x: Float[mx.array, "B F T C"]) -> Float[mx.array, "B Fo To O"]:
        parts = mx.split(clipped(self.bn1(self.conv1(x))), len(self.convs), axis=-1)
        done: list[mx.array] = []
        for number, (part, conv, norm) in enumerate(zip(parts, self.convs, self.bns, strict=True)):
            if number:
                part = self.fuse_models[number - 1](done[-1], part) if self.fuse_models else done[-1] + part
            done.append(clipped(norm(conv(part))))
        y = self.bn3(self.conv3(mx.concatenate(done, axis=-1)))
        for module in self.shortcut:
            x = module(x)
        return clipped(y + x)


class Pool(nn.Module):
    """Statistics over time, frequencies and channels side by side, channels slow.

    Mirrors TAP (mean), TSDP (deviation) and TSTP (both) of funasr/models/sond/pooling/pooling_layers.py.
    """

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def __call__(self, x: Float[mx.array, "B F T C"]) -> Float[mx.array, "B S"]:
        found = [ops_conv.time_mean(x)] if self.kind in ("TAP", "TSTP") else []
        found += [ops_conv.time_deviation(x, STD_EPS)] if self.kind in ("TSDP", "TSTP") else []
        flat = [part[:, :, 0].swapaxes(1, 2).flatten(1) for part in found]  # (B, C*F)
        return mx.concatenate(flat, axis=-1).astype(x.dtype)


class ERes2NetV2(nn.Module):
    """Features to embeddings, (B, T, F) to (B, D). Mirrors ERes2NetV2."""

    def __init__(self, config: ERes2NetV2Arguments):
        super().__init__()
        m, wide = config.m_channels, config.expansion
        self.conv1, self.bn1 = Conv2d(1, m, 3), BatchNorm(m)
        self.inputs = m
        self.layer1 = self._layer(m, config.num_blocks[0], 1, config, fused=False)
        self.layer2 = self._layer(2 * m, config.num_blocks[1], 2, config, fused=False)
        self.layer3 = self._layer(4 * m, config.num_blocks[2], 2, config, fused=True)
        self.layer4 = self._layer(8 * m, config.num_blocks[3], 2, config, fused=True)
        self.layer3_ds = Conv2d(4 * m * wide, 8 * m * wide, 3, stride=(2, 2))
        self.fuse34 = AFF(8 * m * wide)
        self.pool = Pool(config.pooling_func)
        self.seg_1 = Linear(config.stats_size, config.embedding_size)
        if config.two_emb_layer:
            self.seg_bn_1 = BatchNorm(config.embedding_size, affine=False)
            self.seg_2 = Linear(config.embedding_size, config.embedding_size)

    def _layer(self, planes: int, blocks: int, stride: int, config: ERes2NetV2Arguments, *, fused: bool) -> list[Block]:
        layers = []
        for number in range(blocks):
            layers.append(Block(self.inputs, planes, 1 if number else stride, config, fused=fused))
            self.inputs = planes * config.expansion
        return layers

    def __call__(self, x: Float[mx.array, "B T F"]) -> Float[mx.array, "B D"]:
        y = ops.relu(self.bn1(self.conv1(x.transpose(0, 2, 1)[..., None])))  # (B, F, T, C)
        for block in [*self.layer1, *self.layer2, *self.layer3]:
            y = block(y)
        third = y
        for block in self.layer4:
            y = block(y)
        embedding = self.seg_1(self.pool(self.fuse34(y, self.layer3_ds(third))))
        return self.seg_2(self.seg_bn_1(ops.relu(embedding))) if "seg_2" in self else embedding
