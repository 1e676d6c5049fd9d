"""FSMN-VAD's decision: from a silence probability and a level per frame to segments. Pure numpy, no MLX.

Three steps, one function or class each:

    speech_frames    frame by frame: speech or silence, from the probability, the level and the noise floor so far
    Window           a vote over the last window_size_ms: has it become speech, or silence?
    Decision         the state machine, driven by the window's changes:

                  window turns to speech                     a segment ends
      .---------.  start = now - window - lookback .--------. (1) silence for max_end_silence_time, .-------.
      | WAITING |--------------------------------->| SPEECH |     end = silence's start + lookahead  | ENDED |
      '---------'                                  '--------'---- (2) max_single_segment_time ----->'-------'
           ^  |                                                   (3) the last frame of all              |
           |  '------- nothing but silence: for max_start_silence_time in single-utterance mode, ------->|
           |           or until the last frame; no segment                                               |
           '------------------- at once, where there may be many utterances -----------------------------'

Mirrors funasr/models/fsmn_vad_streaming/model.py: FsmnVADStreaming.GetFrameState, WindowDetector, DetectOneFrame and
what they call. FunASR moves samples from buffer to buffer on the way; what decides is how many frames were taken, and
that is all that is kept here, so memory does not grow with the stream. WAITING, SPEECH and ENDED are FunASR's
kVadInStateStartPointNotDetected, kVadInStateInSpeechSegment and kVadInStateEndPointDetected.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from mlx_model.config.parts import VADXOptions

NO_LEVEL = -100.0  # dB: the noise floor before the first noise frame


class State(Enum):
    """Where the machine stands; see the diagram above."""

    WAITING = 1
    SPEECH = 2
    ENDED = 3


class Change(Enum):
    """What a frame did to the window's vote. Mirrors AudioChangeState."""

    SPEECH_TO_SPEECH = 0
    SPEECH_TO_SIL = 1
    SIL_TO_SIL = 2
    SIL_TO_SPEECH = 3


@dataclass(slots=True)
class Segment:
    """Frames [start, end) of one utterance; `end` moves until the segment is `closed`."""

    start: int
    end: int
    closed: bool = False


def decibels(waveform: np.ndarray, length: int, shift: int) -> np.ndarray:
    """Return the level of every whole frame, (T,) float32 dB: 10 log10(sum of squares + 1e-6), so silence is -60.

    Mirrors ComputeDecibel.

    Args:
        waveform: (S,) float32.
        length: samples of a frame.
        shift: samples between frames.
    """
    frames = np.lib.stride_tricks.sliding_window_view(waveform, length)[::shift]
    return 10 * np.log10(np.sum(np.square(frames), axis=1) + np.float32(0.000001))


class NoiseFloor:
    """The running average level of noise frames, over about noise_frame_num_used_for_snr of them."""

    def __init__(self, frames: int):
        self.frames = frames
        self.level = NO_LEVEL

    def update(self, level: float) -> None:
        """Take one noise frame's level in; the first one is taken as it is."""
        if self.level < -99.9:
            self.level = level
        else:
            self.level = (level + self.level * (self.frames - 1)) / self.frames


def speech_frames(
    silence: np.ndarray, levels: np.ndarray, noise: NoiseFloor, opts: VADXOptions, threshold: float
) -> list[bool]:
    """Return for every frame whether it is speech, (T,); `noise` learns from the others.

    A frame is speech where p(speech) >= p(silence)^ratio + threshold and it is loud enough, absolutely and above the
    noise floor. Where p(silence) is 0 or 1 FunASR takes the logarithm of 0 and raises; here the limit decides.
    Mirrors GetFrameState.

    Args:
        silence: (T,) float64, summed over sil_pdf_ids.
        levels: (T,) dB.
        noise: of the stream so far.
        opts: the model's.
        threshold: speech_noise_thres in force.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        likely = np.exp(np.log(1.0 - silence)) >= np.exp(np.log(silence) * opts.speech_2_noise_ratio) + threshold
    result = []
    for is_likely, level in zip(likely.tolist(), levels.tolist(), strict=True):
        if level < opts.decibel_thres:
            result.append(False)
            continue
        result.append(is_likely and level - noise.level >= opts.snr_thres and opts.fe_prior_thres < 1.0)
        if not is_likely:
            noise.update(level)
    return result


class Window:
    """Votes over the last frames, with hysteresis: speech from `to_speech` frames on, silence down to `to_silence`.

    Mirrors WindowDetector.
    """

    def __init__(self, opts: VADXOptions):
        self.size = int(opts.window_size_ms / opts.frame_in_ms)
        self.to_speech = int(opts.sil_to_speech_time_thres / opts.frame_in_ms)
        self.to_silence = int(opts.speech_to_sil_time_thres / opts.frame_in_ms)
        self.reset()

    def reset(self) -> None:
        """Forget everything: silence."""
        self.votes = [False] * self.size
        self.place = 0
        self.total = 0
        self.is_speech = False

    def add(self, is_speech: bool) -> Change:
        """Take in one frame and return what changed."""
        self.total += is_speech - self.votes[self.place]
        self.votes[self.place] = is_speech
        self.place = (self.place + 1) % self.size
        if not self.is_speech and self.total >= self.to_speech:
            self.is_speech = True
            return Change.SIL_TO_SPEECH
        if self.is_speech and self.total <= self.to_silence:
            self.is_speech = False
            return Change.SPEECH_TO_SIL
        return Change.SPEECH_TO_SPEECH if self.is_speech else Change.SIL_TO_SIL


class Decision:
    """The state machine. Feed it frame after frame; closed and open segments gather in `segments`.

    `max_end_silence_ms` may be changed between frames. `position` is the first frame not yet decided on: a segment
    never starts before it.
    """

    def __init__(self, opts: VADXOptions, max_end_silence_ms: float):
        self.opts = opts
        self.max_end_silence_ms = max_end_silence_ms
        self.window = Window(opts)
        self.many = opts.detect_mode == 1
        self.latency = self.window.size + (self._frames(opts.lookback_time_start_point) if opts.do_extend else 0)
        self.lookahead = self._frames(opts.lookahead_time_end_point)
        self.longest = opts.max_single_segment_time / opts.frame_in_ms
        self.segments: list[Segment] = []
        self.state = State.WAITING
        self.position = 0
        self.ended = 0  # how often an end was found, also an end of nothing
        self._forget()

    def _frames(self, time_ms: float) -> int:
        return int(time_ms / self.opts.frame_in_ms)

    def _forget(self) -> None:
        """Be ready for the next utterance. Mirrors ResetDetection."""
        self.silence = 0  # frames since the vote turned to silence, or since the last utterance
        self.start = -1
        self.latest = 0  # latest frame confirmed as speech
        self.window.reset()

    def frame(self, index: int, is_speech: bool, is_last: bool) -> None:
        """Take in frame `index` (they come in order). Mirrors DetectOneFrame."""
        change = self.window.add(is_speech)
        self.silence = self.silence + 1 if change is Change.SIL_TO_SIL else 0
        if self.state is State.WAITING:
            self._waiting(index, change, is_last)
        elif self.state is State.SPEECH:
            self._speech(index, change, is_last)
        if self.state is State.ENDED and self.many:
            self._forget()
            self.state = State.WAITING

    def _waiting(self, index: int, change: Change, is_last: bool) -> None:
        if change is Change.SIL_TO_SPEECH:
            self._open(max(self.position, index - self.latency))
            self._take_between(self.start + 1, index + 1)
        elif change is Change.SIL_TO_SIL:
            waited_ms = self.silence * self.opts.frame_in_ms
            in_vain = not self.many and waited_ms > self.opts.max_start_silence_time
            if in_vain or (is_last and self.ended == 0):
                self.ended += 1
                self.state = State.ENDED
            else:
                self.position = max(self.position, index - self.latency)

    def _speech(self, index: int, change: Change, is_last: bool) -> None:
        too_long = index - self.start + 1 > self.longest
        if change is not Change.SIL_TO_SIL:
            if change is Change.SIL_TO_SPEECH:  # a pause shorter than max_end_silence is part of the segment
                self._take_between(self.latest + 1, index)
            if too_long or is_last:
                self._close(index)
            else:
                self._take(index)
        elif self.silence * self.opts.frame_in_ms >= self.max_end_silence_ms:
            self._close(index - self._lookback())
        elif too_long or is_last:
            self._close(index)
        elif self.opts.do_extend and self.silence <= self.lookahead:
            self._take(index)

    def _lookback(self) -> int:
        """How many frames before now a segment ends whose silence has lasted: all of it, less the lookahead."""
        back = self._frames(self.max_end_silence_ms)
        return max(0, back - self.lookahead - 1) if self.opts.do_extend else back

    def _open(self, start: int) -> None:
        """Begin a segment. Mirrors OnVoiceStart."""
        self.start = start
        self.segments.append(Segment(start, start + 1))
        self.position = max(self.position, start) + 1
        self.state = State.SPEECH

    def _take(self, index: int) -> None:
        """Confirm a frame as part of the segment. Mirrors OnVoiceDetected."""
        self.latest = index
        self.segments[-1].end = index + 1
        self.position = max(self.position, index) + 1

    def _take_between(self, first: int, stop: int) -> None:
        for index in range(first, stop):
            self._take(index)

    def _close(self, last: int) -> None:
        """End the segment with frame `last`. Mirrors OnVoiceEnd."""
        self._take_between(self.latest + 1, last)
        self.segments[-1].end = last + 1
        self.segments[-1].closed = True
        self.position = max(self.position, last) + 1
        self.ended += 1
        self.state = State.ENDED
