"""Words with times, a punctuated text and who spoke when, to sentences: as they are right by default.

A word is found in the text by its characters, so that marks, capitals and spaces that a punctuator put in, or that a
recogniser writes itself, cost no word its time. Words are cut into pieces behind every mark and between two segments of
speech; a piece has one speaker (decoding/speaker_turns.py says who), and pieces of one speaker
are joined again, to the next mark (`clauses`, what FunASR calls sentence_info) or to the next end of a
sentence (`sentences`). FunASR's own rules: sentence_info.py. Stdlib only.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from mlx_model.text.confidence import together
from mlx_model.text.results import Segment, Sentence, SentenceInfo, Word

SENTENCE_ENDS, CLAUSE_ENDS = "。！？!?…", "，、；：,;:"
MARKS = SENTENCE_ENDS + CLAUSE_ENDS + "."


class Placed(NamedTuple):
    """A word, where it stands in the text with the marks behind it, and the segment that it belongs to."""

    word: Word
    start: int
    stop: int
    segment: int


Piece = list[Placed]
Whose = Callable[[Sequence[tuple[float, float]]], Sequence[int | None]]  # who speaks between two times, ms


def placed(text: str, segments: Sequence[Segment]) -> list[Placed]:
    """Return every word of the segments, in order, with its place in a text; what stands between two is the first's.

    Args:
        text: the words with marks and spaces put in between, capitals changed.
        segments: with `words`.
    """
    words = [(word, number) for number, part in enumerate(segments) for word in part.words or ()]
    edges = _edges(text, [word.text for word, _ in words]) if words else []
    found = list[Placed]()
    for (word, number), start, stop in zip(words, edges, [*edges, len(text)][1:], strict=True):
        found.append(Placed(word, start, stop, number))
    return found


def _edges(text: str, words: Sequence[str]) -> list[int]:
    """Where each word begins in the text. Characters are matched in order, or in proportion."""
    spelt = [character for word in words for character in word if not character.isspace()]
    places, at = list[int](), 0
    for character in spelt:
        there = at
        while there < len(text) and text[there].casefold() != character.casefold() and _put_in(text[there]):
            there += 1
        if there == len(text) or text[there].casefold() != character.casefold():
            places = []
            break
        places.append(there)
        at = there + 1
    if len(places) < len(spelt):
        letters = [place for place, character in enumerate(text) if not _put_in(character)] or [0]
        places = [letters[min(number * len(letters) // len(spelt), len(letters) - 1)] for number in range(len(spelt))]
    lengths = [sum(not character.isspace() for character in word) for word in words]
    firsts = list(accumulate(lengths, initial=0))[:-1]
    return [0 if not number else places[min(first, len(places) - 1)] for number, first in enumerate(firsts)]


def _put_in(character: str) -> bool:
    return not character.isalnum()  # marks, spaces, emojis


def clauses(text: str, found: Sequence[Placed], whose: Whose | None = None, *, raw: bool = False) -> list[SentenceInfo]:
    """Return what is said up to every mark, by one speaker: FunASR's sentence_info with nothing lost.

    Args:
        text: that the words are placed in.
        found: see `placed`.
        whose: who speaks in each of some stretches of time, ms; None: nobody asked.
        raw: with `raw_text`, the same without the marks.
    """
    return [
        SentenceInfo(
            text=_said(text, piece),
            start=piece[0].word.start_ms,
            end=_end(piece),
            timestamp=[[one.word.start_ms, one.word.end_ms] for one in piece],
            spk=speaker,
            raw_text=_said(text, piece).rstrip(MARKS) if raw else None,
        )
        for piece, speaker in _joined(_pieces(text, found), whose, lambda piece: _ends(text, piece, MARKS))
    ]


def sentences(text: str, found: Sequence[Placed], whose: Whose | None = None) -> list[Sentence]:
    """Return the sentences, each of one speaker; where no mark ends any, those are the segments of speech."""
    marks = SENTENCE_ENDS + "."
    ended = any(_ends(text, [one], marks) for one in found)
    runs = _joined(_pieces(text, found), whose, lambda piece: not ended or _ends(text, piece, marks))
    return [_sentence(text, piece, speaker) for piece, speaker in runs]


def by_segment(
    text: str, found: Sequence[Placed], whose: Whose | None, segments: Sequence[Segment]
) -> list[Sentence]:
    """Return one sentence for each segment of speech in which something is said."""
    pieces: dict[int, Piece] = defaultdict(list)
    for one in found:
        pieces[one.segment].append(one)
    spans = [(segments[number].start_ms, segments[number].end_ms) for number in sorted(pieces)]
    speakers = [None] * len(spans) if whose is None else whose(spans)
    return [
        replace(_sentence(text, pieces[number], speaker), start_ms=start, end_ms=end)
        for number, speaker, (start, end) in zip(sorted(pieces), speakers, spans, strict=True)
    ]


def with_speakers(found: Sequence[Placed], said: Sequence[Sentence]) -> list[Word]:
    """Return the words with the speakers of their sentences, which are made of the same words in order."""
    speakers = (sentence.speaker for sentence in said for _ in range(sentence.words))
    return [replace(one.word, speaker=speaker) for one, speaker in zip(found, speakers, strict=True)]


def _pieces(text: str, found: Sequence[Placed]) -> Iterator[Piece]:
    """Yield the words up to every mark, or the end of a segment."""
    piece: Piece = []
    for number, one in enumerate(found):
        piece.append(one)
        last = number + 1 == len(found)
        if last or found[number + 1].segment != one.segment or _ends(text, piece, MARKS):
            yield piece
            piece = []


def _joined(
    pieces: Iterator[Piece], whose: Whose | None, ends: Callable[[Piece], bool]
) -> list[tuple[Piece, int | None]]:
    """Neighbours of one speaker as one, up to a piece that ends one."""
    parts = list(pieces)
    spans = [(part[0].word.start_ms, _end(part)) for part in parts]
    speakers = [None] * len(parts) if whose is None else whose(spans)
    runs: list[tuple[Piece, int | None]] = []
    is_open = False
    for piece, speaker in zip(parts, speakers, strict=True):
        if is_open and runs[-1][1] == speaker:
            runs[-1][0].extend(piece)
        else:
            runs.append((piece, speaker))
        is_open = not ends(piece)
    return runs


def _end(piece: Piece) -> int:
    return max(one.word.end_ms for one in piece)


def _ends(text: str, piece: Sequence[Placed], marks: str) -> bool:
    """Whether the last word is followed by one of the marks."""
    last = piece[-1]
    behind = text[last.start : last.stop].rstrip()
    return bool(behind) and behind[-1] in marks


def _said(text: str, piece: Sequence[Placed]) -> str:
    return text[piece[0].start : piece[-1].stop].strip()


def _sentence(text: str, piece: Sequence[Placed], speaker: int | None) -> Sentence:
    sure = [one.word.confidence for one in piece if one.word.confidence is not None]
    return Sentence(
        text=_said(text, piece),
        start_ms=piece[0].word.start_ms,
        end_ms=_end([*piece]),
        speaker=speaker,
        confidence=together([value for value in sure if math.isfinite(value)]),
        words=len(piece),
    )
