"""A Paraformer's encoder and decoder of the operations of `cpu_engine.py`: wiring, and whether it may be used.

`encoder.py`, `decoder.py` and `attention.py` say what a layer is; the functions below say it once more for rows. They
are used only where every module is of a class that they know and has not been given other functions, and where all
widths fit (`encoder_fits`, `decoder_fits`); this is asked at every call, and so is all that a module holds besides its
parameters. So a changed model computes with its changes at once, here or by MLX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from mlx_model.engines import lanes
from mlx_model.engines.cpu_engine import (
    KEPT,
    KINDS,
    Rows,
    Starts,
    attend,
    kernels,
    operation,
    padded,
    rows_of,
    starts_of,
)
from mlx_model.machine.blas import mx
from mlx_model.machine.kept import kind_of
from mlx_model.parts.attention import Mask, TokenMask

if TYPE_CHECKING:
    from mlx_model.parts.sanm import DecoderLayerSANM, EncoderLayerSANM, ParaformerSANMDecoder, SANMEncoder


class Encoder:
    """What computes a `SANMEncoder` after scale and positions, where it fits."""

    def takes(self, encoder: SANMEncoder, x: mx.array | None = None) -> bool:
        """Whether this is to compute x (None: features as they usually are)."""
        return not lanes.forced() and _known(x) and encoder_fits(encoder, x)

    def __call__(self, encoder: SANMEncoder, x: Float[mx.array, "B T Din"], mask: Mask) -> Float[mx.array, "B T D"]:
        """Return the encoder's output, zero in the padding."""
        starts = starts_of(x, mask)
        rows = rows_of(x, starts)
        for layer in encoder.layers:
            rows = encoder_layer(layer, rows, starts)
        return padded(norm(encoder.after_norm, rows), starts, x.shape[1], x.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> Encoder:
        return self


class Decoder:
    """What computes a `ParaformerSANMDecoder`, where it fits."""

    def takes(self, decoder: ParaformerSANMDecoder, *inputs: mx.array) -> bool:
        """Whether this is to compute embeddings and encoder_out (left out: as they usually are)."""
        return not lanes.forced() and all(map(_known, inputs)) and decoder_fits(decoder, *inputs)

    def __call__(
        self,
        decoder: ParaformerSANMDecoder,
        embeds: Float[mx.array, "B U D"],
        tgt_mask: TokenMask,
        memory: Float[mx.array, "B T D"],
        memory_mask: Mask,
    ) -> Float[mx.array, "B U V"]:
        """Return the logits, zero in the padding."""
        tokens, frames = starts_of(embeds, tgt_mask), starts_of(memory, memory_mask)
        x, encoder_out = rows_of(embeds, tokens), rows_of(memory, frames)
        for layer in decoder.layers:
            x = decoder_layer(layer, x, encoder_out, tokens, frames)
        output = _made(decoder.output_layer)
        logits = output(norm(decoder.after_norm, x))[:, : output.outputs]
        return padded(logits, tokens, embeds.shape[1], embeds.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> Decoder:
        return self


def _known(x: mx.array | None) -> bool:
    return x is None or (x.dtype in KINDS and x.ndim == 3)


def _made(module: Any) -> Any:
    """Return a module's operation, which the question whether it fits has made."""
    return vars(module)[KEPT]


def norm(module: Any, x: Rows) -> Rows:
    """Return LayerNorm of rows."""
    return _made(module)(x, module.eps)


def encoder_layer(layer: EncoderLayerSANM, x: Rows, starts: Starts) -> Rows:
    """Return the output of an encoder.EncoderLayerSANM, in x's place where it has a residual."""
    attention, forward = layer.self_attn, layer.feed_forward
    q, k, v = np.split(_made(attention.linear_q_k_v)(norm(layer.norm1, x)), 3, axis=1)
    y = x if layer.residual else np.zeros(q.shape, np.float32)
    block = attention.fsmn_block
    _made(block).add(v, starts, y, block.left)
    _made(attention.linear_out).add(attend(q, k, v, starts, starts, attention.heads), y)
    _made(forward.w_2).add(_made(forward.w_1)(norm(layer.norm2, y), relu=True), y)
    return y


def decoder_layer(layer: DecoderLayerSANM, tgt: Rows, memory: Rows, tokens: Starts, frames: Starts) -> Rows:
    """Return the output of a decoder.DecoderLayerSANM; tgt is used up."""
    forward: Any = layer.feed_forward
    x = _made(forward.w_2)(norm(forward.norm, _made(forward.w_1)(norm(layer.norm1, tgt), relu=True)))
    if layer.self_attn is not None:
        block = layer.self_attn.fsmn_block
        _made(block).add(norm(layer.norm2, x), tokens, tgt, block.left)
        x = tgt
    if layer.src_attn is not None:
        attention = layer.src_attn
        k, v = np.split(_made(attention.linear_k_v)(memory), 2, axis=1)
        q = _made(attention.linear_q)(norm(layer.norm3, x))
        _made(attention.linear_out).add(attend(q, k, v, tokens, frames, attention.heads), x)
    return x


def encoder_fits(encoder: SANMEncoder, x: mx.array | None = None) -> bool:
    """Whether every module of an encoder is known here, and their widths fit."""
    layers = encoder.layers
    width = x.shape[2] if x is not None else _norm_width(layers[0].norm1) if layers else 0
    for layer in layers:
        width = _encoder_layer_width(layer, width)
        if not width:
            return False
    return width > 0 and _norm_width(encoder.after_norm) == width


def decoder_fits(decoder: ParaformerSANMDecoder, x: mx.array | None = None, memory: mx.array | None = None) -> bool:
    """Whether every module of a decoder is known here, and their widths fit."""
    layers = decoder.layers
    width = x.shape[2] if x is not None else _norm_width(layers[0].norm1) if layers else 0
    across = width if memory is None else memory.shape[2]
    for layer in layers:
        width = _decoder_layer_width(layer, width, across)
        if not width:
            return False
    return width > 0 and _norm_width(decoder.after_norm) == width and _chain(width, decoder.output_layer) > 0


# Below, a width of 0 stands for: not here.


def _encoder_layer_width(layer: Any, width: int) -> int:
    if kind_of(layer) != "EncoderLayerSANM" or _norm_width(layer.norm1) != width:
        return 0
    attention, forward = layer.self_attn, layer.feed_forward
    if kind_of(attention) != "MultiHeadedAttentionSANM" or kind_of(forward) != "PositionwiseFeedForward":
        return 0
    size, rest = divmod(_chain(width, attention.linear_q_k_v), 3)
    if rest or not _heads_fit(attention, size):
        return 0
    fits = (
        _chain(size, attention.linear_out) == size
        and _memory_width(attention.fsmn_block) == size
        and (width == size or not layer.residual)
        and _norm_width(layer.norm2) == size
        and _chain(size, forward.w_1, forward.w_2) == size
    )
    return size if fits else 0


def _decoder_layer_width(layer: Any, width: int, across: int) -> int:
    forward: Any = layer.feed_forward if kind_of(layer) == "DecoderLayerSANM" else None
    if kind_of(forward) != "PositionwiseFeedForwardDecoderSANM" or _norm_width(layer.norm1) != width:
        return 0
    hidden = _chain(width, forward.w_1)
    size = _chain(hidden, forward.w_2) if _norm_width(forward.norm) == hidden else 0
    if layer.self_attn is not None and not (size == width and _remembers(layer, size)):
        return 0
    return size if layer.src_attn is None or _attends(layer, size, across) else 0


def _remembers(layer: Any, size: int) -> bool:
    memory = layer.self_attn
    known = kind_of(memory) == "MultiHeadedAttentionSANMDecoder" and _norm_width(layer.norm2) == size
    return known and _memory_width(memory.fsmn_block) == size


def _attends(layer: Any, size: int, across: int) -> bool:
    attention = layer.src_attn
    if kind_of(attention) != "MultiHeadedAttentionCrossAtt" or _norm_width(layer.norm3) != size:
        return False
    inner = _chain(size, attention.linear_q)
    keys = _chain(across, attention.linear_k_v)
    return _heads_fit(attention, inner) and keys == 2 * inner and _chain(inner, attention.linear_out) == size


def _chain(width: int, *linears: Any) -> int:
    """Return the width behind linear layers, one after the other; whole vectors but behind the last."""
    for linear in linears:
        product = operation(linear)
        width = product.outputs if product is not None and product.inputs == width else 0
    return width


def _heads_fit(attention: Any, size: int) -> bool:
    heads = attention.heads
    return isinstance(heads, int) and heads > 0 and size > 0 and size % (heads * kernels().engine_width()) == 0


def _norm_width(module: Any) -> int:
    found = operation(module)
    return found.size if found is not None and isinstance(module.eps, (int, float)) else 0


def _memory_width(block: Any) -> int:
    found = operation(block)
    return found.size if found is not None and block.keeps_length else 0
