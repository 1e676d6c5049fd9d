"""Faults of the front end: fbank, LFR, CMVN."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from typing import Any

import numpy as np

from mlx_model.machine.blas import mx
from mlx_model.parts import frontend as healthy
from parity.faults.fault import Fault, exchange, fault, method
from parity.sides.candidate import Candidate

FILE = "mlx_model.parts.frontend"
SILENCE = "digital silence (frames of zeros): only there is the log floor reached"


def _config(candidate: Candidate, **changes: Any) -> None:
    candidate.model.frontend.config = dataclasses.replace(candidate.model.frontend.config, **changes)


def _log_mel(stack: ExitStack, *, remove_dc: bool = True, first: bool = True, n_fft: int | None = None) -> None:
    """Exchange the per-frame steps for ones without DC removal, first-sample rule, or with another FFT size."""

    def log_mel(frames: mx.array, window: mx.array, banks: mx.array, size: int) -> mx.array:
        if remove_dc:
            frames = frames - frames.mean(axis=-1, keepdims=True)
        before = frames[..., :1] if first else mx.zeros_like(frames[..., :1])
        previous = mx.concatenate([before, frames[..., :-1]], axis=-1)
        frames = (frames - healthy.PREEMPHASIS * previous) * window
        spectrum = mx.fft.rfft(frames, n=n_fft or size, axis=-1)
        power = mx.square(mx.abs(spectrum))[..., : size // 2]
        power = mx.pad(power, [(0, 0), (0, 0), (0, size // 2 - power.shape[-1])])
        return mx.log(mx.maximum(power @ banks, healthy.LOG_FLOOR))

    exchange(stack, f"{FILE}._log_mel", log_mel)


def _preemphasis_of_signal(candidate: Candidate, stack: ExitStack) -> None:
    """Whole-signal pre-emphasis: before framing, so before the DC of a frame is removed."""
    original = healthy.fbank

    def fbank(waveforms: mx.array, config: Any, **options: Any) -> mx.array:
        previous = mx.concatenate([waveforms[:, :1], waveforms[:, :-1]], axis=1)
        with ExitStack() as inner:
            exchange(inner, f"{FILE}.PREEMPHASIS", 0.0)
            return original(waveforms - 0.97 * previous, config, **options)

    exchange(stack, f"{FILE}.fbank", fbank)


def _mel(stack: ExitStack, **changes: Any) -> None:
    """Exchange constants of the mel filters (which are cached)."""
    for name, value in changes.items():
        exchange(stack, f"{FILE}.{name}", value)
    healthy.mel_banks.cache_clear()
    stack.callback(healthy.mel_banks.cache_clear)


def _lfr(stack: ExitStack, change: str) -> None:
    original = healthy.lfr

    def lfr(feats: mx.array, lengths: mx.array, m: int, n: int) -> tuple[mx.array, mx.array]:
        stacked, count = original(feats, lengths, m, n)
        if change == "surplus frame":
            return mx.concatenate([stacked, stacked[:, -1:]], axis=1), count + 1
        left, right = (m - 1) // 2, int(count.max()) * n - (m - 1) // 2 - int(lengths.max()) + m - n
        width = feats.shape[-1]
        if change == "left zeros":
            first = mx.concatenate([mx.zeros((len(feats), left * width)), stacked[:, 0, left * width :]], axis=1)
            return mx.concatenate([first[:, None], stacked[:, 1:]], axis=1), count
        keep = m - max(min(right, m), 0)
        last = mx.concatenate([stacked[:, -1, : keep * width], mx.zeros((len(feats), (m - keep) * width))], axis=1)
        return mx.concatenate([stacked[:, :-1], last[:, None]], axis=1), count

    exchange(stack, f"{FILE}.lfr", lfr)


def _no_snip_edges(candidate: Candidate, stack: ExitStack) -> None:
    """Kaldi's snip_edges=false: frames are centred, the signal reflected at both ends; here with the same count."""
    original = healthy.fbank
    shift = candidate.model.frontend.min_samples // 2 - 80

    def fbank(waveforms: mx.array, config: Any, **options: Any) -> mx.array:
        reflected = mx.concatenate([waveforms[:, shift:0:-1], waveforms[:, : waveforms.shape[1] - shift]], axis=1)
        return original(reflected, config, **options)

    exchange(stack, f"{FILE}.fbank", fbank)


def _cmvn(candidate: Candidate, change: str) -> None:
    calls = {
        "left out": lambda self, feats: feats,
        "scaled first": lambda self, feats: feats * self.cmvn_scale + self.cmvn_shift,
    }
    method(candidate.model.frontend, "apply_cmvn", calls[change])


def _splice_as_shift(candidate: Candidate, stack: ExitStack) -> None:
    """am.mvn's <Splice> index read as the first number: every mean one place late."""
    frontend = candidate.model.frontend
    frontend.cmvn_shift = mx.concatenate([mx.zeros((1,)), frontend.cmvn_shift[:-1]])


def _has_cmvn(candidate: Candidate) -> bool:
    return candidate.model.config.frontend.cmvn


def _copies_last(candidate: Candidate) -> bool:
    config = candidate.model.config.frontend
    return config.lfr_m > config.lfr_n


FAULTS = (
    fault("other_window", "fbank", "povey window (or hamming where povey is right)",
           lambda c, s: _config(c, window="hamming" if c.model.frontend.config.window == "povey" else "povey")),
    fault("not_scaled", "fbank", "samples not multiplied by 32768", lambda c, s: _config(c, upsacle_samples=False)),
    fault("first_sample", "fbank", "first sample of a frame not pre-emphasised",
           lambda c, s: _log_mel(s, first=False)),
    fault("no_dc_removal", "fbank", "mean of a frame not removed", lambda c, s: _log_mel(s, remove_dc=False)),
    fault("fft_400", "fbank", "FFT of the frame's 400 points, not of 512", lambda c, s: _log_mel(s, n_fft=400)),
    fault("preemphasis_of_signal", "fbank", "pre-emphasis over the whole signal", _preemphasis_of_signal),
    fault("preemphasis_0.95", "fbank", "coefficient 0.95, not 0.97",
           lambda c, s: exchange(s, f"{FILE}.PREEMPHASIS", 0.95)),
    fault("log_floor", "fbank", "log floor 1e-10, not float32's epsilon",
           lambda c, s: exchange(s, f"{FILE}.LOG_FLOOR", 1e-10), needs=SILENCE),
    fault("mel_from_0_hz", "fbank", "filters from 0 Hz, not 20", lambda c, s: _mel(s, LOW_FREQ_HZ=0.0)),
    fault("triangles_in_hz", "fbank", "filters triangular in Hz, not in mel",
           lambda c, s: _mel(s, mel_scale=lambda hz: np.asarray(hz, dtype=np.float64))),
    fault("snip_edges_false", "fbank", "frames centred on reflected edges", _no_snip_edges),
    fault("lfr_surplus_frame", "feats", "one LFR frame too many", lambda c, s: _lfr(s, "surplus frame")),
    fault("lfr_left_zeros", "feats", "zeros, not copies of frame 0, on the left",
           lambda c, s: _lfr(s, "left zeros")),
    fault("lfr_right_zeros", "feats", "zeros, not the last frame, on the right",
           lambda c, s: _lfr(s, "right zeros"),
           needs="a recording whose last LFR frame is incomplete", fits=_copies_last),
    fault("no_cmvn", "feats", "CMVN left out", lambda c, s: _cmvn(c, "left out"), fits=_has_cmvn),
    fault("cmvn_order", "feats", "scale applied before the shift",
           lambda c, s: _cmvn(c, "scaled first"), fits=_has_cmvn),
    fault("splice_as_shift", "feats", "am.mvn's Splice index read as the first mean", _splice_as_shift,
           fits=_has_cmvn),
)  # fmt: skip


def faults(at: str) -> tuple[Fault, ...]:
    """Return the front end's faults; every model has its front end at one place."""
    return FAULTS
