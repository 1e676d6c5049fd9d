"""Long recordings to text: speech is found first, then its segments are recognised in batches of like length.

Mirrors funasr/auto/auto_model.py::AutoModel.inference_with_vad and funasr/utils/vad_utils.py (merge_vad,
slice_padding_audio_samples). A recording is read twice, a minute at a time, once to find the segments and once to cut
them out; at most WINDOW_S of speech is in memory. FunASR sorts all segments of a recording by length; here those of
one window are sorted, which changes which segments share a batch and, as batches do not change results, nothing else.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from mlx_model.audio.files import blocks, duration_s
from mlx_model.audio.items import Audio, listed
from mlx_model.errors import AudioError, UsageError
from mlx_model.pipelines.detect import detect
from mlx_model.pipelines.options import option_kinds
from mlx_model.pipelines.transcribe import transcribe
from mlx_model.pipelines.words import words_of
from mlx_model.roles import Detector, Recognizer
from mlx_model.text.confidence import overall
from mlx_model.text.results import Detection, Segment, Times, Transcript, Word, heard_of
from mlx_model.text.tokenizer import Tokenizer

Recognise = Callable[[list[np.ndarray]], list[Transcript]]
Progress = Callable[[float], None]
WINDOW_S = 600.0  # of speech: 38 MB of samples, and enough segments for batches of like length


class Memory(Protocol):
    """What is known of one recording already, and what else is done with its segments while their samples are here."""

    def detection(self) -> Detection | None:
        """Return what was detected before; None: it is yet to be done."""
        ...

    def detected(self, found: Detection) -> None:
        """Take what was detected now."""
        ...

    def segment(self, number: int) -> Segment | None:
        """Return a segment that was recognised before; None: it is yet to be done."""
        ...

    def heard(self, segments: Mapping[int, Segment], waveforms: Sequence[np.ndarray]) -> None:
        """Take segments that were recognised now, by their numbers, and the samples of each."""
        ...


def transcribe_long(
    model: Recognizer,
    detector: Detector,
    audio: Audio | Sequence[Audio],
    *,
    vad_options: Any = None,
    merge_s: float | None = None,
    times: bool = False,
    progress: Progress | None = None,
    memory: Callable[[int], Memory] | None = None,
    **asked: Any,
) -> list[Transcript]:
    """Return one Transcript per recording, of any length, with the times of its segments, in input order.

    The text is the segments' texts with spaces between them, as FunASR joins them.

    Args:
        model: the recogniser.
        detector: finds the segments.
        audio: a path, a mono waveform at the models' rate in [-1, 1], or a sequence of these.
        vad_options: the detector's `Options`; None: FunASR's own choice here, which is dynamic_silence.
        merge_s: join neighbouring segments up to so many seconds, as FunASR's merge_vad does (AutoModel's
            merge_length_s, which 1.4.16 does not see where `generate` is told it).
        times: give the segments their `words`, for subtitles: the family's, or about where its tokens are.
        progress: called with the seconds of recording that are done since the last call.
        memory: what is known of the recording of that number; None: nothing.
        asked: batch_size, batch_seconds, dither, seed, confidence, nbest and the family's options, as for
            `transcribe`. Alternatives are those of the segments.

    Raises:
        UsageError: models of different rates, a length to merge to that is not above 0, what `transcribe` refuses.
    """
    rates = model.config.frontend.fs, detector.config.frontend.fs
    if rates[0] != rates[1]:
        raise UsageError(
            f"the recogniser takes {rates[0]} Hz and the detector {rates[1]} Hz; they cannot work together"
        )
    if merge_s is not None and not 0 < merge_s < math.inf:
        raise UsageError("the length to merge segments to must be above 0 s")
    recognise = partial(transcribe, model, times=times, **asked)
    recognise([])  # what it refuses, it refuses now
    if vad_options is None and "dynamic_silence" in option_kinds(detector):
        vad_options = detector.Options(dynamic_silence=True)
    results = []
    for number, item in enumerate(listed(audio)):
        known = None if memory is None else memory(number)
        found = None if known is None else known.detection()
        if found is None:
            (found,) = detect(detector, item, options=vad_options, pauses=times)
            if known is not None:
                known.detected(found)
        spans = found.segments if merge_s is None else merged(found.segments, round(merge_s * 1000))
        result = _transcript(item, found, spans, Hearing(rates[0], recognise, progress, known))
        results.append(_with_words(result, model.tokenizer, found.pauses) if times else result)
    return results


def _with_words(result: Transcript, tokenizer: Tokenizer, pauses: Times) -> Transcript:
    """The same with the words of every segment, at the times of their tokens where the family gave none."""
    ends = [end for _, end in pauses]
    segments = []
    for part in result.segments or ():
        near = pauses[bisect_left(ends, part.start_ms) :]
        silent = list(takewhile(lambda pause, part=part: pause[0] < part.end_ms, near))
        words = words_of(part, tokenizer, (part.start_ms, part.end_ms), silent)
        segments.append(part if part.words is not None else replace(part, words=words))
    return replace(result, segments=segments, words=_words(segments))


class Hearing(NamedTuple):
    """How the segments of a recording are heard."""

    rate: int
    recognise: Recognise
    progress: Progress | None
    known: Memory | None


def _transcript(item: Audio, found: Detection, times: Times, hearing: Hearing) -> Transcript:
    """Recognise the segments of one recording; what failed is said in `error`, and what did not is kept."""
    segments, error = [], found.error
    try:
        segments = _segments(item, times, found.duration_s, hearing)
    except AudioError as refused:
        error = error or str(refused)
    text = " ".join(part.text for part in segments)
    errors = [error, *(part.error for part in segments)]
    events = dict.fromkeys(event for part in segments for event in part.events or ())
    confidences = _joined(part.confidences for part in segments)
    return Transcript(
        path=found.path,
        text=text if text.strip() else "",
        token_ids=[token for part in segments for token in part.token_ids],
        confidence=overall(confidences or []),
        confidences=confidences,
        entropies=_joined(part.entropies for part in segments),
        flags=list(dict.fromkeys(flag for part in segments for flag in part.flags)),
        duration_s=found.duration_s,
        error=next((reason for reason in errors if reason), None),
        words=_words(segments),
        segments=segments,
        language=_agreed(part.language for part in segments),
        emotion=_agreed(part.emotion for part in segments),
        events=list(events) if any(part.events is not None for part in segments) else None,
        notes=found.notes,
        timestamp=_stamped(segments),
    )


def _stamped(segments: Sequence[Segment]) -> Times | None:
    """FunASR's times of all segments, where one has some."""
    known = [part.timestamp for part in segments if part.timestamp is not None]
    return [time for times in known for time in times] if known else None


def _words(segments: Sequence[Segment]) -> list[Word] | None:
    """The words of all segments, where the family gives the words of everything that was said."""
    known = [part.words for part in segments if part.words is not None]
    if not known or any(part.text and part.words is None for part in segments):
        return None
    return [word for words in known for word in words]


def _joined(values: Iterable[list[float] | None]) -> list[float] | None:
    """The values of all segments; None where one that was heard has none, or nothing was heard."""
    found = list(values)
    if not found or any(one is None for one in found):
        return None
    return [value for one in found for value in one or ()]


def _agreed(values: Iterable[str | None]) -> str | None:
    """The one value that all segments have which have any; None where they differ."""
    found = {value for value in values if value is not None}
    return found.pop() if len(found) == 1 else None


def total_s(audio: Sequence[str | Path]) -> int:
    """Return the seconds of all recordings together, as far as their headers say, for a progress bar."""
    total = 0.0
    for path in audio:
        with suppress(AudioError):
            total += duration_s(path)
    return round(total)


def _segments(item: Audio, times: Times, length_s: float, hearing: Hearing) -> list[Segment]:
    """Recognise the segments of one recording, window after window."""
    known, done, waiting = hearing.known, dict[int, Segment](), dict[int, np.ndarray]()
    reported, held = 0.0, 0
    pieces = iter([item]) if isinstance(item, np.ndarray) else blocks(item, hearing.rate)
    for number, waveform in enumerate(cut(pieces, times, hearing.rate)):
        before = None if known is None else known.segment(number)
        if before is not None:
            done[number] = before
        else:
            waiting[number] = waveform
            held += len(waveform)
        if held < WINDOW_S * hearing.rate and number + 1 < len(times):
            continue
        fresh = {
            place: segment_of(*times[place], result)
            for place, result in zip(waiting, hearing.recognise([*waiting.values()]), strict=True)
        }
        if known is not None and fresh:
            known.heard(fresh, [*waiting.values()])
        done |= fresh
        waiting, held = {}, 0
        if hearing.progress is not None:
            hearing.progress(times[number][1] / 1000 - reported)
            reported = times[number][1] / 1000
    if hearing.progress is not None:
        hearing.progress(max(length_s - reported, 0.0))
    return [part for _, part in sorted(done.items())]


def segment_of(start_ms: int, end_ms: int, heard: Transcript) -> Segment:
    """Return what was heard between two times of a recording; its words get the recording's times."""
    words = heard.words and [
        replace(word, start_ms=word.start_ms + start_ms, end_ms=word.end_ms + start_ms) for word in heard.words
    ]
    stamps = heard.timestamp and [[start + start_ms, end + start_ms] for start, end in heard.timestamp]
    part = Segment(start_ms=start_ms, end_ms=end_ms, error=heard.error, **heard_of(heard))
    return replace(part, words=words, timestamp=stamps)


def cut(pieces: Iterator[np.ndarray], times: Times, rate: int) -> Iterator[np.ndarray]:
    """Yield the samples of each [start_ms, end_ms], which come in order and do not overlap; the last may be cut short.

    Mirrors slice_padding_audio_samples. Only what a segment still needs is kept.
    """
    kept, first, number = np.empty(0, np.float32), 0, 0  # samples from sample `first` on; the next segment
    bounds = [(start * rate // 1000, end * rate // 1000) for start, end in times]
    for piece in pieces:
        kept = np.concatenate([kept, piece])
        while number < len(bounds) and bounds[number][1] <= first + len(kept):
            start, end = bounds[number]
            yield kept[start - first : end - first].copy()
            number += 1
        wanted = bounds[number][0] if number < len(bounds) else first + len(kept)
        dropped = min(max(wanted - first, 0), len(kept))
        kept, first = kept[dropped:], first + dropped
    for start, end in bounds[number:]:
        yield kept[max(start - first, 0) : max(end - first, 0)].copy()


def merged(times: Times, longest_ms: int) -> Times:
    """Return the segments joined, pauses included, to at most `longest_ms`, where their starts and ends allow it.

    FunASR's rule, all of it: two or more segments are joined from 0 ms on, so silence before the first one belongs to
    a segment. Mirrors funasr/utils/vad_utils.py::merge_vad.
    """
    if len(times) <= 1:
        return times
    edges = sorted({edge for pair in times for edge in pair})
    result, begin = [], 0
    for edge, following in pairwise(edges):
        if following - begin >= longest_ms:
            if edge > begin:
                result.append([begin, edge])
            begin = edge
    return [*result, [begin, edges[-1]]]
