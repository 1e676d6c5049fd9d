"""Many recordings and their texts to words with times: sorted by length, batched by duration, answered in input order.

While one batch is computed, threads decode the next one's audio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from mlx_model.audio.batching import batches, side_by_side
from mlx_model.audio.files import Recording
from mlx_model.audio.items import Audio, listed, path_of
from mlx_model.audio.reading import decoders, durations_s, load
from mlx_model.errors import AudioError, UsageError
from mlx_model.files.names import shown
from mlx_model.machine.blas import mx
from mlx_model.machine.device import on_gpu
from mlx_model.pipelines.options import options_from
from mlx_model.pipelines.transcribe import BATCH_SECONDS, BATCH_SECONDS_GPU, MAX_DURATION_S
from mlx_model.roles import Aligner
from mlx_model.text.alignment import Alignment, Timed
from mlx_model.text.known_text import KnownText


class Item(NamedTuple):
    """One recording, and its text."""

    audio: Audio
    text: str


def align(
    model: Aligner,
    audio: Audio | Sequence[Audio],
    texts: str | Sequence[str],
    *,
    batch_size: int | None = None,
    batch_seconds: float | None = None,
    progress: Callable[[float], None] | None = None,
    **options: Any,
) -> list[Alignment]:
    """Return one Alignment per recording, in input order; unusable ones carry their reason in `error`.

    Args:
        model: what `mlx_model.load` returned.
        audio: a path, a mono waveform at the model's rate in [-1, 1], or a sequence of these.
        texts: what is said in each, as many as recordings.
        batch_size: at most so many recordings at once; None: as `batch_seconds` allows.
        batch_seconds: at most so much audio at once, padding included; bounds memory. Default: 60, on a GPU 2560.
        progress: called with the number of recordings done since the last call.
        options: of the family, by their names (`model.Options`).

    Raises:
        UsageError: texts are more or fewer than recordings; a batch size or duration below 1; an option the family
            does not have, or a value it does not take.
    """
    chosen = options_from(model, options)
    if batch_seconds is None:
        batch_seconds = BATCH_SECONDS_GPU if on_gpu() else BATCH_SECONDS
    if batch_seconds <= 0 or (batch_size is not None and batch_size < 1):
        raise UsageError("batch size must be at least 1 and batch seconds above 0")
    recordings, given = listed(audio), [texts] if isinstance(texts, str) else list(texts)
    if len(recordings) != len(given):
        raise UsageError(f"{len(given)} texts for {len(recordings)} recordings; each recording needs its own")
    items = [Item(*pair) for pair in zip(recordings, given, strict=True)]
    plan = batches(durations_s(recordings, model.config.frontend.fs), batch_size, batch_seconds)
    results: dict[int, Alignment] = {}
    found = _in_batches(model, [[items[index] for index in indices] for indices in plan], chosen)
    for indices, alignments in zip(plan, found, strict=True):
        results |= zip(indices, alignments, strict=True)
        if progress is not None:
            progress(float(len(indices)))
    return [results[index] for index in range(len(items))]


def _in_batches(model: Aligner, plan: Sequence[Sequence[Item]], options: Any) -> Iterator[list[Alignment]]:
    rate, least = model.config.frontend.fs, model.frontend.min_samples

    def decode(item: Item) -> Recording | AudioError:
        return load(item.audio, rate, least=least, longest_s=MAX_DURATION_S)

    with ThreadPoolExecutor(decoders()) as pool:
        waiting: list[list[Future[Recording | AudioError]]] = []
        for number, batch in enumerate(plan):
            for ahead in plan[number + len(waiting) : number + 2]:
                waiting.append([pool.submit(decode, item) for item in ahead])
            yield _batch(model, batch, [future.result() for future in waiting.pop(0)], options)


def _batch(
    model: Aligner, batch: Sequence[Item], decoded: Sequence[Recording | AudioError], options: Any
) -> list[Alignment]:
    """Return the alignments of recordings that are decoded; those that cannot be used keep their place."""
    known = [model.known(item.text) for item in batch]
    usable = [row for row, found in enumerate(decoded) if isinstance(found, Recording)]
    timed = iter(_timed(model, [decoded[row] for row in usable], [known[row] for row in usable], options))
    return [
        _alignment(item, found.samples.size / model.config.frontend.fs, [*found.notes, *text.notes], text, next(timed))
        if isinstance(found, Recording)
        else Alignment(path=path_of(item.audio), text=item.text, error=str(found))
        for item, found, text in zip(batch, decoded, known, strict=True)
    ]


def _timed(model: Aligner, recordings: Sequence[Any], texts: Sequence[KnownText], options: Any) -> list[Timed]:
    if not recordings:
        return []
    waveforms, samples = side_by_side([recording.samples for recording in recordings])
    feats, lengths = model.features_of(mx.array(waveforms), samples, dither=0.0, seed=0)
    durations = [1000 * count // model.config.frontend.fs for count in samples]
    return model.timed(feats, lengths, texts, durations, options)


def _alignment(item: Item, duration_s: float, notes: list[str], text: KnownText, timed: Timed) -> Alignment:
    path, words = path_of(item.audio), timed.words
    return Alignment(
        path=path,
        text=item.text,
        duration_s=duration_s,
        error=None if timed.error is None else f"{'waveform' if path is None else shown(path)}: {timed.error}",
        words=words,
        written=[word.written for word in text.words] if words is not timed.funasr_words else [],
        funasr_words=timed.funasr_words,
        confidence=timed.confidence,
        notes=[*notes, *timed.notes],
    )
