"""SANMEncoder: scale, add positions at the input width, `encoders0` (560 -> 512), `encoders`, `after_norm`.

Mirrors funasr/models/sanm/encoder.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float

from mlx_model import cpu_lanes
from mlx_model.attention import Mask, MultiHeadedAttentionSANM
from mlx_model.blas import mx, nn
from mlx_model.config import SANMEncoderConfig
from mlx_model.kept import as_written
from mlx_model.layers import LayerNorm, PositionwiseFeedForward, sinusoidal_positions

if TYPE_CHECKING:
    from mlx_model import cpu_network


@as_written
class EncoderLayerSANM(nn.Module):
    """Pre-norm block. No residual around the attention where the width changes (the first block).

    Mirrors funasr/models/sanm/encoder.py::EncoderLayerSANM.
    """

    def __init__(self, in_size: int, config: SANMEncoderConfig):
        super().__init__()
        size = config.output_size
        self.residual = in_size == size
        self.self_attn = MultiHeadedAttentionSANM(
            config.attention_heads, in_size, size, config.kernel_size, config.sanm_shfit
        )
        self.feed_forward = PositionwiseFeedForward(size, config.linear_units)
        self.norm1 = LayerNorm(in_size)
        self.norm2 = LayerNorm(size)

    def __call__(self, x: Float[mx.array, "B T Din"], mask: Mask = None) -> Float[mx.array, "B T D"]:
        attended = self.self_attn(self.norm1(x), mask)
        x = x + attended if self.residual else attended
        return x + self.feed_forward(self.norm2(x))


@as_written
class SANMEncoder(nn.Module):
    """Features (B, T, M*lfr_m) -> encoder_out (B, T, D). Mirrors funasr/models/sanm/encoder.py::SANMEncoder.

    The scale is sqrt(output_size), applied before the positions are added, although the width is still the input's.
    """

    def __init__(self, input_size: int, config: SANMEncoderConfig):
        super().__init__()
        size = config.output_size
        self.scale = size**0.5
        self.encoders0 = [EncoderLayerSANM(input_size, config)]
        self.encoders = [EncoderLayerSANM(size, config) for _ in range(config.num_blocks - 1)]
        self.after_norm = LayerNorm(size)
        self._engine: cpu_network.Encoder | None = None  # set by Model.prepare

    @property
    def layers(self) -> list[EncoderLayerSANM]:
        """All layers in the order they run."""
        return [*self.encoders0, *self.encoders]

    def __call__(self, feats: Float[mx.array, "B T Din"], mask: Mask = None) -> Float[mx.array, "B T D"]:
        x = feats * self.scale + sinusoidal_positions(*feats.shape[1:]).astype(feats.dtype)
        if self._engine is not None and self._engine.takes(self, x):
            return self._engine(self, x, mask)
        if cpu_lanes.use_lanes(x, self.layers):
            return cpu_lanes.encode(self, x, mask)
        for layer in self.layers:
            x = layer(x, mask)
            cpu_lanes.start(x)
        return self.after_norm(x)
