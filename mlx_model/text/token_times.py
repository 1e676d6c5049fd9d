"""About when each token and each word is said, from where CIF fires and from the VAD's pauses; for subtitles.

CIF completes a token near the place where it begins to be heard: on real speech (speech_misc/vad_example, a model of
3 M parameters) the first token after a pause fires 40 ms after the pause's end in the median, from 40 ms before to
200 ms after in most cases, in steps of one encoder frame, 60 ms; the last one before a pause 200 ms or more before it.
Good enough to cut a cue by; not the times of characters that models with a time head give. Imports numpy only.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from mlx_model.text.confidence import printed, together
from mlx_model.text.results import Times, Word

EARLY_MS = 30  # half an encoder frame of the usual 60 ms: a token is heard a little before it is complete
SHORT_MS = 100  # a word has begun so long before a pause, or it begins behind it
PAUSE_MS = 200  # what is silent for longer is a pause, and no consonant


def starts_ms(fires: np.ndarray, kept: np.ndarray, frame_ms: float) -> list[int]:
    """Return about when each kept token begins, in milliseconds since the waveform does, in order.

    Args:
        fires: (T,) bool, the frames after which a token is complete.
        kept: (U,) bool, which of the tokens are printed; a token that never fired begins with the last frame.
        frame_ms: of an encoder frame.
    """
    frames = np.flatnonzero(fires)[: len(kept)]
    missing = len(kept) - len(frames)
    frames = np.concatenate([frames, np.full(missing, len(fires) - 1, frames.dtype)])
    return begins_ms(frames[kept], frame_ms)


def begins_ms(frames: np.ndarray, frame_ms: float) -> list[int]:
    """Return the same of tokens that fire at these frames, counted from the waveform's start on."""
    return np.maximum(np.round(frames * frame_ms).astype(int) - EARLY_MS, 0).tolist()


def pauses(speech: Sequence[bool], frame_ms: float) -> Times:
    """Return [[start_ms, end_ms], ...] of silence that lasts for PAUSE_MS, from the VAD's verdict on every frame."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], np.asarray(speech, bool), [True]]))) * frame_ms
    runs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return [[int(start), int(end)] for start, end in runs if end - start >= PAUSE_MS]


def timed(
    text: str,
    tokens: Sequence[str],
    starts: Sequence[int],
    span: tuple[int, int],
    silent: Sequence[Sequence[int]] = (),
    *,
    confidences: Sequence[float] | None = None,
    held_ms: int | None = None,
) -> list[Word]:
    """Return the words of a segment's text with times, which do not overlap and stay within `span`.

    Tokens and text are matched by counting characters, so that it does not matter how the tokens were joined.

    Args:
        text: of the segment.
        tokens: that it was made of; none: the words share the span by their lengths.
        starts: of each token, ms.
        span: where the segment begins and ends, ms.
        silent: pauses in it, see `pauses`.
        confidences: of each token; None: the words have none.
        held_ms: a word ends so long after its last token begins, or where the next one does; None: there.
    """
    found = list(split(text))
    if not found:
        return []
    places = _tokens_of([word for word, _ in found], tokens) if tokens else []
    if tokens:
        times = [starts[first] for first, _ in places]
    else:
        lengths = [len(word) for word, _ in found]
        total = max(sum(lengths), 1)
        times = [span[0] + (span[1] - span[0]) * begin // total for begin in accumulate([0, *lengths[:-1]])]
    times = [min(max(time, span[0]), span[1]) for time in times]
    ends = [*times[1:], span[1]]
    if tokens and held_ms is not None:
        held = (max(starts[stop - 1], time) + held_ms for (_, stop), time in zip(places, times, strict=True))
        ends = [min(end, last) for end, last in zip(ends, held, strict=True)]
    result = []
    for number, ((word, spaced), start, end) in enumerate(zip(found, times, ends, strict=True)):
        begin, stop = _without_pauses(start, end, silent)
        own = confidences[slice(*places[number])] if confidences and tokens else ()
        result.append(Word(text=word, start_ms=begin, end_ms=stop, spaced=spaced, confidence=together(own)))
    return result


def sure(words: Sequence[Word], tokens: Sequence[str], confidences: Sequence[float]) -> list[Word]:
    """Return the words with their tokens' confidences together; matched by counting characters, as in `timed`."""
    if not tokens:
        return list(words)
    places = _tokens_of([word.text for word in words], tokens)
    return [
        replace(word, confidence=together(confidences[first:stop]))
        for word, (first, stop) in zip(words, places, strict=True)
    ]


def _tokens_of(words: Sequence[str], tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Which tokens, [first, stop), each word is made of, at least one; by the number of their letters and digits."""
    reach = list(accumulate((_letters(token) if printed(token) else 0 for token in tokens), initial=0))
    edges = list(accumulate(map(_letters, words), initial=0))
    scale = reach[-1] / max(edges[-1], 1)
    firsts = [min(max(bisect_right(reach, edge * scale) - 1, 0), len(tokens) - 1) for edge in edges[:-1]]
    stops = [bisect_left(reach, edge * scale) for edge in edges[1:]]
    return [(first, min(max(stop, first + 1), len(tokens))) for first, stop in zip(firsts, stops, strict=True)]


def _letters(text: str) -> int:
    """How many characters are letters or digits: marks may have been added to a text, or joined its pieces."""
    return sum(map(str.isalnum, text))


def _without_pauses(start: int, end: int, silent: Sequence[Sequence[int]]) -> tuple[int, int]:
    """A word's time without the pause that it begins in, and up to the one that it ends in."""
    for first, last in silent:
        if last <= start or first >= end:
            continue
        if first <= start + SHORT_MS:
            start = last if last < end else start
        else:
            return start, first
    return start, end


def split(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the words of a text, each with whether a space stands before it. Characters of Chinese are words.

    Marks stay with the word they belong to: a line does not begin with a comma, nor end with an opening bracket.
    """
    is_first = True
    for chunk in text.split():
        word, is_wide, is_open = "", False, False
        spaced = not is_first
        for character in chunk:
            category = unicodedata.category(character)
            opens, closes = category in ("Ps", "Pi"), category in ("Pe", "Pf", "Po", "Mn", "Mc")
            begins = opens or (not closes and (is_wide or wide(character)) and not is_open)
            if word and begins:
                yield word, spaced
                word, spaced, is_wide = "", False, False
            word += character
            is_open = opens
            is_wide = wide(character) if not closes and not opens else is_wide
        yield word, spaced
        is_first = False


def wide(character: str) -> bool:
    """Return whether a character takes two columns: Chinese, Japanese, Korean."""
    return unicodedata.east_asian_width(character) in "WF"
