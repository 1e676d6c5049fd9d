"""Faults of the CIF predictor: convolution, alphas, tail, integration."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from mlx_model.machine.blas import mx, nn
from mlx_model.parts import cif as predictor
from parity.faults.fault import Fault, Seed, exchange, fault, method, taps_reversed, within
from parity.sides.candidate import Candidate

FILE = "mlx_model.parts.cif"


def _v1_residual(part: Any) -> None:
    """V1's residual in V2, or V1 without it."""
    sign = 1.0 if isinstance(part, predictor.CifPredictorV2) else 0.0

    def convolve(self: Any, hidden: mx.array) -> mx.array:
        padded = mx.pad(hidden, [(0, 0), (self.l_order, self.r_order), (0, 0)])
        return nn.relu(self.cif_conv1d(padded) + sign * hidden)

    method(part, "convolve", convolve)


def _quantized(linear: Any) -> None:
    step = mx.abs(linear.weight).max() / 7.0
    linear.weight = mx.round(linear.weight / step) * step


def _smooth(part: Any) -> None:
    part.smooth_factor *= 0.9


def _noise(part: Any) -> None:
    part.noise_threshold += 0.01


def _tail_at(value: float) -> Callable[[Any], None]:
    return lambda part: setattr(part, "tail_threshold", value)


def _repeated_tail(part: Any) -> None:
    """The tail frame's hidden state is the last frame, not zeros."""
    original = type(part).integrate

    def integrate(self: Any, hidden: mx.array, alphas: mx.array) -> Any:
        return original(self, mx.concatenate([hidden, hidden[:, -1:]], axis=1), alphas)

    method(part, "integrate", integrate)


def _rounded_count(part: Any) -> None:
    """Tokens counted by rounding, not by floor, although there is a tail."""
    original = type(part).integrate

    def integrate(self: Any, hidden: mx.array, alphas: mx.array) -> Any:
        kept, self.tail_threshold = self.tail_threshold, 0.0
        try:
            return original(self, hidden, alphas)
        finally:
            self.tail_threshold = kept

    method(part, "integrate", integrate)


def _float32_sum(stack: ExitStack) -> None:
    def running_sum(alphas: mx.array) -> mx.array:
        total = mx.cumsum(alphas, axis=1, stream=mx.cpu)
        return total.astype(mx.float64, stream=mx.cpu)

    exchange(stack, f"{FILE}.running_sum", running_sum)


def _whole_frames(stack: ExitStack) -> None:
    """A firing frame belongs to the token it completes, its remainder is not carried over."""

    def cif_weights(whole: mx.array, part: mx.array, tokens: int) -> mx.array:
        token = mx.arange(tokens, dtype=mx.int32)[None, :, None]
        filled = (whole[:, None, :] > token).astype(mx.float32)
        before = mx.pad(filled[:, :, :-1], [(0, 0), (0, 0), (1, 0)])
        healthy = original(whole, part, tokens)
        fires = filled - before
        carried = mx.pad(fires[:, :-1], [(0, 0), (1, 0), (0, 0)])  # the frame that completed the token before
        return mx.where(fires > 0, fires - (1.0 - healthy), healthy * (1.0 - carried))

    original = predictor.cif_weights
    exchange(stack, f"{FILE}.cif_weights", cif_weights)


def _alphas_as_weights(stack: ExitStack) -> None:
    """Embeddings one frame late: the running sum before a frame taken for the one after it."""
    original = predictor.cif_weights

    def cif_weights(whole: mx.array, part: mx.array, tokens: int) -> mx.array:
        return mx.pad(original(whole, part, tokens)[:, :, :-1], [(0, 0), (0, 0), (1, 0)])

    exchange(stack, f"{FILE}.cif_weights", cif_weights)


def _no_mask(stack: ExitStack) -> None:
    exchange(stack, f"{FILE}.masked", lambda x, mask: x)


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of a predictor that sits at `at`."""

    def of(change: Callable[[Any], None]) -> Seed:
        return lambda candidate, stack: change(candidate.modules[at])

    def with_tail(candidate: Candidate) -> bool:
        return candidate.modules[at].tail_threshold > 0.0

    return (
        fault("cif_kernel_reversed", within(at, "cif_conv1d"), "convolution taps in reverse order",
              of(lambda part: taps_reversed(part.cif_conv1d))),
        fault("predictor_residual", at, "V1's residual in V2 (or V1 without it)", of(_v1_residual)),
        fault("cif_output_quantised", within(at, "cif_output"), "cif_output rounded to 4 bits",
              of(lambda part: _quantized(part.cif_output))),
        fault("smooth_factor", at, "smooth_factor a tenth too small", of(_smooth)),
        fault("noise_threshold", at, "noise_threshold 0.01 too large", of(_noise)),
        fault("tail_lost", at, "no tail frame: the last token is missing", of(_tail_at(0.0)), fits=with_tail),
        fault("tail_fires_early", at, "tail fires from residual 0.45, not 0.55", of(_tail_at(0.55)), fits=with_tail),
        fault("tail_repeats", within(at, "acoustic_embeds"), "tail frame repeats the last state, not zeros",
              of(_repeated_tail), needs="a recording whose last token is completed by the tail frame", fits=with_tail),
        fault("token_count_rounded", within(at, "token_num"), "token count rounded, not floored", of(_rounded_count),
              needs="a recording whose weights sum to more than half past a whole number", fits=with_tail),
        fault("float32_running_sum", "cif.running_sum", "running sum of alphas in float32",
              lambda c, s: _float32_sum(s)),
        fault("remainder_lost", "cif.weights", "a firing frame's remainder not carried over",
              lambda c, s: _whole_frames(s)),
        fault("weights_late", "cif.weights", "weights one frame late", lambda c, s: _alphas_as_weights(s)),
        fault("no_predictor_mask", "invariance: batch composition", "padded frames enter the predictor's convolution",
              lambda c, s: _no_mask(s), batch=True, needs="utterances of different length"),
    )  # fmt: skip
