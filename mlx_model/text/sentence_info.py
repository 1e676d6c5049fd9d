"""FunASR's sentence_info from texts, times and marks, by FunASR's own rules, its mistakes included; for `as_funasr`.

Mirrors funasr/auto/auto_model.py (_join_vad_texts, _vad_segment_sentences, _punctuate_surface_text,
_merge_timestamp_units, _timestamp_sentences_from_surface) and funasr/utils/timestamp_tools.py (timestamp_sentence,
timestamp_sentence_en). Right by default: sentences.py. Stdlib only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise, zip_longest

from mlx_model.text.results import Segment, SentenceInfo, Times

TAG = re.compile(r"<\|[^|]*\|>")
MARKS, MARKS_EN = ("，", "。", "？", "、"), (",", ".", "?", ",")
NARROW = {"，": ",", "。": ".", "？": "?", "、": ","}


def joined(texts: Iterable[str]) -> str:
    """Return the texts of segments as one, without tags and without a space between two Chinese characters."""
    cleaned = [text for text in (TAG.sub("", text).strip() for text in texts) if text]
    whole = ""
    for text in cleaned:
        close = whole and "\u3400" <= whole[-1] <= "\u9fff" and "\u3400" <= text[0] <= "\u9fff"
        whole += text if close or not whole else f" {text}"
    return whole


def expanded(words: Sequence[str]) -> list[str]:
    """Return the words as the ids of marks count them: every character of a Chinese one is one (_get_punc_tokens)."""
    return [
        part
        for word in words
        for part in (word if len(word) > 1 and "\u0e00" <= word[0] <= "\u9fa5" else [word])
    ]


def spans_in(text: str, tokens: Sequence[str]) -> list[tuple[int, int]] | None:
    """Return where each token stands in the text (_surface_token_spans); None where they are not its words."""
    spans, at = list[tuple[int, int]](), 0
    for token in tokens:
        while at < len(text) and text[at].isspace():
            at += 1
        if text[at : at + len(token)].casefold() != token.casefold():
            return None
        spans.append((at, at + len(token)))
        at += len(token)
    return None if text[at:].strip() else spans


def mark_of(mark_id: int, token: str, marks: Sequence[str]) -> str:
    """Return what is written behind a token (_punc_symbol); `marks` are the punctuator's, by their ids."""
    known = dict(enumerate(marks)) if marks else {1: "", 2: "，", 3: "。", 4: "？", 5: "、"}
    mark = known.get(mark_id, "")
    mark = "" if mark == "_" else mark
    return NARROW.get(mark, mark) if mark and token[0].isascii() else mark


def on_surface(text: str, tokens: Sequence[str], ids: Sequence[int], marks: Sequence[str]) -> str | None:
    """Return the text with its marks and otherwise as it is (_punctuate_surface_text); None for other words."""
    if len(tokens) != len(ids) or (spans := spans_in(text, tokens)) is None:
        return None
    parts, at = list[str](), 0
    for token, mark_id, (_, end) in zip(tokens, ids, spans, strict=True):
        parts += [text[at:end], mark_of(mark_id, token, marks)]
        at = end
    return "".join([*parts, text[at:]])


def merged_units(words: Sequence[str], times: Times, tokens: Sequence[str]) -> Times | None:
    """Return the times of a punctuator's tokens by those of a recogniser's words (_merge_timestamp_units)."""

    def plain(text: str) -> str:
        return "".join(text.split()).replace("▁", "").casefold()

    spelt, spans = "", Times()
    for word, (start, end) in zip(words, times, strict=True):
        part = plain(word)
        if not part or end < start:
            return None
        edges = [start + (end - start) * number // len(part) for number in range(len(part) + 1)]
        spans += [[first, last] for first, last in pairwise(edges)]
        spelt += part
    found, at = Times(), 0
    for token in tokens:
        part = plain(token)
        if not part or spelt[at : at + len(part)] != part:
            return None
        found.append([spans[at][0], spans[at + len(part) - 1][1]])
        at += len(part)
    return found if at == len(spans) else None


def from_surface(
    text: str, times: Times, tokens: Sequence[str], ids: Sequence[int], marks: Sequence[str], *, raw: bool
) -> list[SentenceInfo] | None:
    """Return sentences cut out of the text as it is (_timestamp_sentences_from_surface), the rest included."""
    spans = spans_in(text, tokens)
    if spans is None or not len(tokens) == len(times) == len(ids):
        return None
    found, first = list[SentenceInfo](), 0
    signs = [mark_of(mark_id, token, marks) for token, mark_id in zip(tokens, ids, strict=True)]
    for last, sign in enumerate(signs):
        if not sign and last + 1 < len(signs):
            continue
        said = text[spans[first][0] : spans[last][1]].strip()
        found.append(
            SentenceInfo(
                text=said + sign, start=times[first][0], end=times[last][1],
                timestamp=[*times[first : last + 1]], raw_text=said if raw else None,
            )
        )  # fmt: skip
        first = last + 1
    return found


def by_marks(
    text: str | None, times: Times, ids: Sequence[int] | None, *, raw: bool, english: bool = False
) -> list[SentenceInfo]:
    """Return timestamp_sentence's sentences, or timestamp_sentence_en's: one up to every mark; a rest without is lost.

    Args:
        text: of which the words, by spaces, go with the ids and the times as far as any of them go.
        times: of the words.
        ids: of the marks behind them; None: all is one sentence, its text a list of words.
        raw: with `raw_text`.
        english: as timestamp_sentence_en.
    """
    if not text or not times:
        return []
    if not ids:
        return [SentenceInfo(text=text.split(), start=times[0][0], end=times[-1][1], timestamp=[*times])]
    found, said, words = list[SentenceInfo](), "", list[str]()
    start, end, stamps, fresh = times[0][0], times[0][1], list[list[int] | None](), english
    for mark_id, time, word in zip_longest(ids, times, text.split()):
        if time is not None and (fresh or start is None):
            start = time[0]
        fresh = False
        if word is not None:
            said += f" {word}" if _latin(word[0]) or (said and _latin(said[-1])) else word
            said = said.removeprefix(" ") if english else said
            words.append(word)
        stamps.append(time)
        end = time[1] if time is not None else end
        if mark_id is not None and mark_id > 1:
            text_raw = (" " if english else "").join(words) if raw else None
            said += (MARKS_EN if english else MARKS)[mark_id - 2]
            found.append(SentenceInfo(text=said, start=start, end=end, timestamp=stamps, raw_text=text_raw))
            said, words, stamps, fresh = "", [], [], english
            start = start if english else None
    return found


def _latin(character: str) -> bool:
    return "a" <= character <= "z" or "A" <= character <= "Z"


def by_segments(segments: Sequence[Segment]) -> list[SentenceInfo]:
    """Return one sentence a segment that says something, from its first word to its last (_vad_segment_sentences)."""
    found = []
    for part in segments:
        text, times = TAG.sub("", part.text).strip(), times_of(part) or []
        if text:
            start, end = (times[0][0], times[-1][1]) if times else (part.start_ms, part.end_ms)
            found.append(SentenceInfo(text=text, start=start, end=end, timestamp=[*times], sentence=text))
    return found


def whole_segments(segments: Sequence[Segment]) -> list[SentenceInfo]:
    """Return one sentence a segment, from its start to its end, also of those without text: spk_mode vad_segment."""
    return [
        SentenceInfo(
            text=part.text, start=part.start_ms, end=part.end_ms,
            timestamp=[*(times_of(part) or [])], sentence=part.text,
        )
        for part in segments
    ]  # fmt: skip


def times_of(part: Segment) -> Times | None:
    """Return a segment's `timestamp` as FunASR has it, at the recording's times."""
    if part.timestamp is not None:
        return part.timestamp
    return None if part.words is None else [[word.start_ms, word.end_ms] for word in part.words]
