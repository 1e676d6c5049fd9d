"""Faults of a forced aligner's second head, of what is asked of it for a text, and of the text's tokens."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from mlx_model.machine.blas import mx
from mlx_model.parts import cif_v3
from parity.faults.fault import Fault, Seed, exchange, fault, method, within
from parity.sides.candidate import Candidate

ASKED, PART = "mlx_model.decoding.forced_alignment.asked_for", "mlx_model.parts.cif_v3"


def _transposed(part: Any) -> None:
    part.upsample_cnn.weight = part.upsample_cnn.weight.transpose(2, 1, 0)


def _reversed(part: Any) -> None:
    part.upsample_cnn.weight = part.upsample_cnn.weight[:, ::-1]


def _alphas(part: Any, change: Callable[[Any, mx.array], mx.array]) -> None:
    """Let alphas be made of the logistic function's values in another way."""

    def second_alphas(self: Any, hidden: mx.array, lengths: mx.array, mask: Any) -> mx.array:
        x = self.upsample_cnn(self.convolve(hidden) if self.use_cif1_cnn else hidden)
        x = self.blstm(x, None if mask is None else lengths * 3) if "blstm" in self else x
        found = change(self, mx.sigmoid(self.cif_output2(x)[..., 0]))
        return found if mask is None else mx.where(mx.repeat(mask, 3, axis=1), found, 0.0)

    method(part, "second_alphas", second_alphas)


def _noise_first(self: Any, value: mx.array) -> mx.array:
    return mx.maximum(value - self.noise_threshold2, 0.0) * self.smooth_factor2


def _no_relu(self: Any, value: mx.array) -> mx.array:
    return value * self.smooth_factor2 - self.noise_threshold2


def _tail(self: Any, value: mx.array) -> mx.array:
    alphas = mx.maximum(_no_relu(self, value), 0.0)
    return mx.concatenate([alphas[:, :-1], alphas[:, -1:] + 0.45], axis=1)


def _first_factor(part: Any) -> None:
    part.smooth_factor2, part.noise_threshold2 = part.smooth_factor, part.noise_threshold


def _unscaled(part: Any) -> None:
    method(part, "scaled", lambda self, alphas, token_num: cif_v3.Peaks(alphas))


def _scaled_to_fewer(part: Any) -> None:
    healthy = type(part).scaled
    method(part, "scaled", lambda self, alphas, token_num: healthy(self, alphas, token_num - 1))


def _integrals(stack: ExitStack, *, edge: float, taken: float) -> None:
    def integrals(alphas: np.ndarray, threshold: float) -> np.ndarray:
        sums = np.empty(alphas.shape, np.float32)
        integral = np.zeros(len(alphas), np.float32)
        for frame in range(alphas.shape[1]):
            sums[:, frame] = integral + alphas[:, frame]
            integral = sums[:, frame] - (sums[:, frame] >= np.float32(edge)) * np.float32(taken)
        return sums

    exchange(stack, f"{PART}.integrals", integrals)


def _after(stack: ExitStack) -> None:
    """Integrals after a token is taken off, so that none ever fires."""
    healthy = cif_v3.integrals

    def integrals(alphas: np.ndarray, threshold: float) -> np.ndarray:
        sums = healthy(alphas, threshold)
        return sums - (sums >= np.float32(threshold)) * np.float32(threshold)

    exchange(stack, f"{PART}.integrals", integrals)


def _asked(stack: ExitStack, more: int) -> None:
    exchange(stack, ASKED, lambda tokens: max(tokens + more, 1))


def _padding_counts(part: Any) -> None:
    """The padding's frames enter the second head and count."""
    healthy = type(part).second_alphas
    method(part, "second_alphas", lambda self, hidden, lengths, mask: healthy(self, hidden, lengths, None))


def _text(change: Callable[[Any, str], list[str]]) -> Seed:
    def seed(candidate: Candidate, stack: ExitStack) -> None:
        method(candidate.model.speller, "funasr_tokens", change)

    return seed


def _spaces_kept(self: Any, text: str) -> list[str]:
    return [one if one in self.vocabulary else self.unk_symbol for one in text]


def _lowered(self: Any, text: str) -> list[str]:
    return type(self).__mro__[1].funasr_tokens(self, text.lower())


def _unknown_dropped(self: Any, text: str) -> list[str]:
    return [token for token in type(self).__mro__[1].funasr_tokens(self, text) if token != self.unk_symbol]


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of a second head that sits at `at`."""

    def of(change: Callable[[Any], None]) -> Seed:
        return lambda candidate, stack: change(candidate.modules[at])

    def alphas(change: Callable[[Any, mx.array], mx.array]) -> Seed:
        return of(lambda part: _alphas(part, change))

    def plain_text(candidate: Candidate) -> bool:
        return candidate.model.speller.seg_dict is None

    def settings(candidate: Candidate) -> Any:
        return candidate.modules[at]

    def noisy(candidate: Candidate) -> bool:
        return settings(candidate).noise_threshold2 > 0.0

    def factor(candidate: Candidate) -> bool:
        return noisy(candidate) and settings(candidate).smooth_factor2 != 1.0

    def other_factors(candidate: Candidate) -> bool:
        part = settings(candidate)
        return (part.smooth_factor, part.noise_threshold) != (part.smooth_factor2, part.noise_threshold2)

    upsample = within(at, "upsample_cnn")
    us_alphas, us_peaks = within(at, "us_alphas"), within(at, "us_peaks")
    return (
        fault("upsample_transposed", upsample, "inputs and outputs of the transposed convolution exchanged",
              of(_transposed)),
        fault("upsample_taps_reversed", upsample, "taps of the transposed convolution in reverse order", of(_reversed)),
        fault("first_heads_factors", at, "smooth_factor and noise_threshold of the first head", of(_first_factor),
              fits=other_factors),
        fault("noise_first", within(at, "alphas"), "noise_threshold2 taken off before the factor", alphas(_noise_first),
              fits=factor),
        fault("no_relu", within(at, "alphas"), "alphas below 0 kept", alphas(_no_relu),
              needs="silence: an alpha below 0", fits=noisy),
        fault("tail_in_second_head", within(at, "alphas"), "a tail of 0.45 in the second head, too", alphas(_tail)),
        fault("alphas_not_scaled", us_alphas, "alphas not scaled to the number of tokens", of(_unscaled)),
        fault("scaled_to_fewer", us_alphas, "alphas scaled to one token less", of(_scaled_to_fewer)),
        fault("fires_at_one", us_peaks, "a token begins at 1, not at 1 - 1e-4, and takes off 1",
              lambda c, s: _integrals(s, edge=1.0, taken=1.0)),
        fault("takes_off_one", us_peaks, "1 taken off, not 1 - 1e-4",
              lambda c, s: _integrals(s, edge=1.0 - 1e-4, taken=1.0)),
        fault("peaks_after", us_peaks, "integrals after a token is taken off", lambda c, s: _after(s)),
        fault("asked_for_n", "asked", "alphas scaled to the text's tokens, not to one more", lambda c, s: _asked(s, 0)),
        fault("asked_for_two_more", "asked", "alphas scaled to two tokens more", lambda c, s: _asked(s, 2)),
        fault("padding_counts", "invariance: batch composition", "the padding enters the second head",
              of(_padding_counts), batch=True, needs="utterances of different length"),
        fault("spaces_are_tokens", "tokenizer", "spaces of the text counted as tokens", _text(_spaces_kept),
              fits=plain_text),
        fault("text_lowered", "tokenizer", "text lower-cased though there is no dictionary", _text(_lowered),
              fits=plain_text),
        fault("unknown_dropped", "tokenizer", "characters that the vocabulary lacks not counted",
              _text(_unknown_dropped)),
    )  # fmt: skip
