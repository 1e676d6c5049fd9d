"""What comes of recordings: words, segments, transcripts, detections. Values alone, made by models and pipelines.

A field that a family has nothing to say about is None; documents write it as null (formats.py). Stdlib only.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

Times = list[list[int]]  # [[start_ms, end_ms], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word, or one character of a script without spaces; `spaced`: a space stands in front of it.

    `confidence` is a probability, None where a model gives none; `speaker` is there where speakers were told apart.
    """

    text: str
    start_ms: int
    end_ms: int
    spaced: bool = False
    confidence: float | None = None
    speaker: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A sentence of a recording, who said it and how sure its words are, where that is known; of how many words."""

    text: str
    start_ms: int
    end_ms: int
    speaker: int | None = None
    confidence: float | None = None
    words: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceInfo:
    """An entry of FunASR's `sentence_info`, by its names; times in ms. What FunASR leaves out is None.

    `text` is a list of words where FunASR, as it does where it finds no times for its marks, gives one.
    """

    text: str | list[str]
    start: int | None
    end: int
    timestamp: list[list[int] | None]
    spk: int | None = None
    raw_text: str | None = None
    sentence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A stretch in which one speaker speaks."""

    start_ms: int
    end_ms: int
    speaker: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """Another reading of the same waveform, and the natural logarithm of its probability."""

    token_ids: list[int]
    text: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """What a recogniser makes of one waveform.

    `text` is what is printed. `words` are there where the family tells their times, from the waveform's start on.
    `token_starts_ms` is about when each of `token_ids` is said (token_times.py), for families that know no more. Both
    only where they were asked for. `language`, `emotion`, `events`: as the family names them, without brackets.

    Where it was asked how sure the model is: `confidences` and `entropies` have one entry per token id (a posterior,
    and nats), `confidence` is theirs together (confidence.py). `alternatives` are the likeliest readings, best first,
    where asked for. `flags` name what is suspicious about it; "over_generation", "under_generation" and "repetition"
    are CIF's (decoding/flags.py).
    """

    token_ids: list[int]
    text: str
    words: list[Word] | None = None
    language: str | None = None
    emotion: str | None = None
    events: list[str] | None = None
    confidence: float | None = None
    token_starts_ms: list[int] | None = None
    confidences: list[float] | None = None
    entropies: list[float] | None = None
    alternatives: list[Alternative] | None = None
    flags: list[str] = field(default_factory=list)
    timestamp: Times | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of a recording and what was said in it; `error` is None, or one line (text is then empty).

    Fields of the same names as a Hypothesis has; times of `words` count from the recording's start,
    `token_starts_ms` from the segment's.
    """

    start_ms: int
    end_ms: int
    text: str
    token_ids: list[int]
    error: str | None = None
    words: list[Word] | None = None
    language: str | None = None
    emotion: str | None = None
    events: list[str] | None = None
    confidence: float | None = None
    token_starts_ms: list[int] | None = None
    confidences: list[float] | None = None
    entropies: list[float] | None = None
    alternatives: list[Alternative] | None = None
    flags: list[str] = field(default_factory=list)
    timestamp: Times | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What came of one recording. `path` is None for a waveform; `error` is None, or one line (text is then empty).

    `segments` are there where speech was looked for first (long_audio.py), else None; `sentences` and `sentence_info`
    where they were asked for (auto.py), `turns` where speakers were told apart, `raw_text`, which has no marks, where a
    punctuator put them in. `notes` say what of the file was
    not heard, or how its header is wrong, one line each (survey.py). The others are as a Hypothesis has them.
    """

    path: str | None
    text: str
    token_ids: list[int]
    duration_s: float
    error: str | None = None
    words: list[Word] | None = None
    sentences: list[Sentence] | None = None
    segments: list[Segment] | None = None
    sentence_info: list[SentenceInfo] | None = None
    turns: list[Turn] | None = None
    raw_text: str | None = None
    language: str | None = None
    emotion: str | None = None
    events: list[str] | None = None
    confidence: float | None = None
    notes: list[str] = field(default_factory=list)
    token_starts_ms: list[int] | None = None
    confidences: list[float] | None = None
    entropies: list[float] | None = None
    alternatives: list[Alternative] | None = None
    flags: list[str] = field(default_factory=list)
    timestamp: Times | None = None


def heard_of(result: Hypothesis | Transcript) -> dict[str, Any]:
    """Return what was heard, by the fields' names: a Hypothesis, a Transcript and a Segment have all of them."""
    return {one.name: getattr(result, one.name) for one in fields(Hypothesis)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Punctuated:
    """A text with punctuation.

    `words` are what labels stand for; `punctuation` has one a word, an index into the model's `punc_list` (FunASR's
    punc_array; as FunASR also one a character, where the model's vocabulary is of words). `marks` is what stands behind
    each word in `text`, "" for nothing; as FunASR it is None. In a stream `lead` is the mark of the word before the
    first one, which the text begins with.
    """

    text: str
    words: list[str]
    punctuation: list[int]
    marks: list[str] | None = None
    lead: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Where in one recording speech is: [[start_ms, end_ms], ...]. `error` is None, or one line (what was found stays).

    `notes` say what of the file was not heard, or how its header is wrong, one line each (survey.py). `pauses`, where
    asked for, are all stretches of silence, also those within a segment.
    """

    path: str | None
    segments: Times = field(default_factory=list)
    duration_s: float = 0.0
    error: str | None = None
    notes: list[str] = field(default_factory=list)
    pauses: Times = field(default_factory=list)
