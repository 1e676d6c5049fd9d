"""SAN-M: attention with an FSMN memory, the encoder made of it, and Paraformer's parallel decoder.

Mirrors funasr/models/sanm/attention.py, funasr/models/sanm/encoder.py and funasr/models/paraformer/decoder.py, class by
class. Layers are written against `ops`: x is an array (B, T, D), or an engine's rows. `mask` is (B, T) bool, or None
where nothing is padded, and for rows, which know how long their recordings are.
"""

from __future__ import annotations

from typing import Any, ClassVar

from jaxtyping import Float

from mlx_model import ops
from mlx_model.config.parts import ParaformerSANMDecoderConfig, SANMEncoderConfig, SenseVoiceEncoderSmallConfig
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import as_written
from mlx_model.ops import Mask, TokenMask, X, attend
from mlx_model.parts.basic import (
    DepthwiseConv1d,
    LayerNorm,
    Linear,
    PositionwiseFeedForward,
    PositionwiseFeedForwardDecoderSANM,
    sinusoidal_positions,
)


def forward_fsmn(block: DepthwiseConv1d, inputs: X, mask: Mask) -> X:
    """Return the memory: masked input, plus its depthwise convolution over time, masked again.

    Mirrors MultiHeadedAttentionSANM.forward_fsmn (which adds in place: its own conv output changes under a hook).
    """
    return ops.memory(inputs, block, mask)


@as_written
class MultiHeadedAttentionSANM(nn.Module):
    """Encoder self-attention; the FSMN memory of v is added after the output projection."""

    def __init__(self, heads: int, in_size: int, size: int, kernel_size: int, shift: int):
        super().__init__()
        self.heads = heads
        self.linear_q_k_v = Linear(in_size, 3 * size)
        self.linear_out = Linear(size, size)
        self.fsmn_block = DepthwiseConv1d(size, kernel_size, shift)

    def __call__(self, x: X, mask: Mask = None) -> X:
        q, k, v = ops.split(self.linear_q_k_v(x), 3)  # each (B, T, D)
        memory = forward_fsmn(self.fsmn_block, v, mask)
        return self.linear_out(attend(q, k, v, self.heads, mask)) + memory


@as_written
class MultiHeadedAttentionSANMDecoder(nn.Module):
    """The decoder's "self-attention": FSMN memory only, no attention."""

    def __init__(self, size: int, kernel_size: int, shift: int):
        super().__init__()
        self.fsmn_block = DepthwiseConv1d(size, kernel_size, shift)

    def __call__(self, inputs: X, mask: TokenMask = None) -> X:
        return forward_fsmn(self.fsmn_block, inputs, mask)


@as_written
class MultiHeadedAttentionCrossAtt(nn.Module):
    """Tokens attend to the encoder output; keys and values come from one fused projection."""

    def __init__(self, heads: int, size: int):
        super().__init__()
        self.heads = heads
        self.linear_q = Linear(size, size)
        self.linear_k_v = Linear(size, 2 * size)
        self.linear_out = Linear(size, size)

    def __call__(self, x: X, memory: X, memory_mask: Mask = None) -> X:
        k, v = ops.split(self.linear_k_v(memory), 2)  # each (B, T, D)
        return self.linear_out(attend(self.linear_q(x), k, v, self.heads, memory_mask))


@as_written
class EncoderLayerSANM(nn.Module):
    """Pre-norm block. No residual around the attention where the width changes (the first block).

    Mirrors funasr/models/sanm/encoder.py::EncoderLayerSANM.
    """

    Attention: ClassVar[type[Any]] = MultiHeadedAttentionSANM

    def __init__(self, in_size: int, config: SANMEncoderConfig, eps: float):
        super().__init__()
        size = config.output_size
        self.residual = in_size == size
        self.self_attn = self.Attention(
            config.attention_heads, in_size, size, config.kernel_size, config.sanm_shfit
        )
        self.feed_forward = PositionwiseFeedForward(size, config.linear_units)
        self.norm1 = LayerNorm(in_size, eps)
        self.norm2 = LayerNorm(size, eps)

    def __call__(self, x: X, mask: Mask = None) -> X:
        attended = self.self_attn(self.norm1(x), mask)
        x = x + attended if self.residual else attended
        return x + self.feed_forward(self.norm2(x))


@as_written
class SANMEncoder(ops.Stack):
    """Features (B, T, M*lfr_m) -> encoder_out (B, T, D). Mirrors funasr/models/sanm/encoder.py::SANMEncoder.

    The scale is sqrt(output_size), applied before the positions are added, although the width is still the input's.
    """

    Layer: ClassVar[type[Any]] = EncoderLayerSANM

    def __init__(self, input_size: int, config: SANMEncoderConfig, eps: float):
        super().__init__()
        size = config.output_size
        self.scale = size**0.5
        self.encoders0 = [self.Layer(input_size, config, eps)]
        self.encoders = [self.Layer(size, config, eps) for _ in range(config.num_blocks - 1)]
        self.after_norm = LayerNorm(size, eps)

    @property
    def layers(self) -> list[EncoderLayerSANM]:
        """All layers in the order they run."""
        return [*self.encoders0, *self.encoders]

    def positioned(self, feats: Float[mx.array, "B T Din"]) -> Float[mx.array, "B T Din"]:
        """Return scaled features with positions, in the layers' precision: rounded once, at the end."""
        return (feats * self.scale + sinusoidal_positions(*feats.shape[1:])).astype(self.after_norm.weight.dtype)

    def __call__(self, feats: Float[mx.array, "B T Din"], mask: Mask = None) -> Float[mx.array, "B T D"]:
        x, mask = ops.enter(self.positioned(feats), mask, self)
        x = self.after_norm(ops.through(self.layers, x, mask))
        return ops.leave(x)


@as_written
class SenseVoiceEncoderSmall(SANMEncoder):
    """The same with a second stack of layers behind the norm, and a norm of its own: `tp_encoders`, `tp_norm`.

    Both norms are there without such layers, too. Mirrors funasr/models/sense_voice/model.py::SenseVoiceEncoderSmall.
    """

    def __init__(self, input_size: int, config: SenseVoiceEncoderSmallConfig, eps: float):
        super().__init__(input_size, config, eps)
        size = config.output_size
        self.tp_encoders = [EncoderLayerSANM(size, config, eps) for _ in range(config.tp_blocks)]
        self.tp_norm = LayerNorm(size, eps)

    def __call__(self, feats: Float[mx.array, "B T Din"], mask: Mask = None) -> Float[mx.array, "B T D"]:
        x, mask = ops.enter(self.positioned(feats), mask, self)
        x = self.after_norm(ops.through(self.layers, x, mask))
        x = self.tp_norm(ops.through(self.tp_encoders, x, mask))
        return ops.leave(x)


@as_written
class DecoderLayerSANM(nn.Module):
    """One layer with (`decoders`), or without cross-attention (`decoders2`), or feed-forward alone (`decoders3`).

    The residual goes around feed-forward and FSMN together; a layer without FSMN has none at all, as in FunASR.
    Mirrors funasr/models/paraformer/decoder.py::DecoderLayerSANM.
    """

    Memory: ClassVar[type[Any]] = MultiHeadedAttentionSANMDecoder
    Cross: ClassVar[type[Any]] = MultiHeadedAttentionCrossAtt

    def __init__(
        self,
        size: int,
        config: ParaformerSANMDecoderConfig,
        eps: float,
        shift: int | None = None,
        cross: bool = False,
    ):
        super().__init__()
        self.feed_forward = PositionwiseFeedForwardDecoderSANM(size, config.linear_units, eps)
        self.norm1 = LayerNorm(size, eps)
        self.self_attn = self.src_attn = None
        if shift is not None:
            self.self_attn = self.Memory(size, config.kernel_size, shift)
            self.norm2 = LayerNorm(size, eps)
        if cross:
            self.src_attn = self.Cross(config.attention_heads, size)
            self.norm3 = LayerNorm(size, eps)

    def __call__(self, tgt: X, tgt_mask: TokenMask, memory: X, memory_mask: Mask) -> X:
        x = self.before_attention(tgt, tgt_mask)
        if self.src_attn is not None:
            x = x + self.src_attn(self.norm3(x), memory, memory_mask)
        return x

    def before_attention(self, tgt: X, tgt_mask: TokenMask) -> X:
        """Return what `norm3` and the cross-attention are given."""
        x = self.feed_forward(self.norm1(tgt))
        return x if self.self_attn is None else tgt + self.self_attn(self.norm2(x), tgt_mask)


@as_written
class ParaformerSANMDecoder(ops.Stack):
    """Acoustic embeddings (B, U, D) and encoder_out (B, T, D) -> logits (B, U, V).

    `decoders` (att_layer_num), `decoders2` (the rest of num_blocks, where there is one; shift 0), `decoders3`,
    `after_norm`, `output_layer`. Mirrors funasr/models/paraformer/decoder.py::ParaformerSANMDecoder.forward.
    A `vocab_size` of None leaves the output layer away: a subclass then returns states.
    """

    Layer: ClassVar[type[Any]] = DecoderLayerSANM

    def __init__(self, vocab_size: int | None, size: int, config: ParaformerSANMDecoderConfig, eps: float):
        super().__init__()
        shift = (config.kernel_size - 1) // 2 if config.sanm_shfit is None else config.sanm_shfit
        extra = max(config.num_blocks - config.att_layer_num, 0)
        self.decoders = [self.Layer(size, config, eps, shift, cross=True) for _ in range(config.att_layer_num)]
        if extra:
            self.decoders2 = [self.Layer(size, config, eps, 0) for _ in range(extra)]
        self.decoders3 = [self.Layer(size, config, eps)]
        self.after_norm = LayerNorm(size, eps)
        if vocab_size is not None:
            self.output_layer = Linear(size, vocab_size)

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
        return ops.leave(self.output_layer(self.states(acoustic_embeds, tgt_mask, memory, memory_mask)))

    def states(
        self,
        acoustic_embeds: Float[mx.array, "B U D"],
        tgt_mask: TokenMask,
        memory: Float[mx.array, "B T D"],
        memory_mask: Mask,
    ) -> X:
        """Return what the output layer is given, (B, U, D), not yet left: FunASR's `return_hidden`."""
        x, tgt_mask = ops.enter(acoustic_embeds, tgt_mask, self)
        encoder_out, memory_mask = ops.enter(memory, memory_mask, self, like=x)
        return self.after_norm(ops.through(self.layers, x, tgt_mask, encoder_out, memory_mask))
