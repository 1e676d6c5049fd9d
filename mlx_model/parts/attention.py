"""Masks, heads, and softmax attention as FunASR's transformer layers compute it.

`mask` is (B, T) bool, or None where nothing is padded.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Bool, Float

from mlx_model.machine.blas import mx
from mlx_model.machine.device import on_gpu
from mlx_model.ops_cpu import scaled_dot_product_attention

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
    """Return the same on a CPU, with keys, values and mask in blocks of rows (see lanes.py)."""
    scale = q.shape[-1] ** -0.5
    return scaled_dot_product_attention(q, keys, values, scale=scale, masks=masks).flatten(-2)  # (B, U, D)
