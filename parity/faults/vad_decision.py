"""Faults of a voice activity decision: scores, the frame decision, the machine, what is reported. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from mlx_model.decoding import vad_decision
from mlx_model.machine.blas import mx
from mlx_model.models import fsmn_vad_streaming
from parity.faults.fault import Fault, Seed, exchange, fault, method
from parity.sides.candidate import Candidate

STREAM, DECISION = "mlx_model.models.fsmn_vad_streaming", "mlx_model.decoding.vad_decision"
MADE_UP = "none: frames made up for it"


def _other_pdf(candidate: Candidate, stack: ExitStack) -> None:
    healthy = type(candidate.model).silence_scores

    def silence_scores(self: Any, feats: mx.array, cache: Any) -> np.ndarray:
        pdfs = self.config.vad_opts.sil_pdf_ids
        kept = list(pdfs)
        pdfs[:] = [pdf + 1 for pdf in kept]
        try:
            return healthy(self, feats, cache)
        finally:
            pdfs[:] = kept

    method(candidate.model, "silence_scores", silence_scores)


def _mean_level(candidate: Candidate, stack: ExitStack) -> None:
    healthy = vad_decision.decibels
    mean = lambda waveform, length, shift: healthy(waveform, length, shift) - np.float32(10 * np.log10(length))  # noqa: E731
    exchange(stack, f"{STREAM}.decibels", mean)


def _speech(change: Callable[..., Any]) -> Seed:
    """Seed another frame decision: `change(healthy, silence, levels, noise, opts, threshold)`."""

    def seed(candidate: Candidate, stack: ExitStack) -> None:
        healthy = vad_decision.speech_frames
        for place in (STREAM, DECISION):
            exchange(stack, f"{place}.speech_frames", lambda *given: change(healthy, *given))

    return seed


def _above(healthy: Any, silence: Any, levels: Any, noise: Any, opts: Any, threshold: float) -> Any:
    return healthy(silence, levels, noise, opts, float(np.nextafter(threshold, np.inf)))


def _no_power(healthy: Any, silence: Any, levels: Any, noise: Any, opts: Any, threshold: float) -> Any:
    return healthy(silence, levels, noise, dataclasses.replace(opts, speech_2_noise_ratio=1.0), threshold)


def _noise_from_one(candidate: Candidate, stack: ExitStack) -> None:
    """The noise floor is the last noise frame's level, not an average."""
    exchange(stack, f"{DECISION}.NoiseFloor.update", lambda self, level: setattr(self, "level", level))


def _vote(to_speech: int, to_silence: int) -> Seed:
    """Seed > for >= (or < for <=) in the window's vote: a vote more, or less, is needed."""

    def seed(candidate: Candidate, stack: ExitStack) -> None:
        healthy = vad_decision.Window.add

        def add(self: Any, is_speech: bool) -> Any:
            self.to_speech, self.to_silence = self.to_speech + to_speech, self.to_silence + to_silence
            try:
                return healthy(self, is_speech)
            finally:
                self.to_speech, self.to_silence = self.to_speech - to_speech, self.to_silence - to_silence

        exchange(stack, f"{DECISION}.Window.add", add)

    return seed


def _lookback(candidate: Candidate, stack: ExitStack) -> None:
    healthy = vad_decision.Decision._lookback
    exchange(stack, f"{DECISION}.Decision._lookback", lambda self: healthy(self) + 1)


def _setting(name: str, change: int) -> Seed:
    """Seed another value of one of the machine's sizes."""

    def seed(candidate: Candidate, stack: ExitStack) -> None:
        healthy = vad_decision.Decision.__init__

        def init(self: Any, *args: Any) -> None:
            healthy(self, *args)
            setattr(self, name, getattr(self, name) + change)

        exchange(stack, f"{DECISION}.Decision.__init__", init)

    return seed


def _never_last(candidate: Candidate, stack: ExitStack) -> None:
    healthy = vad_decision.Decision.frame
    never = lambda self, index, is_speech, is_last: healthy(self, index, is_speech, False)  # noqa: E731
    exchange(stack, f"{DECISION}.Decision.frame", never)


def _votes_kept(candidate: Candidate, stack: ExitStack) -> None:
    """The window goes on voting with the frames of the segment that has just ended."""
    healthy = vad_decision.Window.reset

    def reset(self: Any) -> None:
        if not hasattr(self, "votes"):
            healthy(self)

    exchange(stack, f"{DECISION}.Window.reset", reset)


def _frame_longer(candidate: Candidate, stack: ExitStack) -> None:
    healthy = fsmn_vad_streaming.Stream._times

    def times(self: Any, segment: Any) -> list[int]:
        start, end = healthy(self, segment)
        return [start, end + 10 if end >= 0 else end]

    exchange(stack, f"{STREAM}.Stream._times", times)


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of a decision; it sits at no module."""
    return (
        fault("other_pdf", "silence", "the probability of another pdf than silence", _other_pdf),
        fault("mean_level", "levels", "a frame's mean square, not its sum", _mean_level),
        fault("above_the_threshold", "decision.speech", "> for >= at the threshold", _speech(_above), needs=MADE_UP),
        fault("no_power", "decision.speech", "speech_2_noise_ratio left out", _speech(_no_power), needs=MADE_UP),
        fault("noise_from_one_frame", "decision.speech", "noise floor not averaged", _noise_from_one, needs=MADE_UP),
        fault("vote_above", "decision.state", "> for >= where the vote turns to speech", _vote(1, 0)),
        fault("vote_below", "decision.state", "< for <= where the vote turns to silence", _vote(0, -1)),
        fault("lookback_off_by_one", "decision.state", "a segment ends a frame earlier", _lookback),
        fault("latency_off_by_one", "decision.latency", "a segment starts a frame earlier", _setting("latency", 1)),
        fault("no_lookahead", "decision.lookahead", "no frames after the end", _setting("lookahead", -10)),
        fault("longest_off_by_one", "decision.longest", "the longest segment is a frame longer",
              _setting("longest", 1)),
        fault("whole_end_silence", "decision.end_silence_ms", "the window's time not taken off max_end_silence_time",
              _setting("max_end_silence_ms", 150)),
        fault("never_last", "decision.state", "the last frame does not end a segment", _never_last),
        fault("votes_kept", "decision.state", "the window is not emptied after a segment", _votes_kept),
        fault("frame_longer", "end_to_end.segments", "segments reported a frame longer", _frame_longer),
    )  # fmt: skip
