"""Faults of a recogniser's streaming front end: what is kept between chunks, copies at the ends, how a stream ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from mlx_model.machine.blas import mx
from parity.faults.fault import Fault, Seed, exchange, fault, method
from parity.sides.candidate import Candidate

WINDOW = "mlx_model.pipelines.streams.Window"


def _chunks(change: Callable[[Any, Any, Any, bool], tuple[Any, Any]]) -> Seed:
    """Seed a front end whose chunks give `change(self, feats, cache, is_final)`."""

    def seed(candidate: Candidate, stack: ExitStack) -> None:
        healthy = type(candidate.model.frontend).chunks

        def chunks(self: Any, samples: Any, caches: Any, final: Any) -> Any:
            found = healthy(self, samples, caches, final)
            return [change(self, each[0], each[1], last) for each, last in zip(found, final, strict=True)]

        method(candidate.model.frontend, "chunks", chunks)

    return seed


def _zeros_in_front(candidate: Candidate, stack: ExitStack) -> None:
    healthy = type(candidate.model.frontend)._mel_frames

    def mel_frames(self: Any, waveforms: Any, known: Any, frames: int) -> Any:
        found = healthy(self, waveforms, known, frames)
        if found is None or any(part is not None for part in known):
            return found
        return mx.concatenate([mx.zeros_like(found[:, : self.context]), found[:, self.context :]], axis=1)

    method(candidate.model.frontend, "_mel_frames", mel_frames)


def _no_right_context(candidate: Candidate, stack: ExitStack) -> None:
    healthy = type(candidate.model.frontend).counts
    method(candidate.model.frontend, "counts", lambda self, frames, is_final: healthy(self, frames, False))


def _sample_lost(self: Any, feats: Any, cache: Any, is_final: bool) -> Any:
    return feats, dataclasses.replace(cache, samples=cache.samples[:-1])


def _frame_lost(self: Any, feats: Any, cache: Any, is_final: bool) -> Any:
    return feats, dataclasses.replace(cache, logmel=None if cache.logmel is None else cache.logmel[1:])


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of a recogniser's streaming front end; every model has it at one place."""
    return (
        fault("splice_of_zeros", "feats", "zeros, not copies of frame 0, before the first frame", _zeros_in_front),
        fault("no_right_context", "feats", "the last frame not repeated", _no_right_context,
              needs="a recording whose last frame is incomplete"),
        fault("sample_lost", "feats", "a sample lost wherever a chunk ends", _chunks(_sample_lost)),
        fault("frame_lost", "feats", "a mel frame lost wherever a chunk ends", _chunks(_frame_lost)),
        fault("rest_computed", "end_to_end.windows", "less than a frame at the end is computed, not dropped",
              lambda c, s: exchange(s, f"{WINDOW}.is_heard", property(lambda self: True)),
              needs="none: lengths made up for it"),
    )  # fmt: skip
