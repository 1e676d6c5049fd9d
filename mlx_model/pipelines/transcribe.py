"""Many recordings to text: sorted by length, batched by duration, decoded ahead, answered in input order."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, UInt

from mlx_model.audio.batching import batches, side_by_side
from mlx_model.audio.files import Recording, duration_s, load_recording, too_long
from mlx_model.errors import AudioError, UsageError
from mlx_model.files.names import shown
from mlx_model.machine.blas import mx
from mlx_model.machine.device import aside, on_gpu
from mlx_model.text.formats import FORMATS as FORMATS
from mlx_model.text.formats import check_format as check_format
from mlx_model.text.formats import to_document as to_document
from mlx_model.text.token_times import Word, starts_ms

if TYPE_CHECKING:
    from mlx_model.models.paraformer import Model, ParaformerOutput

S = TypeVar("S")
T = TypeVar("T")
Audio = str | Path | np.ndarray
Features = tuple[Float[mx.array, "B T Din"], Int[mx.array, " B"]]
QUICK_S = 50e-6  # to look up a recording's length; libsndfile takes 0.12 ms, a file elsewhere on a network more
MAX_DURATION_S = 900.0  # attention is quadratic: 15 minutes already take 4 GB a layer at full size
BATCH_SECONDS, BATCH_SECONDS_GPU = 60.0, 1280.0  # a GPU is filled by 64 x 20 s
BATCH_SIZE_GPU = 128  # the same for most batches of utterances, for every new shape costs 0.4 s (engines/shapes.py)


@dataclass(frozen=True, slots=True)
class TextSegment:
    """A stretch of a recording and what was said in it; `error` is None, or one line (text is then empty).

    `token_starts_ms` (from the segment's start on) and `words`, where asked for, are about when things are said: see
    token_times.py.
    """

    start_ms: int
    end_ms: int
    text: str
    token_ids: list[int]
    error: str | None = None
    token_starts_ms: list[int] | None = None
    words: list[Word] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What came of one recording. `path` is None for a waveform; `error` is None, or one line (text is then empty).

    `segments` are there where speech was looked for first (long_audio.py), else None. `notes` say what of the file was
    not heard, or how its header is wrong, one line each (survey.py). `token_starts_ms`, where asked for, is about when
    each token is said (token_times.py).
    """

    path: str | None
    text: str
    token_ids: list[int]
    duration_s: float
    error: str | None = None
    segments: list[TextSegment] | None = None
    notes: list[str] = field(default_factory=list)
    token_starts_ms: list[int] | None = None


def transcribe(
    model: Model,
    audio: Audio | Sequence[Audio],
    *,
    batch_size: int | None = None,
    batch_seconds: float | None = None,
    dither: float = 0.0,
    seed: int = 0,
    token_times: bool = False,
    progress: Callable[[float], None] | None = None,
) -> list[Transcript]:
    """Return one Transcript per recording, in input order; unusable ones carry their reason in `error`.

    Args:
        model: what `mlx_model.load` returned.
        audio: a path, a mono waveform at the model's rate in [-1, 1], or a sequence of these.
        batch_size: at most so many recordings at once. Default: as `batch_seconds` allows, where that is left out on
            a GPU 128.
        batch_seconds: at most so much audio at once, padding included; bounds memory. Default: 60, on a GPU 1280.
        dither: see `frontend.fbank`.
        seed: of the dither.
        token_times: fill in `token_starts_ms`.
        progress: called with the number of recordings done since the last call.

    Raises:
        UsageError: a batch size or duration below 1.
    """
    if batch_seconds is None:
        batch_seconds = BATCH_SECONDS_GPU if on_gpu() else BATCH_SECONDS
        batch_size = BATCH_SIZE_GPU if batch_size is None and on_gpu() else batch_size
    if batch_seconds <= 0 or (batch_size is not None and batch_size < 1):
        raise UsageError("batch size must be at least 1 and batch seconds above 0")
    items = [audio] if isinstance(audio, (str, Path, np.ndarray)) else list(audio)
    rate = model.config.frontend.fs
    with ThreadPoolExecutor(decoders()) as pool:
        lengths = durations_s(pool, items, rate)
    plan = batches(lengths, batch_size, batch_seconds)
    results: dict[int, Transcript] = {}
    batched = ([items[index] for index in indices] for indices in plan)
    decoded = in_batches(model, batched, dither=dither, seed=seed, token_times=token_times)
    for indices, transcripts in zip(plan, decoded, strict=True):
        results |= zip(indices, transcripts, strict=True)
        if progress is not None:
            progress(float(len(indices)))
    return [results[index] for index in range(len(items))]


def in_batches(
    model: Model,
    plan: Iterable[Sequence[Audio]],
    *,
    dither: float = 0.0,
    seed: int = 0,
    token_times: bool = False,
) -> Iterator[list[Transcript]]:
    """Yield the Transcripts of one batch after the other.

    Beside the network the audio of the next batches is decoded. A CPU computes the next batch's features there, too. A
    GPU, which works while the host does something else, is given all of the next batch's encoder before this one's
    token counts are waited for, and its decoder before the text of this one is put together.

    Args:
        model: what `mlx_model.load` returned.
        plan: batches as `transcribe` takes single recordings; may be endless.
        dither, seed, token_times: as for `transcribe`.
    """
    features_ahead, network_ahead = (0, 1) if on_gpu() else (1, 0)
    with ThreadPoolExecutor(decoders()) as pool:
        decoding = ahead((_start_loading(pool, model, items) for items in plan), 1 + network_ahead)
        loaded = (batch.result() for batch in decoding)
        ready = ahead(((batch, _start_features(model, batch, dither, seed)) for batch in loaded), features_ahead)
        begun = ahead(((batch, _begin(model, batch, features)) for batch, features in ready), network_ahead)
        heard = ahead(((batch, _finish(model, batch, forward)) for batch, forward in begun), network_ahead)
        for batch, tokens in heard:
            yield list(_transcripts(model, batch, tokens, token_times))


class Tokens(NamedTuple):
    """A batch's best tokens, how many there are of each recording, and the frames where they fire."""

    best: UInt[mx.array, "B U"]
    token_num: Int[mx.array, " B"]
    fires: Bool[mx.array, "B T1"]


class Loaded(NamedTuple):
    """A batch whose audio was decoded: of every recording its path and its length or what is wrong with it."""

    paths: list[str | None]
    found: list[int | AudioError]  # samples, or the reason why there are none
    notes: list[list[str]]
    waveforms: mx.array | None  # those that are usable, (B, S); None: none


def _start_loading(pool: ThreadPoolExecutor, model: Model, items: Sequence[Audio]) -> Future[Loaded]:
    """Return the batch that threads are decoding; one of them puts it together, beside the network."""
    waveforms = _dealt(pool, lambda item: _load(item, model), items)
    return pool.submit(lambda: _together(items, waveforms()))


def _dealt(pool: ThreadPoolExecutor, function: Callable[[S], T], items: Sequence[S]) -> Callable[[], list[T]]:
    """Let threads compute function(item) of every item, and return the function that waits for all of them.

    Every thread gets its share at once: a task takes a pool 10 to 15 us, an ordinary WAV's length 23.
    """
    count = min(decoders(), len(items))
    shares = [pool.submit(lambda at=at: [function(item) for item in items[at::count]]) for at in range(count)]

    def wait() -> list[T]:
        found = [share.result() for share in shares]
        return [found[number % count][number // count] for number in range(len(items))]

    return wait


def _together(items: Sequence[Audio], loaded: Sequence[Recording | AudioError]) -> Loaded:
    paths = [None if isinstance(item, np.ndarray) else str(item) for item in items]
    usable = [entry.samples for entry in loaded if isinstance(entry, Recording)]
    waveforms = mx.array(side_by_side(usable)[0]) if usable else None
    found = [len(entry.samples) if isinstance(entry, Recording) else entry for entry in loaded]
    notes = [entry.notes if isinstance(entry, Recording) else [] for entry in loaded]
    return Loaded(paths, found, notes, waveforms)


def decoders() -> int:
    """Return how many threads decode audio: 2, and up to 8 where there are cores for them."""
    return max(2, min(8, (os.cpu_count() or 1) // 2))


def durations_s(pool: ThreadPoolExecutor, items: Sequence[Audio], rate: int) -> list[float]:
    """Return how long recordings are, for sorting; 0 of an unreadable file.

    They are looked up in this thread as long as that is quick, the rest in the pool's. Threads that do little but open
    files keep each other from Python's lock: 770 plain WAV files take one thread 8 ms, and eight 29.
    """
    found: list[float] = []
    start = time.perf_counter()
    while len(found) < len(items) and time.perf_counter() - start < QUICK_S * (16 + len(found)):
        found.append(_length_s(items[len(found)], rate))
    return found + _dealt(pool, lambda item: _length_s(item, rate), items[len(found) :])()


def _length_s(item: Audio, rate: int) -> float:
    """Duration for sorting; an unreadable file gets 0 here and its reason when it is loaded."""
    if isinstance(item, np.ndarray):
        return item.size / rate
    try:
        return duration_s(item)
    except AudioError:
        return 0.0


def ahead(started: Iterable[T], count: int) -> Iterator[T]:
    """Yield items, each only after so many more were taken from `started`, which starts them."""
    waiting: deque[T] = deque()
    for item in started:
        waiting.append(item)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting


def _start_features(model: Model, batch: Loaded, dither: float, seed: int) -> Features | None:
    """Return features and lengths of what could be loaded, being computed, or None where there is nothing."""
    if batch.waveforms is None:
        return None
    samples = [found for found in batch.found if isinstance(found, int)]
    with mx.stream(aside()):
        features = model.features_of(batch.waveforms, samples, dither=dither, seed=seed)
    mx.async_eval(*features)
    return features


def _load(item: Audio, model: Model) -> Recording | AudioError:
    """The waveform, or the reason why there is none."""
    rate = model.config.frontend.fs
    try:
        if isinstance(item, np.ndarray):
            recording = Recording(_checked_array(item), [])
        else:
            recording = load_recording(item, rate, longest_s=MAX_DURATION_S)
        name, samples = "waveform" if isinstance(item, np.ndarray) else shown(item), len(recording.samples)
        if samples < model.frontend.min_samples:
            raise AudioError(f"{name}: too short, {samples} samples; one frame needs {model.frontend.min_samples}")
        if samples > MAX_DURATION_S * rate:
            raise too_long(name, samples / rate, MAX_DURATION_S)
    except AudioError as error:
        return error
    return recording


def _checked_array(waveform: np.ndarray) -> np.ndarray:
    if waveform.ndim != 1 or not np.issubdtype(waveform.dtype, np.floating):
        raise AudioError(f"a waveform must be one-dimensional float in [-1, 1], not {waveform.dtype} {waveform.shape}")
    if not np.isfinite(waveform).all():
        raise AudioError("the waveform holds NaN or infinite samples")
    return waveform.astype(np.float32)


def _begin(model: Model, batch: Loaded, features: Features | None) -> Callable[[], ParaformerOutput] | None:
    return model.begin(*features) if features else None


def _finish(model: Model, batch: Loaded, forward: Callable[[], ParaformerOutput] | None) -> Tokens | None:
    """Return the best tokens of each recording, how many there are and where they fire, being computed."""
    if forward is None:
        return None
    output = forward()
    return Tokens(*model.best(output), output.fires)


def _transcripts(model: Model, batch: Loaded, tokens: Tokens | None, token_times: bool = False) -> Iterator[Transcript]:
    ids = iter(model.spoken(tokens.best, tokens.token_num) if tokens else [])
    starts = iter(_starts_ms(model, tokens) if tokens and token_times else [])
    for path, found, notes in zip(batch.paths, batch.found, batch.notes, strict=True):
        if isinstance(found, AudioError):
            yield Transcript(path=path, text="", token_ids=[], duration_s=0.0, error=str(found), notes=notes)
            continue
        token_ids = next(ids)
        yield Transcript(
            path=path,
            text=model.tokenizer.decode(token_ids),
            token_ids=token_ids,
            duration_s=found / model.config.frontend.fs,
            notes=notes,
            token_starts_ms=next(starts, None),
        )


def _starts_ms(model: Model, tokens: Tokens) -> Iterator[list[int]]:
    """Yield `token_times.starts_ms` of each recording, for the tokens that `model.spoken` returns."""
    config, frontend = model.config, model.config.frontend
    best, counts, fires = np.array(tokens.best), np.array(tokens.token_num), np.array(tokens.fires)
    kept = ~np.isin(best, (config.blank_id, config.sos, config.eos))
    for row, count, fired in zip(kept, counts, fires, strict=True):
        yield starts_ms(fired, row[:count], frontend.lfr_n * frontend.frame_shift)
