"""How sure a network is of its tokens: posteriors, entropies and runners-up, from logits while they are on the device.

A confidence is the posterior of the token that was read out: softmax(logits)[token], in float32 whatever the network's
precision. What several tokens have together is text/confidence.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from mlx_model.machine.blas import mx
from mlx_model.machine.device import on_gpu

Array = mx.array | np.ndarray


class Certainty(NamedTuple):
    """Of every position of a batch, padding included; on a GPU being computed. K is 0 where no runners-up are wanted.

    Natural logarithms of probabilities; nats; the K likeliest tokens, best first, of equal ones the lower id.
    """

    log_probs: Float[Array, "B U"]
    entropy: Float[Array, "B U"]
    top_ids: Int[Array, "B U K"]
    top_log_probs: Float[Array, "B U K"]

    def rows(self, counts: Sequence[int]) -> list[Sureness]:
        """Return each recording's part, padding left out, in the host's memory."""
        arrays = [np.array(array) for array in self]
        return [Sureness(*(array[row, :count] for array in arrays)) for row, count in enumerate(counts)]


class Sureness(NamedTuple):
    """The same of one recording."""

    log_probs: Float[np.ndarray, " U"]
    entropy: Float[np.ndarray, " U"]
    top_ids: Int[np.ndarray, "U K"]
    top_log_probs: Float[np.ndarray, "U K"]


def certainty(
    logits: Float[mx.array, "B U V"],
    tokens: Shaped[mx.array, "B U"],
    top: int = 0,
    *,
    kept: Bool[mx.array, "B U"] | None = None,
) -> Certainty:
    """Return how sure the network is of `tokens`; the logits are not needed any more then.

    A GPU computes it, and is not waited for. MLX's exponential takes a CPU five times as long as numpy's, and copies
    all logits; so a CPU has numpy do it, a position at a time, which is in its cache.

    Args:
        logits: (B, U, V); -inf is a token that may not be read out.
        tokens: (B, U), those that were read out.
        top: how many of the likeliest tokens of every position to keep, at most V.
        kept: the positions that are looked at later (None: all); a CPU leaves the others 0.
    """
    top = min(top, logits.shape[-1])
    if on_gpu() and logits.shape[1]:
        return _on_gpu(logits, tokens, top)
    return _on_cpu(logits, tokens, top, np.ones(tokens.shape, bool) if kept is None else np.array(kept))


def _on_cpu(
    logits: Float[mx.array, "B U V"], tokens: Shaped[mx.array, "B U"], top: int, kept: Bool[np.ndarray, "B U"]
) -> Certainty:
    B, U, V = logits.shape
    log_probs, entropy = np.zeros((2, B * U), np.float32)
    ids, scores = np.zeros((B * U, top), np.int32), np.zeros((B * U, top), np.float32)
    chosen = np.array(tokens).reshape(-1)
    rows = np.asarray(logits.astype(mx.float32)).reshape(B * U, V)
    for place in np.flatnonzero(kept).tolist():
        row = rows[place]
        below = row - row.max()  # at most 0, so that nothing overflows
        weights = np.exp(below)
        total = weights.sum()
        log_total = np.log(total)
        log_probs[place] = below[chosen[place]] - log_total
        entropy[place] = log_total - np.dot(weights, np.maximum(below, LEAST)) / total
        if top:
            likely = np.argpartition(below, V - top)[V - top :]
            likely = likely[np.lexsort((likely, -below[likely]))]
            ids[place], scores[place] = likely, below[likely] - log_total
    shaped = (array.reshape(B, U, *array.shape[1:]) for array in (log_probs, np.maximum(entropy, 0.0), ids, scores))
    return Certainty(*shaped)


def _on_gpu(logits: Float[mx.array, "B U V"], tokens: Shaped[mx.array, "B U"], top: int) -> Certainty:
    below = logits.astype(mx.float32) - logits.max(axis=-1, keepdims=True).astype(mx.float32)
    weights = mx.exp(below)
    total = weights.sum(axis=-1)
    log_total = mx.log(total)
    entropy = log_total - (weights * mx.maximum(below, LEAST)).sum(axis=-1) / total
    log_probs = mx.take_along_axis(below, tokens[..., None].astype(mx.int32), axis=-1)[..., 0] - log_total
    likely = mx.argpartition(below, logits.shape[-1] - max(top, 1), axis=-1)[..., logits.shape[-1] - top :]
    ids = mx.sort(likely.astype(mx.int32), axis=-1)  # so that the stable sort below prefers the lower id
    scores = mx.take_along_axis(below, ids, axis=-1)
    order = mx.argsort(-scores, axis=-1)
    ids, scores = (mx.take_along_axis(array, order, axis=-1) for array in (ids, scores))
    found = Certainty(log_probs, mx.maximum(entropy, 0.0), ids, scores - log_total[..., None])
    mx.async_eval(*found)
    return found


LEAST = np.float32(-1e30)  # a weight of 0 times it is 0; times -inf it would be NaN
