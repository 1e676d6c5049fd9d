"""ERes2NetV2: who speaks, as a vector. CAM++'s front end, and one residual network over frequency and time.

Mirrors funasr/models/eres2net/model.py::ERes2NetV2SV.
"""

from __future__ import annotations

from jaxtyping import Float

from mlx_model import ops
from mlx_model.config.eres2net_v2 import ERes2NetV2Config
from mlx_model.machine.blas import mx
from mlx_model.parts.eres2net import ERes2NetV2
from mlx_model.parts.speaker import SpeakerFrontend, SpeakerModel

LEAST_FRAMES = 9  # two frames behind three strides of 2: a deviation takes two


class Model(SpeakerModel):
    """An ERes2NetV2. FunASR's class keeps the network in `model`, and so does this. An Embedder (roles.py)."""

    def __init__(self, config: ERes2NetV2Config):
        super().__init__()
        self.config = config
        self.frontend = SpeakerFrontend(config.frontend, LEAST_FRAMES)
        self.model = ERes2NetV2(config.network)

    @property
    def dtype(self) -> mx.Dtype:
        """The network's precision; features are float32."""
        return self.model.conv1.weight.dtype

    @property
    def engine(self) -> str:
        """What computes the network here, in words; see `numerics.py`."""
        return ops.in_words(self.model)

    def network(self, feats: Float[mx.array, "B T F"]) -> Float[mx.array, "B D"]:
        """Return embeddings (B, D) of features."""
        return self.model(feats.astype(self.dtype))
