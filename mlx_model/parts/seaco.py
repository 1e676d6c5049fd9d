"""SeACo: the decoder that attends to hotwords (hotwords.py), and the choice between its tokens and the recogniser's.

Mirrors funasr/models/seaco_paraformer/model.py::SeacoParaformer (`_seaco_decode_with_ASF`, `_merge_res`) and
ParaformerSANMDecoder.forward_asf6 of funasr/models/e_paraformer/decoder.py. Where there are more than `KEPT` entries,
the ones that decoder state attends to most are kept (`best_entries`): FunASR looks at the first recording of a batch
only, here each recording keeps its own.
"""

from __future__ import annotations

from jaxtyping import Float, UInt

from mlx_model import ops
from mlx_model.config.parts import ParaformerSANMDecoderConfig
from mlx_model.machine.blas import mx
from mlx_model.machine.kept import as_written
from mlx_model.ops import Mask, TokenMask
from mlx_model.parts.sanm import ParaformerSANMDecoder

KEPT = 50  # entries that the filter keeps, beside [sos]; FunASR's `nfilter`, which nothing can set
FILTER_LAYER = 5  # of seaco_decoder.decoders, whose attention the filter reads


@as_written
class EmbeddingDecoder(ParaformerSANMDecoder):
    """A recogniser's decoder with its token table, `embed`, by which hotwords are spelt; it can return its states.

    The table is no module: engines have an operation for every module below a stack, and none for a look-up.
    """

    def __init__(self, vocab_size: int, size: int, config: ParaformerSANMDecoderConfig, eps: float):
        super().__init__(vocab_size, size, config, eps)
        self.embed = [{"weight": mx.zeros((vocab_size, size))}]

    def both(
        self,
        acoustic_embeds: Float[mx.array, "B U D"],
        tgt_mask: TokenMask,
        memory: Float[mx.array, "B T D"],
        memory_mask: Mask,
    ) -> tuple[Float[mx.array, "B U V"], Float[mx.array, "B U D"]]:
        """Return logits, and the states after `after_norm` that they are made of."""
        hidden = self.states(acoustic_embeds, tgt_mask, memory, memory_mask)
        return ops.leave(self.output_layer(hidden)), ops.leave(hidden)


@as_written
class SeacoDecoder(ParaformerSANMDecoder):
    """Tokens (B, U, D) attend to hotwords (B, N, D) in place of frames -> states (B, U, D); no output layer."""

    def __init__(self, size: int, config: ParaformerSANMDecoderConfig, eps: float):
        super().__init__(None, size, config, eps)

    def __call__(
        self,
        acoustic_embeds: Float[mx.array, "B U D"],
        tgt_mask: TokenMask,
        memory: Float[mx.array, "B N D"],
        memory_mask: Mask = None,
    ) -> Float[mx.array, "B U D"]:
        return ops.leave(self.states(acoustic_embeds, tgt_mask, memory, memory_mask))

    def forward_asf6(
        self, hidden: Float[mx.array, "B U D"], tgt_mask: TokenMask, memory: Float[mx.array, "M N D"]
    ) -> Float[mx.array, "B H U N"]:
        """Return the attention of layer FILTER_LAYER, each row of which sums up to 1; M is B, or 1 list for all."""
        x, tgt_mask = ops.enter(hidden, tgt_mask, self)
        entries, _ = ops.enter(memory, None, self, like=x)
        x = ops.through(self.decoders[:FILTER_LAYER], x, tgt_mask, entries, None)
        layer = self.decoders[FILTER_LAYER]
        attention = layer.src_attn
        assert attention is not None
        q = ops.leave(attention.linear_q(layer.norm3(layer.before_attention(x, tgt_mask))))
        k = ops.leave(ops.split(attention.linear_k_v(entries), 2)[0])
        q, k = (ops.split_heads(part, attention.heads) for part in (q, k))  # (B, H, ., D/H)
        return mx.softmax((q * q.shape[-1] ** -0.5) @ k.swapaxes(-1, -2), axis=-1, precise=True)


def hotword_scores(attention: Float[mx.array, "B H U N"], tgt_mask: TokenMask) -> Float[mx.array, "B N"]:
    """Return how much each entry is attended to: summed over heads and a recording's own tokens, float32."""
    summed = attention.astype(mx.float32).sum(axis=1)  # (B, U, N)
    return ops.masked(summed, tgt_mask).sum(axis=1)


def best_entries(scores: Float[mx.array, "B N"]) -> UInt[mx.array, "B K"]:
    """Return the numbers of the KEPT entries with the highest scores, best first, and of the last one, [sos].

    [sos] is among those that are ranked, so it may stand there twice, and then has twice the weight: as in FunASR.
    """
    best = mx.argsort(-scores, axis=-1)[:, :KEPT]
    last = mx.full((len(scores), 1), scores.shape[1] - 1, dtype=best.dtype)
    return mx.concatenate([best, last], axis=1)


def merge(logits: Float[mx.array, "B U V"], biased: Float[mx.array, "B U V"], no_bias: int) -> Float[mx.array, "B U V"]:
    """Return `biased` where its best token is not `no_bias`, and `logits` where it is.

    FunASR's weighted sum of log probabilities, whose weight it never sets to another than 1. Which of the two a
    position has been given shows in nothing else: both are as likely to hold a hotword.
    """
    abstains = biased.argmax(axis=-1, keepdims=True) == no_bias
    return mx.where(abstains, logits, biased)
