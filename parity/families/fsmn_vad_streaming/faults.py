"""FSMN-VAD's seeded faults: of the network, of the stream's front end and caches, of the decision. Imports no torch.

The front end's own (window, pre-emphasis, mel filters, CMVN) are the shared ones of layers/faults/frontend.py.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from mlx_model.decoding import vad_decision
from mlx_model.machine.blas import mx
from mlx_model.models import fsmn_vad_streaming
from parity.faults.fault import Fault, behave, exchange, method
from parity.faults.frontend import FRONTEND
from parity.sides.candidate import Candidate

STREAM, DECISION = "mlx_model.models.fsmn_vad_streaming", "mlx_model.decoding.vad_decision"
MEMORY = "encoder.fsmn.1.fsmn_block"
MADE_UP = "none: frames made up for it"
# Of the shared faults, those of steps that this family's front end does not take: it stacks frames as they come.
ELSEWHERE = ("lfr_surplus_frame", "lfr_left_zeros", "lfr_right_zeros")


def block(candidate: Candidate) -> Any:
    """Return the second block, away from the ends."""
    return candidate.model.encoder.fsmn[1]


# ---- the network


def _memory(function: Any) -> Any:
    """Seed another memory: `function(block, x (B, T, D), past (B, T + reach, D))` gives its output."""

    def call(self: Any, x: mx.array, cache: mx.array | None = None) -> tuple[mx.array, mx.array]:
        past = mx.concatenate([self.empty_cache(x) if cache is None else cache, x], axis=1)
        return function(self, x, past), past[:, past.shape[1] - self.conv_left.reach :]

    return lambda candidate, stack: behave(block(candidate).fsmn_block, call)


def _future(self: Any, x: mx.array, past: mx.array) -> mx.array:
    return x + self.conv_left(mx.pad(x, [(0, 0), (0, self.conv_left.reach), (0, 0)]))


def _late(self: Any, x: mx.array, past: mx.array) -> mx.array:
    return x + self.conv_left(mx.pad(past, [(0, 0), (1, 0), (0, 0)])[:, :-1])


def _reversed(candidate: Candidate, stack: ExitStack) -> None:
    taps = block(candidate).fsmn_block.conv_left
    taps.weight = taps.weight[:, ::-1]


def _stride(candidate: Candidate, stack: ExitStack) -> None:
    taps = block(candidate).fsmn_block.conv_left
    taps.stride, taps.reach = taps.stride + 1, (taps.stride + 1) * (taps.weight.shape[1] - 1)


def _bias_lost(candidate: Candidate, stack: ExitStack) -> None:
    linear = block(candidate).affine.linear
    linear.bias = mx.zeros_like(linear.bias)


def _early_relu(candidate: Candidate, stack: ExitStack) -> None:
    linear = candidate.model.encoder.in_linear1
    call = type(linear).__call__
    behave(linear, lambda self, x: mx.maximum(call(self, x), 0.0))


def _no_cache(candidate: Candidate, stack: ExitStack) -> None:
    chosen = block(candidate)
    call = type(chosen).__call__
    behave(chosen, lambda self, x, cache=None: call(self, x))


def _short_cache(candidate: Candidate, stack: ExitStack) -> None:
    """What is carried over ends a frame too early: the chunk's last frame is missing, an older one is there twice."""
    memory = block(candidate).fsmn_block
    call = type(memory).__call__

    def shifted(self: Any, x: mx.array, cache: mx.array | None = None) -> tuple[mx.array, mx.array]:
        output, past = call(self, x, cache)
        return output, mx.concatenate([past[:, :1], past[:, :-1]], axis=1)

    behave(memory, shifted)


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


# ---- the stream's front end


def _frontend(change: Any) -> Any:
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

    exchange(stack, f"{STREAM}.Stream.feed", losing)


# ---- the decision


def _mean_level(candidate: Candidate, stack: ExitStack) -> None:
    healthy = vad_decision.decibels
    mean = lambda waveform, length, shift: healthy(waveform, length, shift) - np.float32(10 * np.log10(length))  # noqa: E731
    exchange(stack, f"{STREAM}.decibels", mean)


def _speech(change: Any) -> Any:
    """Seed another frame decision: `change(healthy, silence, levels, noise, opts, threshold)`."""

    def seed(candidate: Candidate, stack: ExitStack) -> None:
        healthy = vad_decision.speech_frames
        for place in (STREAM, DECISION):
            exchange(stack, f"{place}.speech_frames", lambda *given: change(healthy, *given))

    return seed


def _above(healthy: Any, silence: Any, levels: Any, noise: Any, opts: Any, threshold: float) -> Any:
    return healthy(silence, levels, noise, opts, float(np.nextafter(threshold, np.inf)))


def _no_power(healthy: Any, silence: Any, levels: Any, noise: Any, opts: Any, threshold: float) -> Any:
    import dataclasses

    return healthy(silence, levels, noise, dataclasses.replace(opts, speech_2_noise_ratio=1.0), threshold)


def _noise_from_one(candidate: Candidate, stack: ExitStack) -> None:
    """The noise floor is the last noise frame's level, not an average."""
    exchange(stack, f"{DECISION}.NoiseFloor.update", lambda self, level: setattr(self, "level", level))


def _vote(to_speech: int, to_silence: int) -> Any:
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


def _setting(name: str, change: int) -> Any:
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


def _fault(name: str, module: str, description: str, seed: Any, **more: Any) -> Fault:
    return Fault(name=name, module=module, description=description, seed=seed, **more)


LONG = "a recording longer than the 2 s after which the network's caches are needed"

NETWORK = (
    _fault("kernel_reversed", MEMORY, "taps in reverse order", _reversed),
    _fault("left_right_swapped", MEMORY, "taps reach into the future, not the past", _memory(_future)),
    _fault("stride", MEMORY, "taps a frame further apart", _stride),
    _fault("no_residual", MEMORY, "memory without its residual",
           _memory(lambda self, x, past: self.conv_left(past))),
    _fault("double_residual", MEMORY, "residual twice", _memory(lambda self, x, past: 2 * x + self.conv_left(past))),
    _fault("memory_late", MEMORY, "taps end a frame before the frame itself", _memory(_late)),
    _fault("bias_lost", "encoder.fsmn.1.affine", "bias of one affine lost", _bias_lost),
    _fault("no_relu", "encoder.fsmn.1", "a block without its ReLU",
           lambda c, s: behave(block(c).relu, lambda self, x: x)),
    _fault("early_relu", "encoder.in_linear1", "a ReLU after the first layer too", _early_relu),
    _fault("log_softmax", "encoder.softmax", "logarithms of the probabilities",
           lambda c, s: behave(c.model.encoder.softmax, lambda self, x: x - mx.logsumexp(x, axis=-1, keepdims=True))),
    _fault("cache_not_carried", MEMORY, "every piece starts with a past of zeros", _no_cache, needs=LONG),
    _fault("cache_off_by_one", MEMORY, "the past of the next piece is a frame off", _short_cache, needs=LONG),
    _fault("other_pdf", "silence", "the probability of another pdf than silence", _other_pdf),
)  # fmt: skip
STREAMED = (
    _fault("two_frames_more", "feats", "T + 2 frames at the end", _frontend(_two_more)),
    _fault("no_right_context", "feats", "the last frame not repeated: T - 2 frames", _no_right_context),
    _fault("narrow_cmvn", "feats", "CMVN of one frame's width, repeated", _narrow_cmvn),
    _fault("sample_lost", "stream", "a sample lost wherever a chunk ends", _sample_lost),
    _fault("rest_lost", "invariance: arrival of samples", "samples short of a chunk thrown away", _rest_lost,
           batch=True),
)  # fmt: skip
MACHINE = (
    _fault("mean_level", "levels", "a frame's mean square, not its sum", _mean_level),
    _fault("above_the_threshold", "decision.speech", "> for >= at the threshold", _speech(_above), needs=MADE_UP),
    _fault("no_power", "decision.speech", "speech_2_noise_ratio left out", _speech(_no_power), needs=MADE_UP),
    _fault("noise_from_one_frame", "decision.speech", "noise floor not averaged", _noise_from_one, needs=MADE_UP),
    _fault("vote_above", "decision.state", "> for >= where the vote turns to speech", _vote(1, 0)),
    _fault("vote_below", "decision.state", "< for <= where the vote turns to silence", _vote(0, -1)),
    _fault("lookback_off_by_one", "decision.state", "a segment ends a frame earlier", _lookback),
    _fault("latency_off_by_one", "decision.latency", "a segment starts a frame earlier", _setting("latency", 1)),
    _fault("no_lookahead", "decision.lookahead", "no frames after the end", _setting("lookahead", -10)),
    _fault("longest_off_by_one", "decision.longest", "the longest segment is a frame longer", _setting("longest", 1)),
    _fault("whole_end_silence", "decision.end_silence_ms", "the window's time not taken off max_end_silence_time",
           _setting("max_end_silence_ms", 150)),
    _fault("never_last", "decision.state", "the last frame does not end a segment", _never_last),
    _fault("votes_kept", "decision.state", "the window is not emptied after a segment", _votes_kept),
    _fault("frame_longer", "end_to_end.segments", "segments reported a frame longer", _frame_longer),
)  # fmt: skip
FAULTS: tuple[Fault, ...] = (
    *(fault for fault in FRONTEND if fault.name not in ELSEWHERE), *NETWORK, *STREAMED, *MACHINE,
)  # fmt: skip
