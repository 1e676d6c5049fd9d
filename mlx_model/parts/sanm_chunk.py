"""SAN-M in windows of a stream: the encoder with look-back, and the decoder whose memory goes on from window to window.

Mirrors the `forward_chunk` of funasr/models/sanm/attention.py, funasr/models/scama/encoder.py and
funasr/models/paraformer/decoder.py. Parameters and names are those of sanm.py; what is called is a window, with what
earlier ones left: `past`. Caches are values, those of a batch stacked: None is no past. No window has padding, and none
is masked: the zeros that stand for what was before a stream's first frame are attended to, as in FunASR.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from jaxtyping import Float

from mlx_model import ops, ops_stream
from mlx_model.config.chunking import UNLIMITED, Chunking
from mlx_model.config.parts import SANMEncoderConfig
from mlx_model.machine.blas import mx
from mlx_model.machine.kept import as_written
from mlx_model.ops import TokenMask, X, attend
from mlx_model.ops_stream import memory_behind
from mlx_model.parts.sanm import (
    DecoderLayerSANM,
    EncoderLayerSANM,
    MultiHeadedAttentionCrossAtt,
    MultiHeadedAttentionSANM,
    MultiHeadedAttentionSANMDecoder,
    ParaformerSANMDecoder,
    SANMEncoder,
    forward_fsmn,
)


class Keys(NamedTuple):
    """Keys and values of frames that were attended to before, (B, T, D) each; of a stack, (B, layers, T, D)."""

    k: mx.array
    v: mx.array

    @property
    def frames(self) -> int:
        """How many frames' keys these are."""
        return self.k.shape[-2]

    def layers(self) -> list[Keys]:
        """Return each layer's. They are there: layers that had to wait for their own would do so one by one."""
        found = [Keys(self.k[:, index], self.v[:, index]) for index in range(self.k.shape[1])]
        mx.eval(found)
        return found


def stacked(layers: Sequence[Keys | None]) -> Keys | None:
    """Return all layers' keys as one pair; None where layers keep none."""
    kept = [keys for keys in layers if keys is not None]
    return Keys(*(mx.stack(list(parts), axis=1) for parts in zip(*kept, strict=True))) if kept else None


def behind(past: Keys | None, k: X, v: X) -> tuple[X, X]:
    """Return keys and values with those of the past in front."""
    if past is None:
        return k, v
    return ops_stream.behind(past.k, k), ops_stream.behind(past.v, v)


@as_written
class MultiHeadedAttentionSANMChunk(MultiHeadedAttentionSANM):
    """Attention of a window to itself and to the keys of earlier ones; the FSMN memory sees the window alone.

    Cached are the keys of windows without their right context, which the next window computes anew; of the first window
    all others, however many. Mirrors MultiHeadedAttentionSANM.forward_chunk.
    """

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]  a window and a past, no mask
        self, x: X, past: Keys | None, chunking: Chunking
    ) -> tuple[X, Keys | None]:
        q, k, v = ops.split(self.linear_q_k_v(x), 3)  # each (B, W, D)
        memory = forward_fsmn(self.fsmn_block, v, None)
        keep = chunking.encoder_keys
        k, v = behind(past if keep else None, k, v)
        after = None
        if keep:
            stop = -chunking.ahead
            first = 0 if past is None or keep == UNLIMITED else -keep
            after = Keys(*(ops.leave(part)[:, :stop][:, first:] for part in (k, v)))
        return self.linear_out(attend(q, k, v, self.heads, None)) + memory, after


@as_written
class EncoderLayerSANMChunk(EncoderLayerSANM):
    """A layer of windows. Mirrors funasr/models/scama/encoder.py::EncoderLayerSANM.forward_chunk."""

    Attention = MultiHeadedAttentionSANMChunk

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]  a window and a past, no mask
        self, x: X, past: Keys | None, chunking: Chunking
    ) -> tuple[X, Keys | None]:
        attention: Any = self.self_attn
        attended, after = attention(self.norm1(x), past, chunking)
        x = x + attended if self.residual else attended
        return x + self.feed_forward(self.norm2(x)), after


@as_written
class SANMEncoderChunkOpt(SANMEncoder):
    """Windows (B, W, M*lfr_m), scaled and with positions -> encoder_out (B, W, D), and the keys for later ones.

    `Model` puts windows together. Mirrors funasr/models/scama/encoder.py::SANMEncoderChunkOpt.forward_chunk from there
    on; its `forward` is for training alone.
    """

    Layer = EncoderLayerSANMChunk

    def __init__(self, input_size: int, config: SANMEncoderConfig, eps: float):
        super().__init__(input_size, config, eps)
        self.input_size = input_size

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]  a window and a past, no mask
        self, window: Float[mx.array, "B W Din"], past: Keys | None, chunking: Chunking
    ) -> tuple[Float[mx.array, "B W D"], Keys | None]:
        x, _ = ops.enter(window, None, self)
        kept: list[Keys | None] = []
        layers: list[Any] = self.layers
        for layer, known in zip(layers, [None] * len(layers) if past is None else past.layers(), strict=True):
            x, keys = layer(x, known, chunking)
            kept.append(keys)
            ops.start(x)
        return ops.leave(self.after_norm(x)), stacked(kept)


class TokenPast(NamedTuple):
    """What a decoder's layers keep of earlier windows that gave tokens; of a stack with an axis of layers behind B.

    `inputs` (B, K - 1, D) are the last that the FSMN's taps reach; `keys` those of encoder frames.
    """

    inputs: mx.array
    keys: Keys | None

    def layers(self) -> list[TokenPast]:
        """Return each layer's, which are there; those behind the layers with keys have none."""
        inputs = [self.inputs[:, index] for index in range(self.inputs.shape[1])]
        keys = [] if self.keys is None else self.keys.layers()
        mx.eval(inputs)
        return [TokenPast(*each) for each in zip_longest(inputs, keys)]


@as_written
class MultiHeadedAttentionSANMDecoderChunk(MultiHeadedAttentionSANMDecoder):
    """The FSMN memory of tokens that earlier ones stand before.

    The first tokens of a stream are padded as offline; later ones see the past alone, as many as there are taps, also
    where the padding reached ahead (decoders2). Mirrors MultiHeadedAttentionSANMDecoder.forward with a cache.
    """

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]  with a past
        self, inputs: X, past: mx.array | None, counts: Sequence[int], mask: TokenMask
    ) -> tuple[X, mx.array]:
        """Return the memory (B, U, D), and what the next call takes for `past`; counts are each stream's tokens."""
        block = self.fsmn_block
        reach = block.weight.shape[1] - 1
        own = ops.masked(ops.leave(inputs), mask)
        padded = block.pad(own) if past is None else mx.concatenate([past, own], axis=1)  # (B, U + K - 1, D)
        memory = forward_fsmn(block, inputs, mask) if past is None else memory_behind(past, inputs, block, mask)
        return memory, last_of(padded, counts, reach)


def last_of(padded: mx.array, counts: Sequence[int], reach: int) -> mx.array:
    """Return the last `reach` of each stream's own rows, of which there are reach + counts: (B, reach, D)."""
    if len(set(counts)) == 1:
        return padded[:, counts[0] : counts[0] + reach]
    index = mx.array(list(counts))[:, None] + mx.arange(reach)[None]  # (B, reach)
    return mx.take_along_axis(padded, index[:, :, None], axis=1)


@as_written
class MultiHeadedAttentionCrossAttChunk(MultiHeadedAttentionCrossAtt):
    """Tokens attend to their window, right context included, and to frames of earlier windows that gave tokens.

    Mirrors MultiHeadedAttentionCrossAtt.forward_chunk.
    """

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]  with a past, without a mask
        self, x: X, memory: X, past: Keys | None, chunking: Chunking
    ) -> tuple[X, Keys | None]:
        k, v = ops.split(self.linear_k_v(memory), 2)  # each (B, W, D)
        keep = chunking.decoder_keys
        k, v = behind(past if keep else None, k, v)
        after = Keys(*(ops.leave(part)[:, -keep:] for part in (k, v))) if keep else None
        return self.linear_out(attend(self.linear_q(x), k, v, self.heads, None)), after


@as_written
class DecoderLayerSANMChunk(DecoderLayerSANM):
    """A layer of a window's tokens. Mirrors DecoderLayerSANM.forward_chunk."""

    Memory = MultiHeadedAttentionSANMDecoderChunk
    Cross = MultiHeadedAttentionCrossAttChunk

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]  with a past
        self, tgt: X, memory: X, past: TokenPast | None, chunking: Chunking, counts: Sequence[int], mask: TokenMask
    ) -> tuple[X, TokenPast | None]:
        x = self.feed_forward(self.norm1(tgt))
        if self.self_attn is None:
            return x, None
        remembered, inputs = self.self_attn(self.norm2(x), None if past is None else past.inputs, counts, mask)
        x, keys = tgt + remembered, None
        if self.src_attn is not None:
            attended, keys = self.src_attn(self.norm3(x), memory, None if past is None else past.keys, chunking)
            x = x + attended
        return x, TokenPast(inputs, keys)


@as_written
class ParaformerSANMDecoderChunk(ParaformerSANMDecoder):
    """A window's acoustic embeddings (B, U, D) and encoder_out (B, W, D) -> logits (B, U, V), and the past of later.

    Mirrors ParaformerSANMDecoder.forward_chunk. FunASR leaves `decoders2` away where that is a single layer
    (`as_funasr`); its own `forward`, which the layer was trained with, does not.
    """

    Layer = DecoderLayerSANMChunk

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]  with a past
        self,
        embeds: Float[mx.array, "B U D"],
        memory: Float[mx.array, "B W D"],
        past: TokenPast | None,
        chunking: Chunking,
        counts: Sequence[int],
        *,
        as_funasr: bool = False,
    ) -> tuple[Float[mx.array, "B U V"], TokenPast]:
        mask = None if min(counts) == embeds.shape[1] else mx.array(list(counts))[:, None] > mx.arange(embeds.shape[1])
        x, _ = ops.enter(embeds, mask, self)
        seen, _ = ops.enter(memory, None, self, like=x)
        kept: list[TokenPast] = []
        for layer, known in zip_longest(self.streamed(as_funasr), [] if past is None else past.layers()):
            x, after = layer(x, seen, known, chunking, counts, mask)
            kept += [] if after is None else [after]
            ops.start(x)
        logits = ops.leave(self.output_layer(self.after_norm(x)))
        return logits, TokenPast(mx.stack([each.inputs for each in kept], axis=1), stacked([one.keys for one in kept]))

    def streamed(self, as_funasr: bool) -> list[Any]:
        """Return the layers that a stream runs through, in order."""
        more = self.get("decoders2", [])
        return [*self.decoders, *([] if as_funasr and len(more) == 1 else more), *self.decoders3]
