"""Faults of a speaker model's features: scale, mean, what is taken off. Those of every fbank stand in frontend.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlx_model.machine.blas import mx
from parity.faults.fault import Fault, exchange, fault, method
from parity.faults.frontend import SILENCE
from parity.sides.candidate import Candidate

FILE = "mlx_model.parts.frontend"


def _features(change: Callable[[mx.array], mx.array]) -> Callable[[Candidate, Any], None]:
    """Let features be others than fbank less its mean; recordings are read one by one here."""

    def seed(candidate: Candidate, stack: Any) -> None:
        healthy = type(candidate.model.frontend).__call__

        def call(self: Any, waveforms: mx.array, samples: mx.array, **more: Any) -> tuple[mx.array, mx.array]:
            _, lengths = healthy(self, waveforms, samples, **more)
            return change(self.fbank(waveforms)), lengths

        method(candidate.model.frontend, "__call__", call)

    return seed


def _by_deviation(logmel: mx.array) -> mx.array:
    return (logmel - logmel.mean(axis=1, keepdims=True)) / mx.sqrt(logmel.var(axis=1, keepdims=True) + 1e-10)


def _scaled(candidate: Candidate, stack: Any) -> None:
    healthy = type(candidate.model.frontend).fbank
    method(candidate.model.frontend, "fbank",
           lambda self, waveforms, **more: healthy(self, waveforms * 32768.0, **more))  # fmt: skip


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of features; every model has its front end at one place."""
    return (
        fault("scaled", "fbank", "samples multiplied by 32768 (wespeaker)", _scaled,
              needs="frames quiet enough for the floor of the logarithm"),
        fault("floor_1e-6", "fbank", "log floor 1e-6", lambda c, s: exchange(s, f"{FILE}.LOG_FLOOR", 1e-6),
              needs=SILENCE),
        fault("no_mean", "feats", "the mean over time stays (speech-swift)", _features(lambda logmel: logmel)),
        fault("mean_of_everything", "feats", "one mean of all bands taken off",
              _features(lambda logmel: logmel - logmel.mean())),
        fault("mean_over_bands", "feats", "the mean over bands taken off, not over time",
              _features(lambda logmel: logmel - logmel.mean(axis=2, keepdims=True))),
        fault("variance_too", "feats", "divided by the deviation as well", _features(_by_deviation)),
    )  # fmt: skip
