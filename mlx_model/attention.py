"""SAN-M attention: self-attention with an FSMN memory (encoder), the FSMN alone (decoder), cross-attention.

Mirrors funasr/models/sanm/attention.py class by class. `mask` is (B, T) bool, or None where nothing is padded.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Bool, Float

from mlx_model.blas import mx, nn
from mlx_model.cpu_kernels import on_gpu, scaled_dot_product_attention
from mlx_model.kept import as_written
from mlx_model.layers import DepthwiseConv1d, Linear

Mask = Bool[mx.array, "B T"] | None
TokenMask = Bool[mx.array, "B U"] | None


def masked(x: Float[mx.array, "B T D"], mask: Mask) -> Float[mx.array, "B T D"]:
    """Return x with padded positions set to zero."""
    return x if mask is None else mx.where(mask[:, :, None], x, mx.zeros((), dtype=x.dtype))


def split_heads(x: Float[mx.array, "B T D"], heads: int) -> Float[mx.array, "B H T Dh"]:
    """Return (B, H, T, D/H): contiguous groups of D/H channels per head, never interleaved."""
    B, T, D = x.shape
    return x.reshape(B, T, heads, D // heads).transpose(0, 2, 1, 3)  # (B, H, T, D/H)


def attend(
    q: Float[mx.array, "B H U Dh"], k: Float[mx.array, "B H T Dh"], v: Float[mx.array, "B H T Dh"], mask: Mask
) -> Float[mx.array, "B U D"]:
    """Return softmax(q k^T / sqrt(D/H)) v with padded keys left out, heads joined: (B, U, D).

    Mirrors MultiHeadedAttentionSANM.forward_attention before `linear_out`: scores of padded keys are -inf there.
    """
    if not on_gpu():
        return attend_blocks(q, [k], [v], [mask])
    keep = None if mask is None else mask[:, None, None, :]
    context = mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=keep)  # (B, H, U, Dh)
    return context.transpose(0, 2, 1, 3).flatten(-2)  # (B, U, D)


def attend_blocks(
    q: Float[mx.array, "B H U Dh"],
    keys: Sequence[mx.array],
    values: Sequence[mx.array],
    masks: Sequence[Bool[mx.array, "B _"] | None],
) -> Float[mx.array, "B U D"]:
    """Return the same on a CPU, with keys, values and mask in blocks of rows (see cpu_lanes.py)."""
    scale = q.shape[-1] ** -0.5
    return scaled_dot_product_attention(q, keys, values, scale=scale, masks=masks).flatten(-2)  # (B, U, D)


def forward_fsmn(block: DepthwiseConv1d, inputs: Float[mx.array, "B T D"], mask: Mask) -> Float[mx.array, "B T D"]:
    """Return the memory: masked input, plus its depthwise convolution over time, masked again.

    Mirrors MultiHeadedAttentionSANM.forward_fsmn (which adds in place: its own conv output changes under a hook).
    """
    inputs = masked(inputs, mask)
    return masked(block(inputs) + inputs, mask)


@as_written
class MultiHeadedAttentionSANM(nn.Module):
    """Encoder self-attention; the FSMN memory of v is added after the output projection."""

    def __init__(self, heads: int, in_size: int, size: int, kernel_size: int, shift: int):
        super().__init__()
        self.heads = heads
        self.linear_q_k_v = Linear(in_size, 3 * size)
        self.linear_out = Linear(size, size)
        self.fsmn_block = DepthwiseConv1d(size, kernel_size, shift)

    def __call__(self, x: Float[mx.array, "B T Din"], mask: Mask = None) -> Float[mx.array, "B T D"]:
        q, k, v = mx.split(self.linear_q_k_v(x), 3, axis=-1)  # each (B, T, D)
        memory = forward_fsmn(self.fsmn_block, v, mask)
        q, k, v = (split_heads(part, self.heads) for part in (q, k, v))  # each (B, H, T, D/H)
        return self.linear_out(attend(q, k, v, mask)) + memory


@as_written
class MultiHeadedAttentionSANMDecoder(nn.Module):
    """The decoder's "self-attention": FSMN memory only, no attention."""

    def __init__(self, size: int, kernel_size: int, shift: int):
        super().__init__()
        self.fsmn_block = DepthwiseConv1d(size, kernel_size, shift)

    def __call__(self, inputs: Float[mx.array, "B U D"], mask: TokenMask = None) -> Float[mx.array, "B U D"]:
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

    def __call__(
        self, x: Float[mx.array, "B U D"], memory: Float[mx.array, "B T D"], memory_mask: Mask = None
    ) -> Float[mx.array, "B U D"]:
        k, v = mx.split(self.linear_k_v(memory), 2, axis=-1)  # each (B, T, D)
        q, k, v = (split_heads(part, self.heads) for part in (self.linear_q(x), k, v))  # each (B, H, ., D/H)
        return self.linear_out(attend(q, k, v, memory_mask))
