"""From the second head's alphas and a known text to words with times; and how far they can be trusted. Imports numpy.

The network does not see the text: only how many tokens it has. Times are where the alphas, scaled so that they add up
to the tokens and one, have made another whole one; so there always are some, and what can be known of their worth lies
in the alphas before they are scaled:

- how many tokens they add up to by themselves, against how many the text has (`heard`, `fit`);
- whether they come in pulses, one a syllable, as in speech, or evenly, as where nothing is said: `peaked`.

A word's confidence is the product of the two, an utterance's that of their means. It ranks texts, but hardly the words
of one text; one text from another of the same length it cannot tell. Checked by benchmarks/align_confidence.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mlx_model.decoding.peak_times import funasr_times, token_spans
from mlx_model.text.alignment import Timed
from mlx_model.text.known_text import KnownText
from mlx_model.text.results import Word

FRAME_MS = 60.0  # of the encoder; the configuration allows no other
FULL_PEAK = 0.4  # of a token's frames hold nothing where speech is clear; so much counts as a pulse beyond doubt
POOR_FIT, POOR_PEAK = 0.75, 0.3  # below these the alignment is not to be trusted, and a note says so


class Heard(NamedTuple):
    """One recording's second head, padding left out, (3T,) each: alphas as they are; and scaled, with their integrals.

    Scaled for the tokens that FunASR makes of a text (`funasr_`), and for those that it has.
    """

    alphas: np.ndarray
    funasr_alphas: np.ndarray
    funasr_peaks: np.ndarray
    us_alphas: np.ndarray
    us_peaks: np.ndarray


def timed(heard: Heard, text: KnownText, duration_ms: int, *, as_funasr: bool = False) -> Timed:
    """Return one recording's words with times.

    Args:
        heard: what the network makes of it.
        text: what is said.
        duration_ms: of the recording; no word ends behind it.
        as_funasr: `words` are FunASR's.
    """
    total, tokens = float(heard.alphas.sum(dtype=np.float64)), len(text.tokens)
    theirs = _funasr_words(heard, text.funasr_tokens)
    reason = _unusable(tokens, total, len(heard.alphas))
    if as_funasr:
        failed = "FunASR 1.4.16 finds fewer times than tokens, and fails with an IndexError"
        return Timed(theirs or [], theirs or [], None, [], failed if theirs is None else None)
    if reason is not None:
        return Timed([], theirs or [], None, [], reason)
    spans = spans_of(heard, tokens, duration_ms)
    fit, peaks = fitting(total, tokens), peaked(heard.alphas, tokens)
    words, start = [], 0
    for word in text.words:
        stop = start + len(word.pieces)
        (begin, _), (_, end) = spans[start], spans[stop - 1]
        sure = round(fit * float(peaks[start:stop].mean()), 4)
        words.append(Word(text=word.text, start_ms=begin, end_ms=end, spaced=word.spaced, confidence=sure))
        start = stop
    peak = float(peaks.mean())
    return Timed(words, theirs or [], round(fit * peak, 4), _notes(tokens, total, fit, peak), None)


def spans_of(heard: Heard, tokens: int, duration_ms: int) -> list[list[int]]:
    """Return [start_ms, end_ms] of each of so many tokens, in order, within the recording."""
    found = token_spans(heard.us_alphas, heard.us_peaks, asked_for(tokens), closed=True, frame_ms=FRAME_MS)
    return [[min(edge, duration_ms) for edge in span] for span in found[:tokens]]


def fitting(heard: float, tokens: int) -> float:
    """Return how near what the alphas add up to is to tokens + 1: the smaller over the larger."""
    asked = asked_for(tokens)
    return min(heard, asked) / max(heard, asked)


def peaked(alphas: Float[np.ndarray, " T3"], tokens: int) -> Float[np.ndarray, " U"]:
    """Return how much of a pulse each token is, 0 where its share is spread evenly over its frames, to 1.

    Measured by entropy: of the n frames in which a token's share lies, exp(entropy) are filled; n less that, over n.
    """
    total = np.cumsum(alphas, dtype=np.float64)
    places = np.searchsorted(total, total[-1] * np.arange(tokens + 2) / (tokens + 1), side="left")
    found = np.zeros(tokens)
    for token in range(tokens):
        share = alphas[places[token + 1] : places[token + 2] + 1].astype(np.float64)
        part = share[share > 0] / max(share.sum(), 1e-30)
        filled = np.exp(-(part * np.log(part)).sum())
        found[token] = min((1 - filled / max(len(share), 1)) / FULL_PEAK, 1.0)
    return found


def _unusable(tokens: int, total: float, places: int) -> str | None:
    """Why a text cannot be aligned; None where it can."""
    if not total > 0:
        return "nothing is heard in it: no token anywhere"
    if not tokens:
        return "nothing to align: the text is empty, or marks alone"
    if asked_for(tokens) > places:
        return f"the text has {tokens} tokens, and the recording only {places} places for one, 20 ms each"
    return None


def _notes(tokens: int, heard: float, fit: float, peak: float) -> list[str]:
    notes = []
    if fit < POOR_FIT:
        notes.append(
            f"the text has {tokens} tokens, but about {max(round(heard) - 1, 0)} are heard: times are only what even "
            "stretching gives; is this the text of this recording?"
        )
    if peak < POOR_PEAK:
        notes.append("no syllables are heard apart: times are little more than even spacing")
    return notes


def _funasr_words(heard: Heard, tokens: Sequence[str]) -> list[Word] | None:
    """FunASR's words; None where it fails."""
    try:
        return funasr_words(heard.funasr_alphas, heard.funasr_peaks, tokens)
    except IndexError:
        return None


def funasr_words(
    us_alphas: Float[np.ndarray, " T3"], us_peaks: Float[np.ndarray, " T3"], tokens: Sequence[str]
) -> list[Word]:
    """Return FunASR's words and times of a text's tokens: as many as its list of times has, which may be too few."""
    found = funasr_times(us_alphas, us_peaks, tokens)
    pairs = zip(found.words, found.times, strict=False)
    return [Word(text=word, start_ms=start, end_ms=end) for word, (start, end) in pairs]


def asked_for(tokens: int) -> int:
    """Return what alphas are scaled to for so many tokens: the last one ends where one more would begin."""
    return tokens + 1
