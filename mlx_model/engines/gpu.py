"""From features to logits on a GPU: in few operations, in few shapes, and with one wait for the host in between.

- An operation costs the host 3 to 25 us, which is all the time there is for one short recording. So layers work on
  rows, (B*T, D), heads are split without copies, and what stands between products is one operation where it can be
  (`gpu_kernels.py`): a layer gives the next one its input and the norm of it.
- A new shape costs 0.2 s on CUDA, for cuDNN's plans of convolution and attention. So batches are padded to one of few
  shapes (`rounded_up`).
- `mx.compile` fuses what stands between the matrix products and saves building the graph: about a tenth of the time.
  It makes kernels, which on CUDA takes a minute the first time on a machine, and 20 ms a shape when they are there. So
  it is for those who ask for it (`Model.compile`), and the last `MOST_SHAPES` shapes are kept.
- Attention takes its mask as something to add, 0 or -inf: a third of the time of a bool one. What stands in padded
  positions is never looked at: attention leaves their keys out, the FSMN and the predictor see zeros there.
- The host waits once, for the token counts, which decide on the decoder's shape.

The modules are those of the plain path; `encoder.py`, `decoder.py` and `predictor.py` say what a layer is. Where
modules are watched one by one, in parity, the plain path runs (`lanes.exactly(1)`). Nothing in this file is
particular to CUDA or Metal.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxtyping import Bool, Float, Int

from mlx_model.engines import lanes
from mlx_model.engines.gpu_kernels import Memory, Padding, padding_of, relu_and_norm, sum_and_norm
from mlx_model.machine.blas import mx
from mlx_model.machine.device import on_gpu
from mlx_model.machine.kept import kind_of
from mlx_model.parts.attention import masked
from mlx_model.parts.basic import length_mask, sinusoidal_positions
from mlx_model.parts.cif import Firing

if TYPE_CHECKING:
    from mlx_model.models.paraformer import Model
    from mlx_model.parts.basic import LayerNorm
    from mlx_model.parts.sanm import DecoderLayerSANM, EncoderLayerSANM, ParaformerSANMDecoder, SANMEncoder

MOST_SHAPES = 64  # kept of encoder and decoder each

Rows = Float[mx.array, "BT D"]  # all positions of a batch, one below the other
Keep = Bool[mx.array, "B T"]  # False in the padding
Bias = Float[mx.array, "B 1 1 T"]  # what attention adds to the scores: 0, or -inf for keys in the padding


class Heard(NamedTuple):
    """What a batch's recordings hold, before tokens are looked at. encoder_out is zero in the padding."""

    encoder_out: Float[mx.array, "B T D"]
    alphas: Float[mx.array, "B T1"]
    firing: Firing


def takes(model: Model) -> bool:
    """Return whether this path computes: on a GPU, unless modules are watched one by one or may do something else.

    A compiled one stays what it was made of, as its weights do (`Model.compile`).
    """
    path = model._gpu_path
    return on_gpu() and not lanes.forced() and ((path is not None and path.compiled) or follows(model))


def follows(model: Model) -> bool:
    """Return whether the parts do what this file does in their place; see `kept.kind_of`."""
    encoder, decoder, kinds = model.encoder, model.decoder, (kind_of(model.encoder), kind_of(model.decoder))
    return (
        kinds == ("SANMEncoder", "ParaformerSANMDecoder")
        and kind_of(model.predictor) != ""
        and len(encoder.layers) > 0 < len(decoder.layers)
        and lanes.follows([*encoder.layers, *decoder.layers])
        and all(kind_of(layer.feed_forward) == "PositionwiseFeedForwardDecoderSANM" for layer in decoder.layers)
    )


def rounded_up(size: int, least: int, parts: int) -> int:
    """Return the next multiple of a step: `least`, or the power of two that makes `parts` steps to twice a size."""
    step = max(least, (1 << (size - 1).bit_length()) // (2 * parts))
    return -(-size // step) * step


def batch_shape(batch: int) -> int:
    """Return how many recordings a batch is padded to: exact up to 16, then at most an eighth more."""
    return rounded_up(batch, 1, 8)


def time_shape(steps: int) -> int:
    """Return how many frames or tokens a batch is padded to: the next 16, from 512 on at most a sixteenth more."""
    return rounded_up(steps, 16, 16)


def score_bias(keep: Keep, dtype: mx.Dtype) -> Bias:
    """Return the mask as attention adds it to its scores."""
    return mx.where(keep, 0.0, -float("inf")).astype(dtype)[:, None, None, :]


def attend(q: mx.array, k: mx.array, v: mx.array, bias: Bias) -> Rows:
    """Return softmax(q k^T / sqrt(D/H) + bias) v of (B, ., H, D/H) each, heads joined: (B*U, D)."""
    q, k, v = (part.transpose(0, 2, 1, 3) for part in (q, k, v))
    context = mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=bias)
    B, H, U, width = context.shape
    return context.transpose(0, 2, 1, 3).reshape(B * U, H * width)


def encoder_layer(
    layer: EncoderLayerSANM, x: Rows, normed: Rows, padding: Padding, bias: Bias, following: LayerNorm
) -> tuple[Rows, Rows]:
    """Return what EncoderLayerSANM makes of x, and `following`, the next norm, of that; `normed` is norm1 of x."""
    (B, T), attention = padding.keep.shape, layer.self_attn
    heads = attention.linear_q_k_v(normed)
    q, k, v = mx.split(heads.reshape(B, T, 3 * attention.heads, -1), 3, axis=2)  # each (B, T, H, D/H)
    memory = Memory(attention.fsmn_block, heads, 2 * heads.shape[1] // 3, padding)
    attended = attention.linear_out(attend(q, k, v, bias))
    x, normed = sum_and_norm(layer.norm2, x if layer.residual else None, attended, memory)
    return sum_and_norm(following, x, layer.feed_forward(normed))


def encode(encoder: SANMEncoder, feats: Float[mx.array, "B T Din"], padding: Padding) -> Float[mx.array, "B T D"]:
    """Return encoder_out; anything may stand in the padding."""
    B, T, width = feats.shape
    bias, layers = score_bias(padding.keep, feats.dtype), encoder.layers
    x = feats * encoder.scale + sinusoidal_positions(T, width).astype(feats.dtype)
    x = x.reshape(B * T, width)
    normed = layers[0].norm1(x)
    for layer, following in zip(layers, [*(layer.norm1 for layer in layers[1:]), encoder.after_norm], strict=True):
        x, normed = encoder_layer(layer, x, normed, padding, bias, following)
    return normed.reshape(B, T, -1)


def decoder_layer(
    layer: DecoderLayerSANM, tgt: Rows, normed: Rows, padding: Padding, memory: Rows, bias: Bias, following: LayerNorm
) -> tuple[Rows, Rows]:
    """Return what DecoderLayerSANM makes of tgt, and `following` of that; `normed` is norm1 of tgt.

    `padding` is that of the tokens, `bias` leaves out the frames' padding.
    """
    B, forward, cross = len(padding.keep), layer.feed_forward, layer.src_attn
    x = forward.w_2(relu_and_norm(forward.norm, forward.w_1(normed)))
    if layer.self_attn is None:
        return (
            (x, following(x)) if cross is None else attend_across(layer, x, layer.norm3(x), B, memory, bias, following)
        )
    remembered = Memory(layer.self_attn.fsmn_block, layer.norm2(x), 0, padding)
    x, normed = sum_and_norm(following if cross is None else layer.norm3, tgt, None, remembered)
    return (x, normed) if cross is None else attend_across(layer, x, normed, B, memory, bias, following)


def attend_across(
    layer: DecoderLayerSANM, x: Rows, normed: Rows, batch: int, memory: Rows, bias: Bias, following: LayerNorm
) -> tuple[Rows, Rows]:
    """Return x with what its tokens attend to added, and `following` of that; `normed` is norm3 of x."""
    cross: Any = layer.src_attn
    q = cross.linear_q(normed).reshape(batch, len(x) // batch, cross.heads, -1)
    k, v = mx.split(cross.linear_k_v(memory).reshape(batch, -1, 2 * cross.heads, q.shape[-1]), 2, axis=2)
    return sum_and_norm(following, x, cross.linear_out(attend(q, k, v, bias)))


def decode(
    decoder: ParaformerSANMDecoder,
    embeds: Float[mx.array, "B U D"],
    padding: Padding,
    encoder_out: Float[mx.array, "B T D"],
    frames: Keep,
) -> Float[mx.array, "B U V"]:
    """Return the logits of all tokens."""
    bias, layers = score_bias(frames, embeds.dtype), decoder.layers
    x, memory = embeds.reshape(-1, embeds.shape[-1]), encoder_out.reshape(-1, encoder_out.shape[-1])
    normed = layers[0].norm1(x)
    for layer, following in zip(layers, [*(layer.norm1 for layer in layers[1:]), decoder.after_norm], strict=True):
        x, normed = decoder_layer(layer, x, normed, padding, memory, bias, following)
    return decoder.output_layer(normed).reshape(*embeds.shape[:2], -1)


def listen(model: Model, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"]) -> Heard:
    """Return encoder_out and where tokens are complete."""
    return fire(model, hear(model, feats, lengths), lengths)


def hear(model: Model, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"]) -> Float[mx.array, "B T D"]:
    """Return encoder_out, zero in the padding."""
    padding = padding_of(lengths, feats.shape[1])
    return masked(encode(model.encoder, feats.astype(model.dtype), padding), padding.keep)


def fire(model: Model, encoder_out: Float[mx.array, "B T D"], lengths: Int[mx.array, " B"]) -> Heard:
    """Return `encoder_out` (see `hear`) with where tokens are complete in it."""
    keep, predictor = length_mask(lengths, encoder_out.shape[1]), model.predictor
    alphas = predictor.predict_alphas(encoder_out, keep)
    if predictor.tail_threshold > 0.0:
        alphas = predictor.append_tail(alphas, lengths)
    return Heard(encoder_out, alphas, predictor.fire_on_device(alphas))


def spell(model: Model, heard: Heard, lengths: Int[mx.array, " B"], tokens: int) -> Float[mx.array, "B U V"]:
    """Return the logits of so many tokens."""
    embeds = model.predictor.embed(heard.encoder_out, heard.firing, tokens)
    padding = padding_of(heard.firing.token_num, tokens)
    return decode(model.decoder, embeds, padding, heard.encoder_out, length_mask(lengths, heard.encoder_out.shape[1]))


class Path:
    """`listen` and `spell` of one model, compiled or not; `MOST_SHAPES` of each are kept.

    Compiled graphs hold the weights as constants. As inputs, 700 of them would be looked at on every call, and every
    layer would transpose its own anew: for one short recording 10.6 ms in place of 10.3, by the fastest of some rounds.
    """

    def __init__(self, model: Model, *, compiled: bool):
        made: Callable[..., Callable[..., Any]] = mx.compile if compiled else lambda function: function

        @functools.lru_cache(MOST_SHAPES)
        def listener(batch: int, steps: int) -> Callable[..., Any]:
            return made(lambda feats, lengths: _flat(listen(model, feats, lengths)))

        @functools.lru_cache(MOST_SHAPES)
        def speller(batch: int, steps: int, tokens: int) -> Callable[..., Any]:
            return made(lambda lengths, *heard: spell(model, _heard(heard), lengths, tokens))

        self.listener, self.speller, self.compiled = listener, speller, compiled

    def listen(self, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"]) -> Heard:
        """Return `listen` of features padded to an allowed shape."""
        return _heard(self.listener(*feats.shape[:2])(feats, lengths))

    def spell(self, heard: Heard, lengths: Int[mx.array, " B"], tokens: int) -> Float[mx.array, "B U V"]:
        """Return `spell` of an allowed number of tokens."""
        return self.speller(*heard.encoder_out.shape[:2], tokens)(lengths, *_flat(heard))


def _flat(heard: Heard) -> list[mx.array]:
    return [heard.encoder_out, heard.alphas, *heard.firing]


def _heard(arrays: Any) -> Heard:
    encoder_out, alphas, *firing = arrays
    return Heard(encoder_out, alphas, Firing(*firing))


def padded(feats: Float[mx.array, "B T Din"], lengths: list[int]) -> tuple[mx.array, mx.array]:
    """Return features and lengths in an allowed shape; recordings that are none have one frame, of zeros."""
    B, T = feats.shape[:2]
    more, longer = batch_shape(B) - B, time_shape(T) - T
    if more or longer:
        feats = mx.pad(feats, [(0, more), (0, longer), (0, 0)])
    return feats, mx.array([*lengths, *[1] * more])
