"""CAM++: who speaks, as a vector. Front end, residual head over frequency, densely connected TDNN, statistics.

Mirrors funasr/models/campplus/model.py::CAMPPlus.
"""

from __future__ import annotations

from jaxtyping import Float

from mlx_model import ops
from mlx_model.config.campplus import CAMPPlusConfig
from mlx_model.config.speaker_networks import CAMPPlusArguments
from mlx_model.machine.blas import mx, nn
from mlx_model.parts.resnet2d import CHANNELS, FCM
from mlx_model.parts.speaker import SpeakerFrontend, SpeakerModel
from mlx_model.parts.tdnn import CAMDenseTDNNBlock, DenseLayer, Nonlinear, StatsPool, TDNNLayer, TransitLayer

LAYERS, DILATIONS = (12, 24, 16), (1, 2, 2)  # of the three blocks; FunASR's class has them in its body
LEAST_FRAMES = 3  # two frames of the TDNN: a deviation takes two


class XVector(nn.Module):
    """The layers over time, named as FunASR's Sequential names them."""

    def __init__(self, config: CAMPPlusArguments):
        super().__init__()
        kinds, growth = config.config_str, config.growth_rate
        channels = config.init_channels
        self.names = ["tdnn"]
        self.tdnn = TDNNLayer(CHANNELS * 10, channels, 5, stride=2, kinds=kinds)
        for number, (layers, dilation) in enumerate(zip(LAYERS, DILATIONS, strict=True), 1):
            bottleneck = config.bn_size * growth
            block = CAMDenseTDNNBlock(layers, channels, growth, bottleneck, dilation=dilation, kinds=kinds)
            channels += layers * growth
            transit = TransitLayer(channels, channels // 2, kinds)
            channels //= 2
            for name, module in ((f"block{number}", block), (f"transit{number}", transit)):
                setattr(self, name, module)
                self.names.append(name)
        self.out_nonlinear = Nonlinear(kinds, channels)
        self.names.append("out_nonlinear")
        if config.output_level == "segment":
            self.stats, self.dense = StatsPool(), DenseLayer(2 * channels, config.embedding_size)
            self.names += ["stats", "dense"]

    def __call__(self, x: Float[mx.array, "B T C"]) -> Float[mx.array, "B ..."]:
        """Return what the layers make of frames, (B, D) or (B, T, C)."""
        for name in self.names:
            x = self[name](x)
            ops.start(x)
        return x


class Model(SpeakerModel):
    """A CAM++. Attributes with parameters carry FunASR's names: head, xvector. An Embedder (roles.py)."""

    def __init__(self, config: CAMPPlusConfig):
        super().__init__()
        self.config = config
        self.frontend = SpeakerFrontend(config.frontend, LEAST_FRAMES)
        self.head = FCM()
        self.xvector = XVector(config.network)

    @property
    def dtype(self) -> mx.Dtype:
        """The network's precision; features are float32."""
        return self.head.conv1.weight.dtype

    @property
    def engine(self) -> str:
        """What computes the network here, in words; see `numerics.py`."""
        return ops.in_words(self.xvector)

    def network(self, feats: Float[mx.array, "B T F"]) -> Float[mx.array, "B ..."]:
        """Return embeddings (B, D), or with `output_level` frame (B, T, C): what the layers make of features."""
        return self.xvector(self.head(feats.astype(self.dtype)))
