"""The SAN-M encoder of streaming punctuation: words see what came before them; in the last layer, all but a corner.

Mirrors funasr/models/ct_transformer_streaming/{encoder,attention}.py. The FSMN's memory gets the mask of the padding
alone, the attention one of its own: causal in `encoders0` and in all layers but the last. In the last one the words up
to a pause see nothing behind it, but for the one before it, which sees everything: the word whose mark is open.
"""

from __future__ import annotations

from typing import Any, ClassVar

from jaxtyping import Bool, Float, Int

from mlx_model import ops
from mlx_model.machine.blas import mx
from mlx_model.machine.kept import as_written
from mlx_model.ops import Mask, Seen, X
from mlx_model.parts.basic import sinusoidal_positions
from mlx_model.parts.sanm import EncoderLayerSANM, MultiHeadedAttentionSANM, SANMEncoder, forward_fsmn


def subsequent_mask(size: int) -> Bool[mx.array, "T T"]:
    """Return True where a word (row) sees another (column): itself, and those before it.

    Mirrors funasr/models/transformer/utils/mask.py::subsequent_mask.
    """
    at = mx.arange(size)
    return at[None, :] <= at[:, None]


def vad_mask(size: int, vad_indexes: Int[mx.array, " B"]) -> Bool[mx.array, "B T T"]:
    """Return what words see where `vad_indexes` words stand before a pause: everything, but for a corner.

    The first n - 1 of them do not see the words behind the pause. No corner where n is 0 or all there are. Mirrors
    funasr/models/transformer/utils/mask.py::vad_mask.
    """
    at, n = mx.arange(size), vad_indexes[:, None, None]
    corner = (at[None, :, None] < n - 1) & (at[None, None, :] >= n)
    return ~corner


@as_written
class MultiHeadedAttentionSANMwithMask(MultiHeadedAttentionSANM):
    """SAN-M attention in which every word has its own words that it sees."""

    def __call__(self, x: X, mask: Mask = None, seen: Seen = None) -> X:
        q, k, v = ops.split(self.linear_q_k_v(x), 3)  # each (B, T, D)
        memory = forward_fsmn(self.fsmn_block, v, mask)
        return self.linear_out(ops.attend(q, k, v, self.heads, mask, seen)) + memory


@as_written
class EncoderLayerSANMwithMask(EncoderLayerSANM):
    """The pre-norm block around it. Mirrors funasr/models/ct_transformer_streaming/encoder.py::EncoderLayerSANM."""

    Attention: ClassVar[type[Any]] = MultiHeadedAttentionSANMwithMask

    def __call__(self, x: X, mask: Mask = None, seen: Seen = None) -> X:
        attended = self.self_attn(self.norm1(x), mask, seen)
        x = x + attended if self.residual else attended
        return x + self.feed_forward(self.norm2(x))


@as_written
class SANMVadEncoder(SANMEncoder):
    """Embedded words (B, T, E) -> (B, T, D). A single layer is `encoders0` alone, and has no corner: it is causal."""

    Layer: ClassVar[type[Any]] = EncoderLayerSANMwithMask

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]  a pause more
        self, feats: Float[mx.array, "B T Din"], mask: Mask, vad_indexes: Int[mx.array, " B"]
    ) -> Float[mx.array, "B T D"]:
        T = feats.shape[1]
        x = feats * self.scale + sinusoidal_positions(*feats.shape[1:]).astype(feats.dtype)
        padding = mx.ones((len(feats), 1, T), dtype=mx.bool_) if mask is None else mask[:, None, :]
        causal, last = padding & subsequent_mask(T)[None], padding & vad_mask(T, vad_indexes)
        x, mask = ops.enter(x, mask, self)
        x = ops.through([*self.encoders0, *self.encoders[:-1]], x, mask, causal)
        x = ops.through(self.encoders[-1:], x, mask, last)
        return ops.leave(self.after_norm(x))
