"""FSMN-VAD: where in a recording or a stream somebody speaks. Front end, FSMN, decision machine.

Mirrors funasr/models/fsmn_vad_streaming/model.py::FsmnVADStreaming (`inference`, `forward`). A recording is a stream
that is cut into pieces of a minute, as in FunASR: one code path, two ways to report (`Stream.live`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mlx_model import ops
from mlx_model.audio.items import checked
from mlx_model.config.fsmn_vad_streaming import FsmnVADStreamingConfig
from mlx_model.decoding.vad_decision import Decision, NoiseFloor, Segment, State, decibels, speech_frames
from mlx_model.errors import AudioError, UsageError
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.device import share_products
from mlx_model.parts.frontend_online import FrontendCache, WavFrontendOnline
from mlx_model.parts.fsmn import FSMN, Cache
from mlx_model.text.results import Times

RECORDING_CHUNK_MS = 60_000  # FunASR's chunk_size for whole recordings
# dynamic_silence: (speech so far in this utterance, ms; silence that ends it, ms). FunASR's DEFAULT_SILENCE_SCHEDULE.
SILENCE_SCHEDULE = (
    (10_000, 2000), (20_000, 1000), (30_000, 800), (40_000, 600), (50_000, 400), (60_000, 200), (float("inf"), 100),
)  # fmt: skip
SHORT_PIECE = 32_000  # samples; the products of shorter ones are over before a second thread has woken up
DYNAMIC_THRESHOLD = 0.5  # speech_noise_thres while dynamic_silence is on, whatever the model says


@dataclass(frozen=True, slots=True, kw_only=True)
class VadOptions:
    """What a caller may change of a model's decisions; None leaves the model's own value.

    `dynamic_silence` replaces both by a schedule: the longer an utterance, the shorter the pause that ends it. FunASR
    1.4 has it on unless max_end_silence_time is given; here it is off unless asked for.
    """

    max_end_silence_time: int | None = None  # ms
    speech_noise_thres: float | None = None
    dynamic_silence: bool = False
    silence_schedule: Sequence[tuple[float, int]] = SILENCE_SCHEDULE


class Model(nn.Module):
    """An FSMN-VAD. Attributes with parameters carry FunASR's names: frontend (CMVN), encoder. A Detector (roles.py)."""

    Options: ClassVar[type[VadOptions]] = VadOptions

    def __init__(self, config: FsmnVADStreamingConfig):
        super().__init__()
        self.config = config
        self.frontend = WavFrontendOnline(config.frontend)
        self.encoder = FSMN(config.encoder)

    @property
    def dtype(self) -> mx.Dtype:
        """The network's precision; features stay float32 until they enter the encoder."""
        return self.encoder.in_linear1.linear.bias.dtype

    @property
    def engine(self) -> str:
        """What computes the network here, in words; see `numerics.py`."""
        return ops.in_words(self.encoder)

    def silence_scores(self, feats: Float[mx.array, "1 T Din"], cache: Cache) -> np.ndarray:
        """Return every frame's probability of silence, (T,) float64, summed over sil_pdf_ids; `cache` is updated."""
        scores = self.encoder(feats.astype(self.dtype), cache).astype(mx.float32)
        silence = [scores[0, :, pdf] for pdf in self.config.vad_opts.sil_pdf_ids]
        mx.eval(silence, cache)
        return np.sum([np.asarray(values, dtype=np.float64) for values in silence], axis=0)

    def stream(
        self,
        *,
        chunk_ms: int | None = 200,
        sample_rate: int | None = None,
        live: bool = True,
        options: VadOptions | None = None,
    ) -> Stream:
        """Return a new stream; see `Stream`. `chunk_ms` None: in pieces of a minute, as FunASR hears a recording.

        Raises:
            UsageError: a chunk below 1 ms.
            AudioError: `sample_rate` is not the model's.
        """
        chunk_ms = RECORDING_CHUNK_MS if chunk_ms is None else chunk_ms
        return Stream(self, chunk_ms=chunk_ms, sample_rate=sample_rate, live=live, options=options or VadOptions())

    def segments(self, waveform: np.ndarray, options: VadOptions | None = None) -> Times:
        """Return [[start_ms, end_ms], ...] of one recording: FunASR's result for a file.

        Args:
            waveform: (S,) float, [-1, 1], at the model's rate; shorter than a frame (25 ms) has no segment.
            options: see `VadOptions`.

        Raises:
            AudioError: not one-dimensional float, or NaN or infinite samples.
        """
        return self.stream(chunk_ms=None, live=False, options=options).feed(waveform, is_final=True)


class Stream:
    """One stream of samples, in chunks of any size. Mirrors FsmnVADStreaming.inference with a cache.

    `feed` cuts what it gets into pieces of `chunk_ms` and keeps the rest for the next call, as FunASR does; so results
    do not depend on how the samples arrive, only, a little, on `chunk_ms`. Memory does not grow with the stream.

    Two ways to report, FunASR's `is_streaming_input`: `live` gives [start, -1] when a segment begins and [-1, end] when
    it ends ([start, end] where both fall into one piece); otherwise only whole segments are given.

    What it does with odd input: no samples at all change nothing; one sample, or any number, is kept until a piece is
    full; less than a frame in all has no segment (AutoModel raises a ZeroDivisionError there). NaN, infinities,
    integers and two-dimensional arrays are refused with an AudioError before they are taken in, so the stream can go
    on. An open segment ends when the stream does: with `is_final`, also where no samples come with it (FunASR 1.4.16
    then gives nothing and keeps the segment open). A stream that has ended takes no more.
    """

    def __init__(self, model: Model, *, chunk_ms: int, sample_rate: int | None, live: bool, options: VadOptions):
        rate = model.config.frontend.fs
        if sample_rate not in (None, rate):
            raise AudioError(f"a stream of {sample_rate} Hz: this model takes {rate} Hz; resample it first")
        if chunk_ms < 1:
            raise UsageError(f"chunk_ms = {chunk_ms}: a chunk has at least 1 ms")
        opts = model.config.vad_opts
        silence = opts.max_end_silence_time if options.max_end_silence_time is None else options.max_end_silence_time
        if silence < opts.speech_to_sil_time_thres and not opts.do_extend:
            raise UsageError(
                f"max_end_silence_time = {silence} is below speech_to_sil_time_thres = {opts.speech_to_sil_time_thres}:"
                " a segment would end before its silence begins (FunASR 1.4.16 then crashes or reads other frames)"
            )
        self.model, self.options, self.live = model, options, live
        self.chunk_ms, self.chunk = chunk_ms, int(chunk_ms * rate / 1000)
        self.threshold = opts.speech_noise_thres if options.speech_noise_thres is None else options.speech_noise_thres
        self.decision = Decision(opts, silence - opts.speech_to_sil_time_thres)
        self.noise = NoiseFloor(opts.noise_frame_num_used_for_snr)
        self.frontend_cache, self.encoder_cache = FrontendCache(), Cache()
        self.rest = np.empty(0, np.float32)
        self.frames = 0  # decided on so far
        self.speech_ms, self.in_speech = 0, False  # for dynamic_silence
        self.reported_start = False
        self.is_over = False
        self.speech: list[bool] | None = None  # a list here is given the verdict on every frame

    @property
    def earliest_ms(self) -> int:
        """No segment that is not known of begins before."""
        return self.decision.position * self.model.config.vad_opts.frame_in_ms

    def feed(self, samples: np.ndarray, *, is_final: bool = False) -> Times:
        """Return what became known with these samples, in milliseconds since the stream began; see the class.

        Args:
            samples: (S,) float, [-1, 1], at the model's rate.
            is_final: the stream ends with them.

        Raises:
            AudioError: not one-dimensional float, or NaN or infinite samples.
            UsageError: the stream has ended.
        """
        if self.is_over:
            raise UsageError("the stream has ended; begin a new one with model.stream()")
        waveform = np.concatenate([self.rest, checked(samples)])
        pieces = len(waveform) // self.chunk + is_final
        found: Times = []
        for number in range(pieces):
            piece = waveform[number * self.chunk : (number + 1) * self.chunk]
            found += self._piece(piece, is_final and number == pieces - 1)
        self.rest = waveform[pieces * self.chunk :].copy()
        self.is_over = is_final
        return found

    def _piece(self, samples: np.ndarray, is_final: bool) -> Times:
        if self.options.dynamic_silence:
            self._adapt()
        share_products(alone=len(samples) < SHORT_PIECE)
        feats, covered = self.model.frontend(samples, self.frontend_cache, is_final=is_final)
        if feats.shape[1] == 0:
            return []
        if self.decision.state is not State.ENDED:  # else one utterance was asked for, and it is over
            self._decide(self.model.silence_scores(feats, self.encoder_cache), covered, is_final)
        found = self._report(is_final)
        if found:
            self.speech_ms, self.in_speech = 0, False
        return found

    def _adapt(self) -> None:
        """Set thresholds by how long the utterance has lasted, once a piece. Mirrors `inference`'s dynamic_silence."""
        if self.decision.state is State.SPEECH or self.in_speech:
            self.speech_ms += self.chunk_ms
            self.in_speech = True
        silence_ms = next(ms for limit, ms in self.options.silence_schedule if self.speech_ms <= limit)
        opts = self.model.config.vad_opts
        self.decision.max_end_silence_ms = max(silence_ms - opts.speech_to_sil_time_thres, 0)
        self.threshold = DYNAMIC_THRESHOLD

    def _decide(self, silence: np.ndarray, covered: np.ndarray, is_final: bool) -> None:
        """Run the decision over the frames of one piece: their probabilities (T,) and the samples they cover."""
        frontend, opts = self.model.frontend, self.model.config.vad_opts
        levels = decibels(covered, frontend.min_samples, frontend.shift)
        speech = speech_frames(silence, levels, self.noise, opts, self.threshold)
        if self.speech is not None:
            self.speech += speech
        first, self.frames = self.frames, self.frames + len(speech)
        for index, is_speech in enumerate(speech, first):
            self.decision.frame(index, is_speech, is_final and index == self.frames - 1)

    def _report(self, is_final: bool) -> Times:
        """Return the segments to report now, and forget those that are closed."""
        segments = self.decision.segments
        found = [self._times(item) for item in segments if item.closed or self._is_news(is_final)]
        self.decision.segments = [item for item in segments if not item.closed]
        return found

    def _is_news(self, is_final: bool) -> bool:
        """Whether an open segment is reported: its start, once, or all there is of it at the end."""
        return not self.reported_start if self.live else is_final

    def _times(self, segment: Segment) -> list[int]:
        shift = self.model.config.vad_opts.frame_in_ms
        start, end = segment.start * shift, segment.end * shift
        if not self.live:
            return [start, end]
        start = -1 if self.reported_start else start
        self.reported_start = not segment.closed
        return [start, end if segment.closed else -1]
