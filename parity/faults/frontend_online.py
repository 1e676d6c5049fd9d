"""Faults of the front end that works on a stream: its ends, its buffers, its statistics."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from mlx_model.machine.blas import mx
from mlx_model.models import fsmn_vad_streaming
from parity.faults.fault import Fault, Seed, behave, exchange, fault
from parity.sides.candidate import Candidate

STREAM = "mlx_model.models.fsmn_vad_streaming.Stream"


def _frontend(change: Callable[..., Any]) -> Seed:
    """Seed a front end whose call gives `change(self, feats, covered, is_final)`."""

    def seed(candidate: Candidate, stack: ExitStack) -> None:
        call = type(candidate.model.frontend).__call__

        def changed(self: Any, samples: np.ndarray, cache: Any, *, is_final: bool = False) -> Any:
            return change(self, *call(self, samples, cache, is_final=is_final), is_final)

        behave(candidate.model.frontend, changed)

    return seed


def _two_more(self: Any, feats: mx.array, covered: np.ndarray, is_final: bool) -> Any:
    if not is_final or not feats.shape[1]:
        return feats, covered
    return mx.concatenate([feats, feats[:, -1:], feats[:, -1:]], axis=1), np.pad(covered, (0, 2 * self.shift))


def _no_right_context(candidate: Candidate, stack: ExitStack) -> None:
    call = type(candidate.model.frontend).__call__
    behave(candidate.model.frontend, lambda self, samples, cache, is_final=False: call(self, samples, cache))


def _narrow_cmvn(candidate: Candidate, stack: ExitStack) -> None:
    """One frame's statistics for every frame that is stacked."""
    frontend = candidate.model.frontend
    mels, times = frontend.config.n_mels, frontend.config.lfr_m
    frontend.cmvn_shift = mx.tile(frontend.cmvn_shift[:mels] * 0.99, times)
    frontend.cmvn_scale = mx.tile(frontend.cmvn_scale[:mels], times)


def _sample_lost(candidate: Candidate, stack: ExitStack) -> None:
    """One sample is forgotten wherever a chunk ends."""
    call = type(candidate.model.frontend).__call__

    def losing(self: Any, samples: np.ndarray, cache: Any, *, is_final: bool = False) -> Any:
        given = call(self, samples, cache, is_final=is_final)
        cache.waveform = cache.waveform[:-1]
        return given

    behave(candidate.model.frontend, losing)


def _rest_lost(candidate: Candidate, stack: ExitStack) -> None:
    """Samples that do not fill a chunk are thrown away, not kept for the next call."""
    feed = fsmn_vad_streaming.Stream.feed

    def losing(self: Any, samples: np.ndarray, *, is_final: bool = False) -> Any:
        found = feed(self, samples, is_final=is_final)
        self.rest = self.rest[:0]
        return found

    exchange(stack, f"{STREAM}.feed", losing)


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of a stream's front end; every model has it at one place."""
    return (
        fault("two_frames_more", "feats", "T + 2 frames at the end", _frontend(_two_more)),
        fault("no_right_context", "feats", "the last frame not repeated: T - 2 frames", _no_right_context),
        fault("narrow_cmvn", "feats", "CMVN of one frame's width, repeated", _narrow_cmvn),
        fault("sample_lost", "stream", "a sample lost wherever a chunk ends", _sample_lost),
        fault("rest_lost", "invariance: arrival of samples", "samples short of a chunk thrown away", _rest_lost,
              batch=True),
    )  # fmt: skip
