"""CAM++'s head: residual 2-D convolutions over frequency and time that keep every frame. (B, F, T, C) throughout.

Mirrors funasr/models/campplus/components.py::FCM. Strides act on frequency alone; what leaves is (B, T, C * F) with the
channel slow and frequency fast.
"""

from __future__ import annotations

from jaxtyping import Float

from mlx_model import ops
from mlx_model.machine.blas import mx, nn
from mlx_model.parts.convolutional import BatchNorm, Conv2d

CHANNELS = 32  # m_channels, which CAMPPlus does not change
BLOCKS = 2


class BasicResBlock(nn.Module):
    """Two convolutions beside a shortcut, which is a convolution where the size changes. Mirrors BasicResBlock."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = Conv2d(inputs, outputs, 3, stride=(stride, 1)), BatchNorm(outputs)
        self.conv2, self.bn2 = Conv2d(outputs, outputs, 3), BatchNorm(outputs)
        changes = stride != 1 or inputs != outputs
        self.shortcut = [Conv2d(inputs, outputs, 1, stride=(stride, 1)), BatchNorm(outputs)] if changes else []

    def __call__(self, x: Float[mx.array, "B F T C"]) -> Float[mx.array, "B Fo T O"]:
        y = self.bn2(self.conv2(ops.relu(self.bn1(self.conv1(x)))))
        for module in self.shortcut:
            x = module(x)
        return ops.relu(y + x)


class FCM(nn.Module):
    """Three halvings of frequency, then flattened. Mirrors FCM; `layer2` has as many blocks as `layer1` there, too."""

    def __init__(self, channels: int = CHANNELS):
        super().__init__()
        self.conv1, self.bn1 = Conv2d(1, channels, 3), BatchNorm(channels)
        self.layer1 = [BasicResBlock(channels, channels, 1 if number else 2) for number in range(BLOCKS)]
        self.layer2 = [BasicResBlock(channels, channels, 1 if number else 2) for number in range(BLOCKS)]
        self.conv2, self.bn2 = Conv2d(channels, channels, 3, stride=(2, 1)), BatchNorm(channels)

    def __call__(self, x: Float[mx.array, "B T F"]) -> Float[mx.array, "B T C"]:
        y = ops.relu(self.bn1(self.conv1(x.transpose(0, 2, 1)[..., None])))  # (B, F, T, C)
        for block in [*self.layer1, *self.layer2]:
            y = block(y)
        y = ops.relu(self.bn2(self.conv2(y)))
        return y.transpose(0, 2, 3, 1).flatten(2)  # (B, T, C*F)
