"""Faults of CifPredictorV3: transposed convolution, second alphas, their scale and peaks, the first head's loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from mlx_model.machine.blas import mx, nn
from mlx_model.parts import cif_v3
from mlx_model.parts.integrals import PEAK, integrals
from parity.faults.fault import Fault, Seed, exchange, fault, lost, method, taps_reversed, within
from parity.sides.candidate import Candidate

FILE = "mlx_model.parts.cif_v3"


def _swapped(part: Any) -> None:
    """Inputs and outputs of the transposed convolution exchanged; there are as many."""
    part.upsample_cnn.weight = part.upsample_cnn.weight.transpose(2, 1, 0)


def _other_input(part: Any) -> None:
    part.use_cif1_cnn = not part.use_cif1_cnn


def _first_heads(part: Any) -> None:
    """smooth_factor and noise_threshold of the first head used in the second."""
    part.smooth_factor2, part.noise_threshold2 = part.smooth_factor, part.noise_threshold


def _alphas(change: Callable[[Any, mx.array], mx.array]) -> Callable[[Any], None]:
    """Second alphas made otherwise of cif_output2's sigmoid (B, 3T); one utterance, so nothing is masked."""

    def second_alphas(self: Any, hidden: mx.array, lengths: mx.array, mask: Any) -> mx.array:
        x = self.upsample_cnn(self.convolve(hidden) if self.use_cif1_cnn else hidden)
        x = self.blstm(x) if "blstm" in self else x
        return change(self, mx.sigmoid(self.cif_output2(x)[..., 0]))

    return lambda part: method(part, "second_alphas", second_alphas)


def _scaled(count: Callable[[mx.array, mx.array], mx.array]) -> Callable[[Any], None]:
    """Second alphas that add up to something else; `count` gets what they add up to, and the numbers of tokens."""

    def upsample(self: Any, hidden: mx.array, lengths: mx.array, mask: Any, token_num: mx.array) -> cif_v3.Peaks:
        alphas = self.second_alphas(hidden, lengths, mask)
        total = alphas.sum(axis=1)
        return cif_v3.Peaks(alphas * (count(total, token_num) / total)[:, None])

    return lambda part: method(part, "upsample", upsample)


def _loop(edge: float, taken: float) -> Callable[[ExitStack], None]:
    """Peaks that fire from another edge on, or take another weight off; the first head's loop stays as it is."""

    def loop(alphas: np.ndarray, threshold: float) -> np.ndarray:
        if threshold != PEAK:
            return integrals(alphas, threshold)
        integral, sums = np.zeros(len(alphas), np.float32), np.empty(alphas.shape, np.float32)
        for frame in range(alphas.shape[1]):
            sums[:, frame] = integral + alphas[:, frame]
            integral = sums[:, frame] - (sums[:, frame] >= np.float32(edge)) * np.float32(taken)
        return sums

    return lambda stack: exchange(stack, f"{FILE}.integrals", loop)


def _after(stack: ExitStack) -> None:
    """Peaks are integrals after a token was taken off."""

    def loop(alphas: np.ndarray, threshold: float) -> np.ndarray:
        found = integrals(alphas, threshold)
        return found - (found >= np.float32(PEAK)) * np.float32(PEAK) if threshold == PEAK else found

    exchange(stack, f"{FILE}.integrals", loop)


def _exact_sum(part: Any) -> None:
    """Tokens of the first head are complete by the exact running sum, as V1's are."""

    def fire(self: Any, alphas: mx.array) -> Any:
        exact = cif_v3.CifPredictorV2.fire(self, alphas)
        return cif_v3.CifPredictorV3.fire(self, alphas)._replace(fired=exact.fired)

    method(part, "fire", fire)


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of a predictor that sits at `at`."""

    def of(change: Callable[[Any], None]) -> Seed:
        return lambda candidate, stack: change(candidate.modules[at])

    def noisy(candidate: Candidate) -> bool:
        return candidate.modules[at].noise_threshold2 > 0.0

    def factor(candidate: Candidate) -> bool:
        return noisy(candidate) and candidate.modules[at].smooth_factor2 != 1.0

    cnn, head, alphas, peaks = (within(at, name) for name in ("upsample_cnn", "cif_output2", "us_alphas", "us_peaks"))
    return (
        fault("upsample_transposed", cnn, "transposed convolution with inputs and outputs exchanged", of(_swapped)),
        fault("upsample_taps_reversed", cnn, "its three frames in reverse order",
              of(lambda part: taps_reversed(part.upsample_cnn))),
        fault("upsample_bias_lost", cnn, "its bias lost", of(lambda part: lost(part.upsample_cnn))),
        fault("second_bias_lost", head, "cif_output2's bias lost", of(lambda part: lost(part.cif_output2))),
        fault("second_head_input", alphas, "use_cif1_cnn inverted", of(_other_input)),
        fault("second_head_factors", alphas, "smooth_factor and noise_threshold of the first head",
              of(_first_heads), fits=noisy),
        fault("second_noise_first", alphas, "noise taken off before the factor",
              of(_alphas(lambda self, x: nn.relu(x - self.noise_threshold2) * self.smooth_factor2)), fits=factor),
        fault("second_relu_lost", alphas, "no ReLU behind the noise",
              of(_alphas(lambda self, x: x * self.smooth_factor2 - self.noise_threshold2)),
              needs="frames whose second alpha is below the noise", fits=noisy),
        fault("second_not_scaled", alphas, "second alphas not scaled to the number of tokens",
              of(_scaled(lambda total, tokens: total))),
        fault("second_scaled_without_end", alphas, "scaled to the tokens without the end's",
              of(_scaled(lambda total, tokens: tokens - 1))),
        fault("peaks_from_1", peaks, "peaks fire from 1 on, not from 1 - 1e-4", lambda c, s: _loop(1.0, PEAK)(s)),
        fault("peaks_take_1", peaks, "1 taken off at a peak, not 1 - 1e-4", lambda c, s: _loop(PEAK, 1.0)(s)),
        fault("peaks_after", peaks, "integrals after a token was taken off", lambda c, s: _after(s)),
        fault("first_head_exact", at, "the first head fires by an exact sum", of(_exact_sum)),
    )  # fmt: skip
