"""CLAS: Paraformer's decoder with a second cross-attention, to them, in its last layer.

Mirrors funasr/models/contextual_paraformer/{model,decoder}.py. Layers are written against `ops`, as in sanm.py.
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float

from mlx_model import ops
from mlx_model.config.parts import ContextualParaformerDecoderConfig
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import as_written
from mlx_model.ops import Mask, TokenMask, X
from mlx_model.parts.basic import LayerNorm, Linear, PositionwiseFeedForwardDecoderSANM
from mlx_model.parts.sanm import DecoderLayerSANM, MultiHeadedAttentionCrossAtt, MultiHeadedAttentionSANMDecoder


class Halves(NamedTuple):
    """What `last_decoder` gives: tokens after its FSMN and residual, and what they attend to in the recording."""

    tokens: X
    context: X


@as_written
class ContextualDecoderLayer(nn.Module):
    """The last layer with cross-attention, whose two halves are returned apart: no residual goes around the attention.

    Mirrors funasr/models/contextual_paraformer/decoder.py::ContextualDecoderLayer; the sum that FunASR makes of the
    halves, too, nobody reads.
    """

    def __init__(self, size: int, config: ContextualParaformerDecoderConfig, eps: float, shift: int):
        super().__init__()
        self.feed_forward = PositionwiseFeedForwardDecoderSANM(size, config.linear_units, eps)
        self.norm1 = LayerNorm(size, eps)
        self.self_attn = MultiHeadedAttentionSANMDecoder(size, config.kernel_size, shift)
        self.norm2 = LayerNorm(size, eps)
        self.src_attn = MultiHeadedAttentionCrossAtt(config.attention_heads, size)
        self.norm3 = LayerNorm(size, eps)

    def __call__(self, tgt: X, tgt_mask: TokenMask, memory: X, memory_mask: Mask) -> Halves:
        x = self.feed_forward(self.norm1(tgt))
        x = tgt + self.self_attn(self.norm2(x), tgt_mask)
        return Halves(x, self.src_attn(self.norm3(x), memory, memory_mask))


@as_written
class ContextualBiasDecoder(nn.Module):
    """What tokens attend to among the hotwords: a norm and a cross-attention, no residual, no feed-forward.

    Mirrors funasr/models/contextual_paraformer/decoder.py::ContextualBiasDecoder.
    """

    def __init__(self, size: int, config: ContextualParaformerDecoderConfig, eps: float):
        super().__init__()
        self.src_attn = MultiHeadedAttentionCrossAtt(config.attention_heads, size)
        self.norm3 = LayerNorm(size, eps)

    def __call__(self, tgt: X, hotwords: X) -> X:
        return self.src_attn(self.norm3(tgt), hotwords)


@as_written
class ContextualParaformerDecoder(ops.Stack):
    """Acoustic embeddings (B, U, D), encoder_out (B, T, D) and hotwords (B, N, D) -> logits (B, U, V).

    `decoders` (att_layer_num - 1), `last_decoder` beside `bias_decoder`, both put together by `bias_output`,
    `decoders2` (the rest of num_blocks, where there is one; shift 0), `decoders3`, `after_norm`, `output_layer`; and
    `embed`, where hotwords are looked up there. Mirrors ContextualParaformerDecoder.forward, whose Conv1d of one tap,
    `bias_output`, is a product here.
    """

    def __init__(
        self, vocab_size: int, size: int, config: ContextualParaformerDecoderConfig, eps: float, embed: bool = False
    ):
        super().__init__()
        shift = (config.kernel_size - 1) // 2 if config.sanm_shfit is None else config.sanm_shfit
        extra = max(config.num_blocks - config.att_layer_num, 0)
        self.decoders = [
            DecoderLayerSANM(size, config, eps, shift, cross=True) for _ in range(config.att_layer_num - 1)
        ]
        self.last_decoder = ContextualDecoderLayer(size, config, eps, shift)
        self.bias_decoder = ContextualBiasDecoder(size, config, eps)
        self.bias_output = Linear(2 * size, size, bias=False)
        if extra:
            self.decoders2 = [DecoderLayerSANM(size, config, eps, 0) for _ in range(extra)]
        self.decoders3 = [DecoderLayerSANM(size, config, eps)]
        self.after_norm = LayerNorm(size, eps)
        self.output_layer = Linear(size, vocab_size)
        if embed:  # no module: engines have an operation for every module below a stack, and none for a look-up
            self.embed = [{"weight": mx.zeros((vocab_size, size))}]

    def __call__(
        self,
        acoustic_embeds: Float[mx.array, "B U D"],
        tgt_mask: TokenMask,
        memory: Float[mx.array, "B T D"],
        memory_mask: Mask,
        hotwords: Float[mx.array, "B N D"],
        clas_scale: float = 1.0,
    ) -> Float[mx.array, "B U V"]:
        x, tgt_mask = ops.enter(acoustic_embeds, tgt_mask, self)
        encoder_out, memory_mask = ops.enter(memory, memory_mask, self, like=x)
        entries, _ = ops.enter(hotwords, None, self, like=x)
        x = ops.through(self.decoders, x, tgt_mask, encoder_out, memory_mask)
        halves = self.last_decoder(x, tgt_mask, encoder_out, memory_mask)
        x = self.biased(halves, entries, clas_scale)
        x = ops.through([*self.get("decoders2", []), *self.decoders3], x, tgt_mask, encoder_out, memory_mask)
        return ops.leave(self.output_layer(self.after_norm(x)))

    def biased(self, halves: Halves, entries: X, clas_scale: float) -> X:
        """Return the tokens with what they found in the recording and in the hotwords."""
        return halves.tokens + self.mixed(halves.context, self.bias_decoder(halves.tokens, entries), clas_scale)

    def mixed(self, context: X, bias: X, clas_scale: float) -> X:
        """Return one of two: what was found in the recording, and in the hotwords, the latter `clas_scale` times."""
        both = ops.by_row(lambda a, c: mx.concatenate([a, c * clas_scale], axis=-1), context, bias)
        return self.bias_output(both)
