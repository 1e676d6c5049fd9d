"""CIF over the windows of a stream: what was integrated and gave no token yet is carried on. On the host.

Mirrors funasr/models/paraformer/cif_predictor.py::CifPredictorV2.forward_chunk from its alphas on. Where tokens fire is
decided here, in the precision of what is carried: float64, in which a stream of any length fires where the exact sum of
its alphas says so; or float32, FunASR's own, whose sums round at every frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

THRESHOLD = 1.0  # FunASR's; config/parts.py refuses others


@dataclass(frozen=True, slots=True, kw_only=True)
class CifCarry:
    """A token that is not complete: the alphas that it has so far, and their mean of the frames, (D,). A value.

    Of one type, float64 or float32, and all that is integrated with it.
    """

    alpha: np.floating
    hidden: Float[np.ndarray, " D"]


class Fired(NamedTuple):
    """What a window's frames gave: tokens' embeddings (U, D), the frames they fired at, and what is carried on.

    frames (U,) count from the first that this window decides on; integrals (T,) are the sums at its frames, each before
    a token is taken off: FunASR's `cif_peak`. T counts the tail frame of the last window.
    """

    embeds: Float[np.ndarray, "U D"]
    frames: Int[np.ndarray, " U"]
    integrals: Float[np.ndarray, " T"]
    carry: CifCarry


def new_carry(width: int, dtype: type[np.floating]) -> CifCarry:
    """Return what a stream begins with."""
    return CifCarry(alpha=dtype(0.0), hidden=np.zeros(width, dtype))


def integrate(
    hidden: Float[np.ndarray, "T D"], alphas: Float[np.ndarray, " T"], carry: CifCarry, *, tail: float | None
) -> Fired:
    """Return the tokens of the frames that a window decides on, in order.

    What is carried stands in front as a frame of its own; with `tail`, an empty frame of so much alpha stands behind.

    Args:
        hidden: encoder_out of these frames.
        alphas: of these frames.
        carry: of the window before.
        tail: the predictor's tail_threshold with the stream's last window; else None.
    """
    dtype = carry.hidden.dtype.type
    rows, weights = hidden.astype(dtype), [dtype(alpha) for alpha in alphas.tolist()]
    rows, weights = np.concatenate([carry.hidden[None], rows]), [carry.alpha, *weights]
    if tail is not None:
        rows, weights = np.concatenate([rows, np.zeros_like(rows[:1])]), [*weights, dtype(tail)]
    threshold, integral = dtype(THRESHOLD), dtype(0.0)
    frame = np.zeros_like(carry.hidden)
    tokens: list[np.ndarray] = []
    fired: list[int] = []
    sums: list[np.floating] = []
    for index, (alpha, row) in enumerate(zip(weights, rows, strict=True)):
        if alpha + integral < threshold:
            integral = integral + alpha
            sums.append(integral)
            frame = frame + alpha * row
            continue
        tokens.append(frame + (threshold - integral) * row)
        fired.append(index - 1)
        integral = integral + alpha
        sums.append(integral)
        integral = integral - threshold
        frame = integral * row
    return Fired(
        embeds=np.array(tokens, np.float32).reshape(len(tokens), hidden.shape[1]),
        frames=np.array(fired, np.int64),
        integrals=np.array(sums[1:], dtype),
        carry=CifCarry(alpha=integral, hidden=frame / integral if integral > 0 else frame),
    )
