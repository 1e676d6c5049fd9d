"""Speech to text while it is spoken: streams of samples, one or many, windows of many computed as one batch.

    stream = model.stream(chunk_size=(0, 10, 5), encoder_chunk_look_back=4, decoder_chunk_look_back=1)
    for samples in microphone:
        for partial in stream.feed(samples):
            print(partial.text, end="")
    for partial in stream.feed(nothing, is_final=True): ...

`feed` computes at once. A service `push`es to many streams and lets `Streams.step` compute what is ready. A stream is
values alone: `fork` copies one, `state` and `restore` save it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlx_model.audio.items import checked
from mlx_model.audio.plain_wave import as_float
from mlx_model.errors import AudioError, UsageError
from mlx_model.pipelines.options import options_from
from mlx_model.roles import StreamingRecognizer
from mlx_model.text.joining import Joined, add, rest
from mlx_model.text.token_times import begins_ms

STATE = "mlx-funasr stream 1"  # what `state` says of itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """What one window adds to a stream's text.

    `text` is what became certain; pieces of a word that may go on are held back, so texts put together are the whole.
    `token_ids` are all of the window's, and `token_starts_ms` is about when each is said. Between `start_ms` and
    `end_ms` lies what was decided on; `heard_ms` had been fed when it was.
    """

    text: str
    token_ids: list[int]
    token_starts_ms: list[int]
    start_ms: int
    end_ms: int
    heard_ms: int
    is_final: bool


class TextStream:
    """One stream of samples. Mirrors ParaformerStreaming.inference with a cache.

    It cuts what it gets into windows and keeps the rest; so results do not depend on how the samples arrive. Memory
    does not grow with the stream, but for its text (`keep_text`), and for keys where the encoder's look-back is -1.

    Samples are float, [-1, 1], or int16, at the model's rate. NaN, infinities, other integers and two-dimensional
    arrays are refused with an AudioError before they are taken in, so the stream can go on. A stream that has ended
    takes no more.

    Where `as_funasr` is otherwise: pieces of words are not joined from one call of `feed` to the next, a call gives one
    Partial however many windows it completes; the last 400 to 959 samples, which are one frame more, are dropped; and a
    stream of no frame at all is one of zeros, which may have a text. What int16 means it is not: FunASR does not scale
    it.
    """

    def __init__(
        self, model: StreamingRecognizer, options: Any, *, keep_text: bool = True, sample_rate: int | None = None
    ):
        rate = model.config.frontend.fs
        if sample_rate not in (None, rate):
            raise AudioError(f"a stream of {sample_rate} Hz: this model takes {rate} Hz; resample it first")
        self.model, self.options = model, options
        self.chunk = options.chunking.stride * model.frame_samples  # samples by which a window moves on
        self.caches = model.frontend.new_cache(), model.new_cache(options.chunking, as_funasr=options.as_funasr)
        self.rest = np.empty(0, np.float32)
        self.samples = 0  # fed so far
        self.ended = self.is_over = False  # nothing more comes; and all is computed
        self._joined = Joined()
        self._texts: list[str] | None = [] if keep_text else None

    @property
    def text(self) -> str:
        """Return the text so far, with what is held back as it reads now; only that where none is kept."""
        return "".join(self._texts or ()) + ("" if self.is_over else rest(self.model.tokenizer, self._joined))

    @property
    def ready(self) -> bool:
        """Whether there is a window to compute."""
        return not self.is_over and (self.ended or len(self.rest) >= self.chunk)

    def push(self, samples: np.ndarray, *, is_final: bool = False) -> None:
        """Take samples in, (S,), any number, and compute nothing; `is_final`: the stream ends with them.

        Raises:
            AudioError: not one-dimensional, not floating point or int16, NaN or infinite samples.
            UsageError: the stream has ended.
        """
        if self.ended:
            raise UsageError("the stream has ended; begin a new one with model.stream()")
        waveform = checked(as_float(samples))
        self.rest = np.concatenate([self.rest, waveform])
        self.samples += len(waveform)
        self.ended = is_final

    def feed(self, samples: np.ndarray, *, is_final: bool = False) -> list[Partial]:
        """Return what became known with these samples, a Partial for each window; see `push` for what it takes."""
        self.push(samples, is_final=is_final)
        found: list[Partial] = []
        while self.ready:
            found += [partial for _, partial in advance(self.model, [self])]
        return [self._as_one(found)] if self.options.as_funasr else found

    def fork(self) -> TextStream:
        """Return a stream that goes on from here by itself."""
        other = copy.copy(self)
        other._texts = None if self._texts is None else list(self._texts)
        return other

    def state(self) -> dict[str, np.ndarray]:
        """Return all there is of this stream as arrays, for `numpy.savez`; `restore` takes it."""
        about = {
            "state": STATE, "model_type": self.model.config.model_type, "chunking": _told(self.options),
            "samples": self.samples, "ended": self.ended, "is_over": self.is_over, "printed": self._joined.printed,
            "texts": self._texts,
        }  # fmt: skip
        frontend, network = self.caches
        return {
            "about": np.array(json.dumps(about)), "rest": self.rest.copy(), "ids": np.array(self._joined.ids, np.int64),
            **{f"frontend.{name}": array for name, array in self.model.frontend.saved(frontend).items()},
            **{f"network.{name}": array for name, array in self.model.saved(network).items()},
        }  # fmt: skip

    def restore(self, state: dict[str, np.ndarray]) -> TextStream:
        """Return this stream, put where another one of the same model and options was when `state` was asked of it.

        Raises:
            UsageError: no such state, or one of another model, or of other options.
        """
        try:
            about = json.loads(str(state["about"]))
            own = (STATE, self.model.config.model_type, _told(self.options))
            theirs = tuple(about[name] for name in ("state", "model_type", "chunking"))
            if theirs != own:
                raise UsageError(f"a stream of {theirs} cannot go on as one of {own}")
            caches = (
                self.model.frontend.restored(_below("frontend.", state)),
                self.model.restored(_below("network.", state), self.caches[1]),
            )
            joined = Joined(ids=tuple(state["ids"].tolist()), printed=int(about["printed"]))
            self.samples, self.ended, self.is_over = int(about["samples"]), about["ended"], about["is_over"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"not the state of a stream: {error!r}") from error
        self.caches, self._joined, self._texts = caches, joined, about["texts"]
        self.rest = np.asarray(state["rest"], np.float32).copy()
        return self

    def piece(self) -> tuple[np.ndarray, bool]:
        """Return the samples of the window that is ready, and whether it is the last."""
        return self.rest[: self.chunk], self.ended and len(self.rest) < self.chunk

    def absorb(self, window: Window) -> Partial:
        """Take in what a window gave, and return what it adds."""
        left = self.rest[len(window.samples) :]
        self.rest = left if len(left) >= self.chunk else left.copy()  # else the whole recording would be kept
        self.is_over = window.is_final
        step, before, ids, starts = window.step, self.caches[1], [], []
        self.caches = window.frontend, before if step is None else step.cache
        if step is not None:
            kept = ~np.isin(step.tokens, [*self.model.tokenizer.silent])
            ids, starts = step.token_ids, begins_ms(step.frames[kept], self.model.frame_ms)
        return Partial(
            text=self._added(ids, window.is_final), token_ids=ids, token_starts_ms=starts,
            start_ms=self._ms(before), end_ms=self._ms(self.caches[1]), heard_ms=self._heard_ms,
            is_final=window.is_final,
        )  # fmt: skip

    def _added(self, ids: Sequence[int], is_final: bool) -> str:
        tokenizer = self.model.tokenizer
        if self.options.as_funasr:  # one call's tokens are joined when it is over
            self._joined = Joined(ids=(*self._joined.ids, *ids))
            return ""
        text, self._joined = add(tokenizer, self._joined, ids)
        text += rest(tokenizer, self._joined) if is_final else ""
        if self._texts is not None and text:
            self._texts.append(text)
        return text

    def _as_one(self, found: Sequence[Partial]) -> Partial:
        """Return what FunASR gives of one call: one text, of all windows that it completed."""
        text, at = rest(self.model.tokenizer, self._joined), self._ms(self.caches[1])
        self._joined = Joined()
        if self._texts is not None and text:
            self._texts.append(text)
        return Partial(
            text=text,
            token_ids=[one for each in found for one in each.token_ids],
            token_starts_ms=[one for each in found for one in each.token_starts_ms],
            start_ms=found[0].start_ms if found else at,
            end_ms=at,
            heard_ms=self._heard_ms,
            is_final=self.is_over,
        )

    @property
    def _heard_ms(self) -> int:
        return round(self.samples * 1000 / self.model.config.frontend.fs)

    def _ms(self, cache: Any) -> int:
        """How far a stream is decided on, from its first sample on."""
        return max(round((cache.decided - self.options.chunking.ahead) * self.model.frame_ms), 0)


def _told(options: Any) -> list[Any]:
    chunking = options.chunking
    look_back = chunking.encoder_chunk_look_back, chunking.decoder_chunk_look_back
    return [list(chunking.chunk_size), *look_back, chunking.key_bits, bool(options.as_funasr)]


def _below(prefix: str, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}


def stream(
    model: StreamingRecognizer, *, keep_text: bool = True, sample_rate: int | None = None, **options: Any
) -> TextStream:
    """Return a new stream; see `TextStream`.

    Args:
        model: what `mlx_model.load` returned.
        keep_text: False: `stream.text` is what is held back alone, for streams without an end.
        sample_rate: what the samples are of; the model's own, or an error.
        options: chunk_size, encoder_chunk_look_back, decoder_chunk_look_back, as_funasr (`model.Options`).

    Raises:
        UsageError: an option that the model does not have, or a value of which no stream can be made.
        AudioError: `sample_rate` is not the model's.
    """
    return TextStream(model, options_from(model, options), keep_text=keep_text, sample_rate=sample_rate)


def advance(model: StreamingRecognizer, streams: Sequence[TextStream]) -> list[tuple[TextStream, Partial]]:
    """Return what one window of each of these streams adds; all of them have to be ready.

    Nothing of a stream is changed before everything is computed.
    """
    windows = [Window(each, *each.piece()) for each in streams]
    heard = [window for window in windows if window.is_heard]
    given = [window.samples for window in heard], [window.stream.caches[0] for window in heard]
    found = model.frontend.chunks(*given, [window.is_final for window in heard])
    for window, (feats, cache) in zip(heard, found, strict=True):
        window.feats, window.frontend = feats, cache
    computed = [window for window in windows if window.means_something]
    steps = model.step(
        [window.feats for window in computed],
        [window.stream.caches[1] for window in computed],
        [window.is_final for window in computed],
    )
    for window, step in zip(computed, steps, strict=True):
        window.step = step
    return [(window.stream, window.stream.absorb(window)) for window in windows]


class Window:
    """One window of a stream on its way: its new samples, their features, and what the model makes of them."""

    def __init__(self, stream: TextStream, samples: np.ndarray, is_final: bool):
        self.stream, self.samples, self.is_final = stream, samples, is_final
        self.feats: Any = ()
        self.frontend: Any = stream.caches[0]
        self.step: Any = None

    @property
    def is_heard(self) -> bool:
        """Whether it gets to the front end: FunASR leaves a last one away that is shorter than a frame."""
        stream = self.stream
        return not (self.is_final and stream.options.as_funasr and len(self.samples) < stream.model.frame_samples)

    @property
    def means_something(self) -> bool:
        """Whether it is computed: not where the stream never had a frame, but by FunASR."""
        return len(self.feats) > 0 or self.stream.options.as_funasr or self.stream.caches[1].decided > 0


class Streams:
    """Many streams on one model: push to them as samples come, and let each `step` compute one window of all that are.

        streams = Streams(model)
        calls = {line: streams.open(encoder_chunk_look_back=4) for line in lines}
        ...
        calls[line].push(samples)
        for stream, partial in streams.step(): ...

    A stream's results do not depend on who else is there. Those that are over are let go.
    """

    def __init__(self, model: StreamingRecognizer):
        self.model = model
        self.streams: list[TextStream] = []

    def open(self, *, keep_text: bool = True, sample_rate: int | None = None, **options: Any) -> TextStream:
        """Return a new stream of these; see `stream`."""
        new = stream(self.model, keep_text=keep_text, sample_rate=sample_rate, **options)
        self.streams.append(new)
        return new

    def close(self, stream: TextStream) -> None:
        """Let a stream go that is not over."""
        self.streams.remove(stream)

    def step(self) -> list[tuple[TextStream, Partial]]:
        """Return what one window of each stream that is ready adds; [] where none is."""
        ready = [each for each in self.streams if each.ready]
        found = advance(self.model, ready) if ready else []
        self.streams = [each for each in self.streams if not each.is_over]
        return found
