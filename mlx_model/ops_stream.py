"""Operations of a stream: taps and keys behind what came before. `ops` of pieces; they choose by their rows as well.

A past is a value, an array (B, P, ...) whatever rows are, handed in with a piece and out for the next one: so pieces of
one stream may be computed by different engines. Pieces of several streams may be one batch; nothing is padded.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float

from mlx_model.machine.blas import mx
from mlx_model.ops import Mask, Rows, X, masked


def recall(x: X, taps: Any, past: Float[mx.array, "B P D"] | None) -> tuple[X, Float[mx.array, "B P D"]]:
    """Return the depthwise convolution of a stream's next frames, the last tap on the frame itself, and the new past.

    Args:
        x: (B, T, D), no padding in it.
        taps: a module with `stride`, the frames from one tap to the next, `reach`, how far the first is behind, and
            `convolve`, for frames that have so many before them.
        past: the `reach` frames before x, as the call before returned them; None: zeros.
    """
    if isinstance(x, Rows):
        return x.recall(taps, past)
    padded = mx.concatenate([before(x, taps.reach, past), x], axis=1)  # (B, reach + T, D)
    return taps.convolve(padded), padded[:, padded.shape[1] - taps.reach :]


def before(x: Float[mx.array, "B T D"], count: int, past: mx.array | None) -> Float[mx.array, "B P D"]:
    """Return what stands before x: the past, or so many zeros where there is none."""
    return mx.zeros((x.shape[0], count, x.shape[2]), dtype=x.dtype) if past is None else past


def expect(x: X, taps: Any) -> X:
    """Return the depthwise convolution of taps that reach ahead, the first by `stride`; beyond the end are zeros."""
    if isinstance(x, Rows):
        return x.like(expect(x.leave(), taps))
    return taps.convolve(mx.pad(x, [(0, 0), (0, taps.reach + taps.stride), (0, 0)])[:, taps.stride :])


def behind(past: Float[mx.array, "B P D"], x: X) -> X:
    """Return rows with those of each recording's past in front, (B, P + T, D): keys and values behind a cache."""
    return x.behind(past) if isinstance(x, Rows) else mx.concatenate([past, x], axis=1)


def memory_behind(past: Float[mx.array, "B P D"], v: X, block: Any, mask: Mask) -> X:
    """Return the FSMN's memory of rows that the past stands before, P = K - 1: the taps reach back, and not ahead."""
    if isinstance(v, Rows):  # what stands in the padding is behind all else, and so reached by none
        return v + v.recall(block, past)[0]
    inputs = masked(v, mask)
    return masked(block.convolve(mx.concatenate([past, inputs], axis=1)) + inputs, mask)
