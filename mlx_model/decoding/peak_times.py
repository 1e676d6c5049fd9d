"""When tokens are said, by CifPredictorV3's peaks: as they are by default, and as FunASR writes them.

There are as many peaks as the decoder has tokens, and each begins where its peak is; the last one is the mark of the
end. So `token_spans` gives every token, printed or not, its own peak, and clips to the recording. FunASR
(`funasr_times`) counts the tokens that are left when special ones are dropped: unless exactly one was, it rescales
alphas to that count. It cuts `<unk>` out of the text and not of the times, after which every word has the time of the
token before it; it reckons with frames of 60 ms, and its times can be negative. Imports numpy only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mlx_model.parts.integrals import PEAK, integrals
from mlx_model.text.results import Times, Word
from mlx_model.text.tokenizer import NEVER_PRINTED, every_character, is_alpha, is_chinese, visible, word_parts

SHIFT = -1.5  # frames of the second head from a peak to where a token begins
LONGEST = 12  # frames of a token; what is silent behind it is its neighbour's no more
MARGIN = 5  # frames before the first token, or behind the last one, from which on they are silence
RATE = 10.0 * 6 / 1000 / 3  # seconds of a frame, as FunASR reckons
SILENCE = "<sil>"
Span = tuple[int, int]


# ---- right by default


def token_spans(us_alphas: np.ndarray, us_peaks: np.ndarray, tokens: int, *, closed: bool, frame_ms: float) -> Times:
    """Return [start_ms, end_ms] of each of so many tokens, in order and none before 0; [] where no time is known.

    Where FunASR makes no mistake these are its times, but for the last millisecond: it truncates.

    Args:
        us_alphas: of one recording, (3T,); they add up to `tokens`.
        us_peaks: their integrals, (3T,).
        tokens: of the decoder, dropped ones among them, and the end mark.
        closed: whether the last token is the mark of the end, which has no length and ends the one before it.
        frame_ms: of an encoder frame.
    """
    if tokens == 0 or us_alphas.sum() <= 0:
        return []
    starts, frames = _peaks(us_alphas, us_peaks, tokens) + SHIFT, len(us_peaks)
    if closed:
        begins, ends = starts, np.minimum(np.append(starts[1:], starts[-1]), starts + LONGEST)
        rest = frames - starts[-1]
        if tokens > 1 and starts[-1] - starts[-2] <= LONGEST:  # the last word reaches half into the silence behind it
            ends[-2] = (frames + starts[-1]) / 2 if rest > MARGIN else frames
        begins[-1] = ends[-1] = min(max(ends[-2] if tokens > 1 else starts[-1], starts[-1]), frames)
    else:
        begins, ends = starts, np.minimum(np.append(starts[1:], frames), starts + LONGEST)
    edges = np.stack([begins, ends], axis=1).clip(0, frames) * (frame_ms / 3)
    return np.floor(edges + 0.5).astype(int).tolist()


def _peaks(us_alphas: np.ndarray, us_peaks: np.ndarray, tokens: int) -> np.ndarray:
    """Return the frame of each token's peak, (U,) float64.

    A frame that weighs more than one token has one peak in FunASR's loop; then all tokens are found by the sum.
    """
    found = np.flatnonzero(us_peaks >= np.float32(PEAK))
    if len(found) != tokens:
        edges = np.arange(1, tokens + 1) * PEAK
        found = np.searchsorted(np.cumsum(us_alphas, dtype=np.float64), edges).clip(max=len(us_alphas) - 1)
    return found.astype(np.float64)


def words_of(tokens: Sequence[str], spans: Sequence[Sequence[int]]) -> list[Word]:
    """Return the words of the sentence that tokens make, each from its first token's start to its last one's end.

    Args:
        tokens: as text; of those that are not printed nothing remains.
        spans: of each, ms.
    """
    words, spaced = list[Word](), False
    for part in word_parts(tokens):
        if part.text.strip():
            start, end = spans[part.first][0], spans[part.last][1]
            words.append(Word(text=part.text, start_ms=start, end_ms=end, spaced=spaced and bool(words)))
        spaced = part.text == " "
    return words


# ---- as FunASR


class FunasrTimes(NamedTuple):
    """What FunASR returns: a text with a space between all words, the words, and times, of which there may be fewer."""

    text: str
    words: list[str]
    times: Times


def funasr_times(
    us_alphas: np.ndarray, us_peaks: np.ndarray, tokens: Sequence[str], *, offset_ms: float = 0.0
) -> FunasrTimes:
    """Return text and times as FunASR 1.4.16 does, to the millisecond.

    Mirrors funasr/utils/timestamp_tools.py::ts_prediction_lfr6_standard and, with its time stamps,
    funasr/utils/postprocess_utils.py::sentence_postprocess, operation by operation.

    Args:
        us_alphas: of one recording, (3T,) float32.
        us_peaks: their integrals, (3T,) float32.
        tokens: as text, without sos, eos and blank.
        offset_ms: added to all times (FunASR's `begin_time`).

    Raises:
        IndexError: where FunASR raises it: no peak at all, one peak early in the recording, fewer times than words.
    """
    words, times = _with_words(tokens, funasr_spans(us_alphas, us_peaks, tokens, offset_ms=offset_ms))
    return FunasrTimes(spaced(tokens), [word for word in words if word != " "], times)


def spaced(tokens: Sequence[str]) -> str:
    """Return the text of tokens with a space between all words, as FunASR writes it beside times."""
    return " ".join(part.text for part in word_parts(tokens) if part.text != " ").strip()


def funasr_spans(
    us_alphas: np.ndarray, us_peaks: np.ndarray, tokens: Sequence[str], *, offset_ms: float = 0.0
) -> Times:
    """Return [start_ms, end_ms] of tokens by ts_prediction_lfr6_standard; as `funasr_times`."""
    if not tokens:
        return []
    tokens = tokens[:-1] if tokens[-1] == "</s>" else tokens
    fires = _fires(us_peaks)
    if len(fires) != len(tokens) + 1:
        with np.errstate(invalid="ignore", divide="ignore"):  # a sum of 0 gives NaN, and NaN never fires
            alphas = us_alphas / (us_alphas.sum(dtype=np.float64).astype(np.float32) / np.float32(len(tokens) + 1))
            fires = _fires(integrals(alphas[None], PEAK)[0])
    entries = list(_entries(fires, tokens))
    _end_last(entries, fires, len(us_peaks))
    offset = offset_ms / 1000.0
    seconds = [(name, start + offset if offset_ms else start, end + offset if offset_ms else end)
               for name, start, end in entries]  # fmt: skip
    return [[int(start * 1000), int(end * 1000)] for name, start, end in seconds if name != SILENCE]


def _fires(peaks: np.ndarray) -> np.ndarray:
    return np.flatnonzero(peaks >= np.float32(PEAK)) + SHIFT


def _entries(fires: np.ndarray, tokens: Sequence[str]) -> Iterator[list]:
    """Yield [token, start, end] in seconds, silences before and between them included."""
    if fires[0] > MARGIN:
        yield [SILENCE, 0.0, fires[0] * RATE]
    for number, (start, end) in enumerate(itertools.pairwise(fires)):
        if end - start <= LONGEST:
            yield [tokens[number], start * RATE, end * RATE]
            continue
        split = start + LONGEST
        yield [tokens[number], start * RATE, split * RATE]
        yield [SILENCE, split * RATE, end * RATE]


def _end_last(entries: list[list], fires: np.ndarray, frames: int) -> None:
    """Let the last entry, a token or the silence behind it, end half way to the end of the recording, or there."""
    if frames - fires[-1] > MARGIN:
        entries[-1][2] = (frames + fires[-1]) * 0.5 * RATE
    elif entries:
        entries[-1][2] = frames * RATE


def _with_words(tokens: Sequence[str], spans: Times) -> tuple[list[str], Times]:
    """Return words, spaces among them, and times as sentence_postprocess pairs them."""
    printed = [token for token in tokens if token not in NEVER_PRINTED]
    if printed and all(is_chinese(visible(token)) for token in printed):
        words, times = [token.replace(" ", "") for token in printed], spans
    elif printed and all(is_alpha(visible(token)) for token in printed):
        words, times = _Pairing(spans).pair(printed, lambda token: "@@" in token, lambda token: False)
    else:
        words, times = _Pairing(spans).pair(
            printed,
            lambda token: "@@" in token,
            lambda token: every_character(token, is_chinese),
            is_word=lambda token: every_character(token, is_alpha),
        )
    return _with_initials(words, times)


class _Pairing:
    """FunASR's loop over tokens, with the variables that it keeps from one to the next.

    Kept from FunASR: a Chinese character behind an unfinished piece takes the piece's time; a symbol is a word without
    a time; a token's number, without those that are not printed, picks the time of one of all tokens.
    """

    def __init__(self, spans: Times):
        self.spans, self.words, self.times = spans, list[str](), Times()
        self.piece, self.begin, self.end = "", -1, -1

    def pair(
        self,
        tokens: Sequence[str],
        is_piece: Callable[[str], bool],
        is_character: Callable[[str], bool],
        is_word: Callable[[str], bool] = lambda token: True,
    ) -> tuple[list[str], Times]:
        """Return words and times; what a token is, is asked in the order character, piece, word."""
        fresh, after_word = True, False
        for number, token in enumerate(tokens):
            if fresh:
                self.begin, self.end = self.spans[number]
            if is_character(token):
                if after_word:
                    self.words.pop()
                self._put(token)
                fresh, after_word = True, False
            elif is_piece(token):
                self.piece += token.replace("@@", "")
                self.end, fresh, after_word = self.spans[number][1], False, False
            elif is_word(token):
                self.end = self.spans[number][1]
                self._put(self.piece + token)
                self.words.append(" ")
                self.piece, fresh, after_word = "", True, True
            else:
                self.words.append(token)
        return self.words, self.times

    def _put(self, word: str) -> None:
        self.words.append(word)
        self.times.append([self.begin, self.end])


def _with_initials(words: list[str], times: Times) -> tuple[list[str], Times]:
    """Return words with single letters in a row as one, and times likewise: abbr_dispose."""
    joined, spans, start, number = list[str](), Times(), 0, 0
    while start < len(words):
        end = start + 1
        if _is_initial(words[start]):
            while end + 1 < len(words) and words[end] == " " and _is_initial(words[end + 1]):
                end += 2
        run = words[start:end:2]
        joined.append("".join(run).upper() if len(run) > 1 else run[0])
        if len(run) > 1:
            begin = times[number][0]
            if number + len(run) - 1 < len(times):
                spans.append([begin, times[number + len(run) - 1][1]])
        elif run[0] != " " and number < len(times):
            spans.append(list(times[number]))
        number += 0 if run[0] == " " else len(run)
        start = end
    return joined, spans


def _is_initial(word: str) -> bool:
    return len(word) == 1 and word.isascii() and word.isalpha()
