"""Text while somebody speaks, and better text when they pause: a streaming model, end points, and an offline model.

FunASR's 2pass runtime (its websocket server's mode "2pass") as one object: partial text comes from the streaming model,
FSMN-VAD says on the same samples where a segment ends, and the second model hears the segment whole; a punctuator puts
marks into its text, each segment's by itself. Two things are
otherwise than there. The streaming model is fed from where the VAD says that speech begins, which is known long before
its first window is full, and not with all of the silence before: it hears what the second model hears. And everything
is decided on pieces of `chunk_ms`, however the samples arrive, so that results do not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mlx_model.audio.items import checked
from mlx_model.errors import UsageError
from mlx_model.pipelines.long_audio import segment_of
from mlx_model.pipelines.streams import Partial, TextStream, stream
from mlx_model.pipelines.transcribe import transcribe
from mlx_model.pipelines.words import words_of
from mlx_model.roles import Detector, Punctuator, Recognizer, StreamingRecognizer
from mlx_model.text.results import Segment

CHUNK_MS = 200


class TwoPass:
    """One stream of samples: `feed` gives a Partial for new text, and a Segment where speech has ended.

    A segment's partials are those that the streaming model gives on its samples alone, from the segment's start on; its
    text, words and confidence are what the second model makes of it alone, from its start to its end. Without a second
    model they are what the streaming model has said by then. Memory does not grow with the stream: samples are kept
    from the segment's start on, or from where one can still begin.
    """

    def __init__(
        self,
        streaming: StreamingRecognizer,
        detector: Detector,
        second: Recognizer | None = None,
        punctuator: Punctuator | None = None,
        *,
        chunk_ms: int = CHUNK_MS,
        vad_options: Any = None,
        stream_options: Mapping[str, Any] | None = None,
        second_options: Mapping[str, Any] | None = None,
    ):
        """Begin a stream.

        Args:
            streaming: gives partial text.
            detector: gives end points.
            second: hears each segment whole; None: there is no second pass.
            punctuator: puts marks into each segment's text, not into partial text; its words stay as they are.
            chunk_ms: samples are decided on in pieces of this length.
            vad_options: the detector's `Options`; None: as they are by default.
            stream_options: of `streaming.stream`.
            second_options: as for `transcribe`: times, confidence, and the family's options.

        Raises:
            UsageError: models of different rates, or options that a model does not take.
        """
        models = [model for model in (streaming, detector, second) if model is not None]
        rates = {model.config.frontend.fs for model in models}
        if len(rates) > 1:
            raise UsageError(f"the models take different rates, {sorted(rates)} Hz; they cannot work together")
        self.rate = rates.pop()
        self.streaming, self.second, self.punctuator = streaming, second, punctuator
        self.stream_options, self.second_options = dict(stream_options or {}), dict(second_options or {})
        stream(streaming, **self.stream_options)  # what they refuse, they refuse now
        if second is not None:
            transcribe(second, [], **self.second_options)
        self.vad = detector.stream(chunk_ms=chunk_ms, live=True, options=vad_options)
        self.piece = max(1, chunk_ms * self.rate // 1000)
        self.rest = np.empty(0, np.float32)  # less than a piece, not looked at yet
        self.kept, self.first = np.empty(0, np.float32), 0  # samples from sample `first` on
        self.stream: TextStream | None = None  # of the segment that is open
        self.start_ms = 0  # of that segment
        self.token_ids: list[int] = []  # of its partials
        self.fed = 0  # up to this sample it was heard

    def feed(self, samples: np.ndarray, *, is_final: bool = False) -> Iterator[Partial | Segment]:
        """Yield what became known with these samples, in order; times count from the stream's beginning.

        All of it is to be taken before the next call.

        Args:
            samples: (S,) float, [-1, 1], at the models' rate.
            is_final: the stream ends with them, and with it a segment that is open.

        Raises:
            AudioError: not one-dimensional float, or NaN or infinite samples.
            UsageError: the stream has ended.
        """
        waveform = np.concatenate([self.rest, checked(samples)])
        count = len(waveform) // self.piece + is_final
        self.rest = waveform[count * self.piece :].copy()
        for number in range(count):
            piece = waveform[number * self.piece : (number + 1) * self.piece]
            yield from self._piece(piece, is_final and number == count - 1)

    def _piece(self, samples: np.ndarray, is_final: bool) -> Iterator[Partial | Segment]:
        self.kept = np.concatenate([self.kept, samples])
        for start_ms, end_ms in self.vad.feed(samples, is_final=is_final):
            if start_ms >= 0:
                self.stream, self.start_ms = stream(self.streaming, **self.stream_options), start_ms
                self.fed, self.token_ids = self._sample(start_ms), []
            if end_ms >= 0:
                yield from self._ended(end_ms)
        if self.stream is not None:
            yield from self._heard(self.stream, self.first + len(self.kept))
        self._forget()

    def _heard(self, heard: TextStream, stop: int, *, is_final: bool = False) -> Iterator[Partial]:
        """Feed the streaming model up to a sample; its partials get the whole stream's times."""
        samples = self._between(self.fed, stop)
        self.fed = max(self.fed, stop)
        for partial in heard.feed(samples, is_final=is_final):
            self.token_ids += partial.token_ids
            yield self._later(partial)

    def _later(self, partial: Partial) -> Partial:
        """The same at the whole stream's times."""
        after, starts = self.start_ms, partial.token_starts_ms
        times = {name: getattr(partial, name) + after for name in ("start_ms", "end_ms", "heard_ms")}
        return replace(partial, token_starts_ms=[start + after for start in starts], **times)

    def _ended(self, end_ms: int) -> Iterator[Partial | Segment]:
        """End the segment: its text is the second model's, or all that the streaming model says."""
        assert self.stream is not None
        heard, start_ms, self.stream = self.stream, self.start_ms, None
        if self.second is None:
            yield from self._heard(heard, self._sample(end_ms), is_final=True)
            yield self._marked(Segment(start_ms=start_ms, end_ms=end_ms, text=heard.text, token_ids=self.token_ids))
        else:
            yield self._marked(self._whole(self.second, start_ms, end_ms))

    def _marked(self, segment: Segment) -> Segment:
        """The same with marks in its text."""
        if self.punctuator is None or not segment.text:
            return segment
        as_funasr = bool(self.stream_options.get("as_funasr"))
        (found,) = self.punctuator.punctuate([segment.text], as_funasr=as_funasr)
        return replace(segment, text=found.text)

    def _whole(self, second: Recognizer, start_ms: int, end_ms: int) -> Segment:
        samples = self._between(self._sample(start_ms), self._sample(end_ms))
        (heard,) = transcribe(second, samples, **self.second_options)
        segment = segment_of(start_ms, end_ms, heard)
        if segment.words is not None or not self.second_options.get("times"):
            return segment
        return replace(segment, words=words_of(segment, second.tokenizer, (start_ms, end_ms)))

    def _sample(self, time_ms: int) -> int:
        return time_ms * self.rate // 1000

    def _between(self, start: int, stop: int) -> np.ndarray:
        return self.kept[max(start - self.first, 0) : max(stop - self.first, 0)]

    def _forget(self) -> None:
        """Let samples go that nothing will ask for."""
        needed = self._sample(self.start_ms if self.stream is not None else self.vad.earliest_ms)
        dropped = min(needed - self.first, len(self.kept))
        if dropped > 0:
            self.kept, self.first = self.kept[dropped:].copy(), self.first + dropped
