"""Faults of the CIF predictor: convolution, alphas, tail, integration."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from mlx_model.machine.blas import mx, nn
from mlx_model.parts import cif as predictor
from parity.faults.fault import Fault, exchange, method
from parity.sides.candidate import Candidate

FILE = "mlx_model.parts.cif"


def _v2(candidate: Candidate) -> bool:
    return isinstance(candidate.model.predictor, predictor.CifPredictorV2)


def _tail(candidate: Candidate) -> bool:
    return candidate.model.predictor.tail_threshold > 0.0


def _v1_residual(candidate: Candidate, stack: ExitStack) -> None:
    """V1's residual in V2, or V1 without it."""
    part = candidate.model.predictor
    sign = 1.0 if _v2(candidate) else 0.0

    def convolve(self: Any, hidden: mx.array) -> mx.array:
        padded = mx.pad(hidden, [(0, 0), (self.l_order, self.r_order), (0, 0)])
        return nn.relu(self.cif_conv1d(padded) + sign * hidden)

    method(part, "convolve", convolve)


def _kernel_reversed(candidate: Candidate, stack: ExitStack) -> None:
    conv: Any = candidate.model.predictor.cif_conv1d
    conv.weight = conv.weight[:, ::-1]


def _quantized_output(candidate: Candidate, stack: ExitStack) -> None:
    linear = candidate.model.predictor.cif_output
    step = mx.abs(linear.weight).max() / 7.0
    linear.weight = mx.round(linear.weight / step) * step


def _smooth(candidate: Candidate, stack: ExitStack) -> None:
    candidate.model.predictor.smooth_factor *= 0.9


def _noise(candidate: Candidate, stack: ExitStack) -> None:
    candidate.model.predictor.noise_threshold += 0.01


def _tail_at(value: float) -> Any:
    def seed(candidate: Candidate, stack: ExitStack) -> None:
        candidate.model.predictor.tail_threshold = value

    return seed


def _repeated_tail(candidate: Candidate, stack: ExitStack) -> None:
    """The tail frame's hidden state is the last frame, not zeros."""
    part = candidate.model.predictor
    original = type(part).integrate

    def integrate(self: Any, hidden: mx.array, alphas: mx.array) -> Any:
        return original(self, mx.concatenate([hidden, hidden[:, -1:]], axis=1), alphas)

    method(part, "integrate", integrate)


def _rounded_count(candidate: Candidate, stack: ExitStack) -> None:
    """Tokens counted by rounding, not by floor, although there is a tail."""
    part = candidate.model.predictor
    original = type(part).integrate

    def integrate(self: Any, hidden: mx.array, alphas: mx.array) -> Any:
        kept, self.tail_threshold = self.tail_threshold, 0.0
        try:
            return original(self, hidden, alphas)
        finally:
            self.tail_threshold = kept

    method(part, "integrate", integrate)


def _float32_sum(candidate: Candidate, stack: ExitStack) -> None:
    def running_sum(alphas: mx.array) -> mx.array:
        total = mx.cumsum(alphas, axis=1, stream=mx.cpu)
        return total.astype(mx.float64, stream=mx.cpu)

    exchange(stack, f"{FILE}.running_sum", running_sum)


def _whole_frames(candidate: Candidate, stack: ExitStack) -> None:
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


def _alphas_as_weights(candidate: Candidate, stack: ExitStack) -> None:
    """Embeddings one frame late: the running sum before a frame taken for the one after it."""
    original = predictor.cif_weights

    def cif_weights(whole: mx.array, part: mx.array, tokens: int) -> mx.array:
        return mx.pad(original(whole, part, tokens)[:, :, :-1], [(0, 0), (0, 0), (1, 0)])

    exchange(stack, f"{FILE}.cif_weights", cif_weights)


def _fault(name: str, module: str, description: str, seed: Any, **more: Any) -> Fault:
    return Fault(name=name, module=module, description=description, seed=seed, **more)


HALF = "a recording whose weights sum to more than half past a whole number"

PREDICTOR = (
    _fault("cif_kernel_reversed", "predictor.cif_conv1d", "convolution taps in reverse order", _kernel_reversed),
    _fault("predictor_residual", "predictor", "V1's residual in V2 (or V1 without it)", _v1_residual),
    _fault("cif_output_quantised", "predictor.cif_output", "cif_output rounded to 4 bits", _quantized_output),
    _fault("smooth_factor", "predictor", "smooth_factor a tenth too small", _smooth),
    _fault("noise_threshold", "predictor", "noise_threshold 0.01 too large", _noise),
    _fault("tail_lost", "predictor", "no tail frame: the last token is missing", _tail_at(0.0), fits=_tail),
    _fault("tail_fires_early", "predictor", "tail fires from residual 0.45, not 0.55", _tail_at(0.55),
           fits=_tail),
    _fault("tail_repeats", "predictor.acoustic_embeds", "tail frame repeats the last state, not zeros", _repeated_tail,
           needs="a recording whose last token is completed by the tail frame", fits=_tail),
    _fault("token_count_rounded", "predictor.token_num", "token count rounded, not floored", _rounded_count,
           needs=HALF, fits=_tail),
    _fault("float32_running_sum", "cif.running_sum", "running sum of alphas in float32", _float32_sum),
    _fault("remainder_lost", "cif.weights", "a firing frame's remainder not carried over", _whole_frames),
    _fault("weights_late", "cif.weights", "weights one frame late", _alphas_as_weights),
)  # fmt: skip
