"""ParaformerSANMDecoder: all tokens at once, from acoustic embeddings and the encoder's output.

Mirrors funasr/models/paraformer/decoder.py. Order inside a layer: feed-forward, FSMN, cross-attention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float

from mlx_model import cpu_lanes
from mlx_model.attention import Mask, MultiHeadedAttentionCrossAtt, MultiHeadedAttentionSANMDecoder, TokenMask
from mlx_model.blas import mx, nn
from mlx_model.config import ParaformerSANMDecoderConfig
from mlx_model.kept import as_written
from mlx_model.layers import LayerNorm, Linear, PositionwiseFeedForwardDecoderSANM

if TYPE_CHECKING:
    from mlx_model import cpu_network


@as_written
class DecoderLayerSANM(nn.Module):
    """One layer with (`decoders`), or without cross-attention (`decoders2`), or feed-forward alone (`decoders3`).

    The residual goes around feed-forward and FSMN together; a layer without FSMN has none at all, as in FunASR.
    Mirrors funasr/models/paraformer/decoder.py::DecoderLayerSANM.
    """

    def __init__(self, size: int, config: ParaformerSANMDecoderConfig, shift: int | None = None, cross: bool = False):
        super().__init__()
        self.feed_forward = PositionwiseFeedForwardDecoderSANM(size, config.linear_units)
        self.norm1 = LayerNorm(size)
        self.self_attn = self.src_attn = None
        if shift is not None:
            self.self_attn = MultiHeadedAttentionSANMDecoder(size, config.kernel_size, shift)
            self.norm2 = LayerNorm(size)
        if cross:
            self.src_attn = MultiHeadedAttentionCrossAtt(config.attention_heads, size)
            self.norm3 = LayerNorm(size)

    def __call__(
        self, tgt: Float[mx.array, "B U D"], tgt_mask: TokenMask, memory: Float[mx.array, "B T D"], memory_mask: Mask
    ) -> Float[mx.array, "B U D"]:
        x = self.feed_forward(self.norm1(tgt))
        if self.self_attn is not None:
            x = tgt + self.self_attn(self.norm2(x), tgt_mask)
        if self.src_attn is not None:
            x = x + self.src_attn(self.norm3(x), memory, memory_mask)
        return x


@as_written
class ParaformerSANMDecoder(nn.Module):
    """Acoustic embeddings (B, U, D) and encoder_out (B, T, D) -> logits (B, U, V).

    `decoders` (att_layer_num), `decoders2` (the rest of num_blocks, where there is one; shift 0), `decoders3`,
    `after_norm`, `output_layer`. Mirrors funasr/models/paraformer/decoder.py::ParaformerSANMDecoder.forward.
    """

    def __init__(self, vocab_size: int, size: int, config: ParaformerSANMDecoderConfig):
        super().__init__()
        shift = (config.kernel_size - 1) // 2 if config.sanm_shfit is None else config.sanm_shfit
        extra = max(config.num_blocks - config.att_layer_num, 0)
        self.decoders = [DecoderLayerSANM(size, config, shift, cross=True) for _ in range(config.att_layer_num)]
        if extra:
            self.decoders2 = [DecoderLayerSANM(size, config, 0) for _ in range(extra)]
        self.decoders3 = [DecoderLayerSANM(size, config)]
        self.after_norm = LayerNorm(size)
        self.output_layer = Linear(size, vocab_size)
        self._engine: cpu_network.Decoder | None = None  # set by Model.prepare

    @property
    def layers(self) -> list[DecoderLayerSANM]:
        """All layers in the order they run."""
        return [*self.decoders, *self.get("decoders2", []), *self.decoders3]

    def __call__(
        self,
        acoustic_embeds: Float[mx.array, "B U D"],
        tgt_mask: TokenMask,
        memory: Float[mx.array, "B T D"],
        memory_mask: Mask,
    ) -> Float[mx.array, "B U V"]:
        if self._engine is not None and self._engine.takes(self, acoustic_embeds, memory):
            return self._engine(self, acoustic_embeds, tgt_mask, memory, memory_mask)
        if cpu_lanes.use_lanes(acoustic_embeds, self.layers):
            return cpu_lanes.decode(self, acoustic_embeds, tgt_mask, memory, memory_mask)
        x = acoustic_embeds
        for layer in self.layers:
            x = layer(x, tgt_mask, memory, memory_mask)
            cpu_lanes.start(x)
        return self.output_layer(self.after_norm(x))
