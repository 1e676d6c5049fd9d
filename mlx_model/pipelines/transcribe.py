"""Many recordings to text: sorted by length, batched by duration, decoded ahead, answered in input order.

What happens to one batch is `Batch`, from top to bottom; which batches are worked on at once is `in_batches`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, repeat
from typing import Any, NamedTuple

from mlx_model.audio.batching import batches, side_by_side
from mlx_model.audio.files import Recording
from mlx_model.audio.items import Audio, listed, path_of
from mlx_model.audio.reading import dealt, decoders, durations_s, load
from mlx_model.errors import AudioError, UsageError
from mlx_model.machine.blas import mx
from mlx_model.machine.device import aside, on_gpu
from mlx_model.pipelines.options import options_from
from mlx_model.roles import Recognizer
from mlx_model.text.results import Hypothesis, Transcript, heard_of

MAX_DURATION_S = 900.0  # attention is quadratic: 15 minutes already take 4 GB a layer at full size
MOST_ALTERNATIVES = 100
BATCH_SECONDS, BATCH_SECONDS_GPU = 60.0, 2560.0  # a GPU is filled by 64 x 20 s; twice that halves the host's work
BATCH_SIZE_GPU = 256  # the same for most batches of utterances, for every new shape costs 0.4 s (engines/shapes.py)


def transcribe(
    model: Recognizer,
    audio: Audio | Sequence[Audio],
    *,
    batch_size: int | None = None,
    batch_seconds: float | None = None,
    dither: float = 0.0,
    seed: int = 0,
    times: bool = False,
    confidence: bool = False,
    nbest: int = 0,
    progress: Callable[[float], None] | None = None,
    **options: Any,
) -> list[Transcript]:
    """Return one Transcript per recording, in input order; unusable ones carry their reason in `error`.

    Args:
        model: what `mlx_model.load` returned.
        audio: a path, a mono waveform at the model's rate in [-1, 1], or a sequence of these.
        batch_size: at most so many recordings at once. Default: as `batch_seconds` allows, where that is left out on
            a GPU 256.
        batch_seconds: at most so much audio at once, padding included; bounds memory. Default: 60, on a GPU 2560.
        dither: see `frontend.fbank`.
        seed: of the dither.
        times: fill in `words`, or `token_starts_ms`, where the family can tell when things are said.
        confidence: fill in how sure the model is, of tokens, words and all of it, and `flags`.
        nbest: fill in so many `alternatives`, the text itself among them.
        progress: called with the number of recordings done since the last call.
        options: of the family, by their names (`model.Options`).

    Raises:
        UsageError: a batch size or duration below 1; alternatives below 0 or above MOST_ALTERNATIVES; an option the
            family does not have, or a value it does not take.
    """
    chosen = options_from(model, options)
    if batch_seconds is None:
        batch_seconds = BATCH_SECONDS_GPU if on_gpu() else BATCH_SECONDS
        batch_size = BATCH_SIZE_GPU if batch_size is None and on_gpu() else batch_size
    if batch_seconds <= 0 or (batch_size is not None and batch_size < 1):
        raise UsageError("batch size must be at least 1 and batch seconds above 0")
    if not 0 <= nbest <= MOST_ALTERNATIVES:
        raise UsageError(f"{nbest} alternatives: expected 0 to {MOST_ALTERNATIVES}")
    items = listed(audio)
    plan = batches(durations_s(items, model.config.frontend.fs), batch_size, batch_seconds)
    results: dict[int, Transcript] = {}
    batched = ([items[index] for index in indices] for indices in plan)
    asked = {"dither": dither, "seed": seed, "times": times, "confidence": confidence, "nbest": nbest}
    found = in_batches(model, batched, options=chosen, **asked)
    for indices, transcripts in zip(plan, found, strict=True):
        results |= zip(indices, transcripts, strict=True)
        if progress is not None:
            progress(float(len(indices)))
    return [results[index] for index in range(len(items))]


class Lag(NamedTuple):
    """How many batches later than its own audio each step of a batch is taken: what runs beside what."""

    features: int
    begin: int
    finish: int
    transcripts: int


# Beside the network the audio of the next batches is decoded. A CPU computes the next batch's features there, too. A
# GPU, which works while the host does something else, is given all of the next batch's encoder before this one's
# token counts are waited for, and its decoder before the text of this one is put together.
ON_CPU = Lag(features=1, begin=2, finish=2, transcripts=2)
ON_GPU = Lag(features=2, begin=2, finish=3, transcripts=4)


def in_batches(
    model: Recognizer,
    plan: Iterable[Sequence[Audio]],
    *,
    options: Any = None,
    dither: float = 0.0,
    seed: int = 0,
    times: bool = False,
    confidence: bool = False,
    nbest: int = 0,
) -> Iterator[list[Transcript]]:
    """Yield the Transcripts of one batch after the other.

    In every round one batch is taken from `plan`, and each batch that is under way does the step that its age allows,
    the youngest first.

    Args:
        model: what `mlx_model.load` returned.
        plan: batches as `transcribe` takes single recordings; may be endless.
        options: the family's `Options`; None: as they are by default.
        dither, seed, times, confidence, nbest: as for `transcribe`.
    """
    lag = ON_GPU if on_gpu() else ON_CPU
    steps: tuple[tuple[int, Callable[[Batch], None]], ...] = (
        (lag.features, Batch.start_features), (lag.begin, Batch.begin), (lag.finish, Batch.finish),
    )  # fmt: skip
    asked = Asked(model.Options() if options is None else options, dither, seed, times, confidence, nbest)
    under_way: deque[Batch | None] = deque([None] * lag.transcripts, maxlen=lag.transcripts + 1)  # the youngest first
    with ThreadPoolExecutor(decoders()) as pool:
        for items in chain(plan, repeat(None, lag.transcripts)):  # the last ones still have their steps to take
            under_way.appendleft(None if items is None else Batch(model, items, asked, pool))
            for age, step in steps:
                if (batch := under_way[age]) is not None:
                    step(batch)
            if (batch := under_way[lag.transcripts]) is not None:
                yield batch.transcripts()


class Asked(NamedTuple):
    """What is wanted of every batch; see `in_batches`."""

    options: Any
    dither: float
    seed: int
    times: bool
    confidence: bool
    nbest: int


class Loaded(NamedTuple):
    """Audio that was decoded: of every recording its length or what is wrong with it, and notes; and all samples."""

    found: list[int | AudioError]  # samples, or the reason why there are none
    notes: list[list[str]]
    waveforms: mx.array | None  # those that are usable, (B, S); None: none


class Batch:
    """One batch on its way from files to text: the steps in order, each starting what the next one needs.

    Nothing is waited for where it is started. What a step has used up is let go.
    """

    def __init__(self, model: Recognizer, items: Sequence[Audio], asked: Asked, pool: ThreadPoolExecutor):
        """Let threads decode the audio; one of them puts it together, beside the network."""
        self.model, self.asked = model, asked
        self.paths = [path_of(item) for item in items]
        rate, least = model.config.frontend.fs, model.frontend.min_samples
        decoded = dealt(pool, lambda item: load(item, rate, least=least, longest_s=MAX_DURATION_S), items)
        self._loading = pool.submit(lambda: _together(decoded()))
        self._state: Any = None  # features, then the function that finishes, then the best tokens; None: no audio

    def start_features(self) -> None:
        """Wait for the audio, and start the features of what could be decoded."""
        self.found, self.notes, waveforms = self._loading.result()
        del self._loading
        if waveforms is None:
            return
        samples = [found for found in self.found if isinstance(found, int)]
        with mx.stream(aside()):
            self._state = self.model.features_of(waveforms, samples, dither=self.asked.dither, seed=self.asked.seed)
        mx.async_eval(*self._state)

    def begin(self) -> None:
        """Start the network, as far as it goes without knowing how many tokens there are."""
        if self._state is not None:
            feats, lengths = self._state
            self._state = self.model.begin(feats, lengths, self.asked.options)

    def finish(self) -> None:
        """Run the rest of the network, and start choosing the tokens."""
        if self._state is not None:
            output = self._state()
            asked = self.asked
            self._state = self.model.best(output, confidence=asked.confidence, nbest=asked.nbest)

    def transcripts(self) -> list[Transcript]:
        """Wait for the tokens, and return what they say, one Transcript per recording."""
        heard: list[Hypothesis] = []
        if self._state is not None:
            heard = self.model.hypotheses(self._state, self.asked.options, times=self.asked.times)
        self._state = None
        rest, rate = iter(heard), self.model.config.frontend.fs
        return [
            Transcript(path=path, text="", token_ids=[], duration_s=0.0, error=str(found), notes=notes)
            if isinstance(found, AudioError)
            else _transcript(self._within(next(rest), found / rate), path, found / rate, notes)
            for path, found, notes in zip(self.paths, self.found, self.notes, strict=True)
        ]

    def _within(self, heard: Hypothesis, duration_s: float) -> Hypothesis:
        """The same with no word beyond the recording's end, which models know to a frame; as FunASR: as it is."""
        if heard.words is None or getattr(self.asked.options, "as_funasr", False):
            return heard
        end = round(duration_s * 1000)
        words = [replace(word, start_ms=min(word.start_ms, end), end_ms=min(word.end_ms, end)) for word in heard.words]
        return replace(heard, words=words)


def _together(loaded: Sequence[Recording | AudioError]) -> Loaded:
    usable = [entry.samples for entry in loaded if isinstance(entry, Recording)]
    waveforms = mx.array(side_by_side(usable)[0]) if usable else None
    found = [len(entry.samples) if isinstance(entry, Recording) else entry for entry in loaded]
    notes = [entry.notes if isinstance(entry, Recording) else [] for entry in loaded]
    return Loaded(found, notes, waveforms)


def _transcript(heard: Hypothesis, path: str | None, duration_s: float, notes: list[str]) -> Transcript:
    return Transcript(path=path, duration_s=duration_s, notes=notes, **heard_of(heard))
