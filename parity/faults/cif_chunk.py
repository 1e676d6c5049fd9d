"""Faults of CIF over windows: which frames a window decides on, what it carries on, the tail, where a token fires.

Those of its modules (convolution, alphas) are cif.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from mlx_model.parts import cif_chunk
from mlx_model.parts.cif_chunk import CifCarry, Fired
from parity.faults.fault import Fault, Seed, exchange, fault, within
from parity.sides.candidate import Candidate

PART = "mlx_model.parts.cif_chunk"
DECIDED = "mlx_model.config.chunking.Chunking.decided"
healthy = cif_chunk.integrate


def _integrate(function: Callable[..., Fired]) -> Seed:
    """Seed another integration: `function(hidden, alphas, carry, tail)`."""

    def integrate(hidden: Any, alphas: Any, carry: CifCarry, *, tail: float | None) -> Fired:
        return function(hidden, alphas, carry, tail)

    def seed(candidate: Candidate, stack: ExitStack) -> None:
        for place in (PART, type(candidate.model).__module__):
            exchange(stack, f"{place}.integrate", integrate)

    return seed


def _leaving(change: Callable[[CifCarry], CifCarry]) -> Seed:
    """Seed another carry."""

    def function(hidden: Any, alphas: Any, carry: CifCarry, tail: float | None) -> Fired:
        found = healthy(hidden, alphas, carry, tail=tail)
        return found._replace(carry=change(found.carry))

    return _integrate(function)


def _decided(change: Callable[[Any, int, bool], slice]) -> Seed:
    def decided(self: Any, frames: int, *, final: bool) -> slice:
        return change(self, frames, final)

    return lambda candidate, stack: exchange(stack, DECIDED, decided)


def _tail_always(candidate: Candidate, stack: ExitStack) -> None:
    tail = candidate.model.predictor.tail_threshold
    function = lambda hidden, alphas, carry, _: healthy(hidden, alphas, carry, tail=tail)  # noqa: E731
    _integrate(function)(candidate, stack)


def _tail_repeats(hidden: Any, alphas: Any, carry: CifCarry, tail: float | None) -> Fired:
    if tail is None:
        return healthy(hidden, alphas, carry, tail=None)
    longer = np.concatenate([hidden, hidden[-1:]])
    return healthy(longer, np.append(alphas, np.float32(tail)), carry, tail=None)


def _above(hidden: Any, alphas: Any, carry: CifCarry, tail: float | None) -> Fired:
    """FunASR's loop with > for >=."""
    return _looped(hidden, alphas, carry, tail, lambda total: total > 1.0, lambda rest, row: rest * row)


def _rest_dropped(hidden: Any, alphas: Any, carry: CifCarry, tail: float | None) -> Fired:
    return _looped(hidden, alphas, carry, tail, lambda total: total >= 1.0, lambda rest, row: np.zeros_like(row))


def _looped(
    hidden: Any,
    alphas: Any,
    carry: CifCarry,
    tail: float | None,
    fires: Callable[[Any], bool],
    restart: Callable[..., Any],
) -> Fired:
    """Return what a loop over the frames gives that fires, and begins the next token, as it is told."""
    dtype = carry.hidden.dtype.type
    rows = [carry.hidden, *hidden.astype(dtype)]
    weights = [carry.alpha, *(dtype(alpha) for alpha in alphas.tolist())]
    if tail is not None:
        rows, weights = [*rows, np.zeros_like(carry.hidden)], [*weights, dtype(tail)]
    integral, state, tokens, at, sums = dtype(0.0), np.zeros_like(carry.hidden), [], [], []
    for index, (alpha, row) in enumerate(zip(weights, rows, strict=True)):
        total = integral + alpha
        sums.append(total)
        if not fires(total):
            integral, state = total, state + alpha * row
            continue
        tokens.append(state + (dtype(1.0) - integral) * row)
        at.append(index - 1)
        integral = total - dtype(1.0)
        state = restart(integral, row)
    return Fired(
        embeds=np.array(tokens, np.float32).reshape(len(tokens), hidden.shape[1]),
        frames=np.array(at, np.int64),
        integrals=np.array(sums[1:], dtype),
        carry=CifCarry(alpha=integral, hidden=state / integral if integral > 0 else state),
    )


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of a predictor over windows that sits at `at`."""
    hidden, alpha = within(at, "carry_hidden"), within(at, "carry_alpha")
    return (
        fault("look_ahead_decided", at, "frames of the right context are decided on in mid-stream",
              _decided(lambda self, frames, final: slice(self.left, frames))),
        fault("look_ahead_left_at_end", at, "frames of the right context are left out in the last window as well",
              _decided(lambda self, frames, final: slice(self.left, self.left + self.stride)),
              needs="a last window with more frames than a chunk"),
        fault("left_decided_again", at, "frames of the left context are decided on again",
              _decided(lambda self, frames, final: slice(0, frames if final else self.left + self.stride)),
              needs="left context"),
        fault("carry_not_divided", hidden, "the state carried on is not divided by its weight",
              _leaving(lambda carry: replace(carry, hidden=carry.hidden * carry.alpha))),
        fault("carry_hidden_lost", hidden, "the state carried on is lost",
              _leaving(lambda carry: replace(carry, hidden=np.zeros_like(carry.hidden)))),
        fault("carry_alpha_lost", alpha, "the weight carried on is lost",
              _leaving(lambda carry: replace(carry, alpha=carry.alpha * 0))),
        fault("tail_in_every_window", at, "a tail frame in every window", _tail_always),
        fault("tail_repeats", at, "the tail frame repeats the last state, not zeros", _integrate(_tail_repeats),
              needs="a recording whose last token is completed by the tail frame"),
        fault("rest_of_a_frame_dropped", at, "what a firing frame has left over is not added to the next token",
              _integrate(_rest_dropped)),
        fault("fires_above", within(at, "fires"), "> for >= where a token is complete", _integrate(_above),
              needs="none: weights made up for it"),
    )  # fmt: skip
