"""Frames made up to stand where recordings seldom do: on the edge of a threshold, at the longest segment, at the end.

Both sides decide on the same: FunASR's functions in reference.py, ours in candidate.py. Pure numpy.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parity.families.fsmn_vad_streaming.frames import Frames, transitions

ENDED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCase:
    """Frames that are speech or not, (T,) bool, for the decision machine, with options that differ from the model's."""

    name: str
    speech: np.ndarray
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCase:
    """Silence probabilities (T,) and levels (T,), dB, for the frame decision, with options as above."""

    name: str
    silence: np.ndarray
    levels: np.ndarray
    options: dict[str, Any] = field(default_factory=dict)


def _runs(*lengths: int) -> np.ndarray:
    """Return silence, speech, silence, ... of so many frames each."""
    return np.concatenate([np.full(length, number % 2 == 1) for number, length in enumerate(lengths)])


_PAUSES = (63, 60, 64, 60, 65, 60, 66, 60, 78, 60, 79, 60, 80, 60, 81, 60)


def machine_cases() -> list[MachineCase]:
    """Return what the machine is shown: every way a segment begins and ends, and noise of several densities."""
    rng = np.random.default_rng(0)
    noise = [
        MachineCase(name=f"random {share:g}", speech=np.repeat(rng.random(400) < share, rng.integers(1, 9, 400)))
        for share in (0.2, 0.5, 0.8)
    ]
    short = {"max_single_segment_time": 2000}
    return [
        MachineCase(name="speech from the first frame", speech=_runs(0, 120, 150)),
        MachineCase(name="nothing but silence", speech=_runs(400)),
        MachineCase(name="speech to the last frame", speech=_runs(60, 90)),
        MachineCase(name="end in a pause", speech=_runs(60, 90, 30)),
        MachineCase(name="pauses around the shortest that ends", speech=_runs(30, 60, *_PAUSES, 90)),
        MachineCase(name="votes around the threshold", speech=_runs(30, 14, 40, 15, 40, 16, 90, 15, 2, 15, 120)),
        MachineCase(name="longest segment", speech=_runs(20, 650, 120), options=short),
        MachineCase(name="longest segment with pauses", speech=_runs(20, 150, 40, 150, 40, 150, 120), options=short),
        MachineCase(name="no lookback, no lookahead", speech=_runs(60, 90, 120, 90, 120), options={"do_extend": 0}),
        MachineCase(name="one utterance only", speech=_runs(60, 90, 120, 90, 120), options={"detect_mode": 0}),
        MachineCase(name="one utterance, in vain", speech=_runs(400, 90, 100), options={"detect_mode": 0}),
        *noise,
    ]  # fmt: skip


def frame_cases() -> list[FrameCase]:
    """Return what the frame decision is shown: probability and level on the edge, and noise that must be tracked."""
    rng = np.random.default_rng(1)
    silence, threshold = _on_the_edge()
    pause = np.where(rng.random(300) < 0.7, 0.9, 0.05)
    return [
        FrameCase(name="probability on the threshold", silence=np.array([silence]), levels=np.zeros(1),
                  options={"speech_noise_thres": threshold, "speech_2_noise_ratio": 1.0}),
        FrameCase(name="level on the threshold", silence=np.full(3, 0.01), levels=np.array([-20.5, -20.0, -19.5]),
                  options={"decibel_thres": -20.0}),
        FrameCase(name="above the noise by just enough", silence=np.array([0.99, 0.01, 0.01]),
                  levels=np.array([-30.0, -20.0, -20.5]), options={"snr_thres": 10.0}),
        FrameCase(name="noise tracked", silence=pause, levels=-40.0 + 15.0 * rng.random(300),
                  options={"snr_thres": 7.0, "noise_frame_num_used_for_snr": 10}),
        FrameCase(name="power of the noise", silence=np.full(20, 0.3), levels=np.zeros(20),
                  options={"speech_2_noise_ratio": 2.0, "speech_noise_thres": 0.6}),
    ]  # fmt: skip


def _on_the_edge() -> tuple[float, float]:
    """Return (p(silence), threshold) for which p(speech) equals p(silence) + threshold to the last bit, in any order.

    Both through logarithm and exponential, as the two sides compute it; math's and numpy's must agree.
    """
    for step in range(1, 1000):
        silence = float(np.float32(step / 4096))
        speech, noise = math.exp(math.log(1.0 - silence)), math.exp(math.log(silence))
        same = (speech, noise) == (float(np.exp(np.log(1.0 - silence))), float(np.exp(np.log(silence))))
        if same and speech == noise + (speech - noise):
            return silence, speech - noise
    raise AssertionError("no probability is exact on this machine")


def described(frames: Frames, segments: Sequence[Sequence[int]]) -> str:
    """Return what the machine made of a case, short enough for a line: segments in frames, and a digest of it all."""
    digest = hashlib.sha256(transitions(frames).astype("<i4").tobytes() + np.array(segments, "<i4").tobytes())
    shown = ", ".join(f"{start}-{stop}" for start, stop in segments[:4]) or "no segment"
    more = f" and {len(segments) - 4} more" if len(segments) > 4 else ""
    return f"{shown}{more} ({len(transitions(frames))} transitions, {digest.hexdigest()[:6]})"


def marked(speech: Sequence[bool]) -> str:
    """Return a case's frames as text: `s` is speech, `.` is not; long ones by count and digest."""
    text = "".join("s" if each else "." for each in speech)
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    return text if len(text) <= 20 else f"{text.count('s')} of {len(text)} ({digest})"
