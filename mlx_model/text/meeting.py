"""A recording that was heard, its marks and its turns, put together: as is right, or as FunASR's AutoModel does it.

`right` and `as_funasr` are the two; what they differ in: mlx_model/README.md, "The whole pipeline". Mirrors the part of
funasr/auto/auto_model.py::AutoModel.inference_with_vad that comes after the models. Stdlib only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mlx_model.errors import UsageError
from mlx_model.text import sentence_info
from mlx_model.text.results import Punctuated, Segment, Sentence, SentenceInfo, Times, Transcript, Turn
from mlx_model.text.sentences import Whose, by_segment, clauses, placed, sentences, with_speakers

MODES = ("default", "punc_segment", "vad_segment")


class Speakers(NamedTuple):
    """Who speaks when, and whose a stretch of time is."""

    turns: list[Turn]
    whose: Whose


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is wanted of the results, by FunASR's names.

    `spk_mode`: sentences are cut at marks ("punc_segment", which "default" means) or are segments of speech
    ("vad_segment"). `sentence_timestamp`: `sentence_info` also without speakers; ours gives it always. `en_post_proc`:
    FunASR's sentences with English marks. `return_raw_text`: `raw_text` of each sentence.

    Raises:
        UsageError: a mode that there is not.
    """

    spk_mode: str = "punc_segment"
    sentence_timestamp: bool = False
    en_post_proc: bool = False
    return_raw_text: bool = False
    return_spk_res: bool = True

    def __post_init__(self) -> None:
        if self.spk_mode not in MODES:
            raise UsageError(f"spk_mode {self.spk_mode!r}: expected {', '.join(MODES)}")


def spoken(heard: Transcript) -> list[Segment]:
    """Return the segments; of a recording that was heard as a whole, that one."""
    if heard.segments is not None:
        return heard.segments
    end = math.ceil(heard.duration_s * 1000)
    part = Segment(start_ms=0, end_ms=end, text=heard.text, token_ids=heard.token_ids, words=heard.words)
    return [part] if heard.text.strip() else []


def unmarked(heard: Transcript) -> str:
    """Return what is given to a punctuator: the segments' texts, without a space between Chinese characters."""
    return sentence_info.joined(part.text for part in spoken(heard))


# ---- right by default


def right(heard: Transcript, marked: Punctuated | None, speakers: Speakers | None, wanted: Wanted) -> Transcript:
    """Return the recording with its text, sentences and speakers; every word is in one sentence.

    Args:
        heard: with words, of its segments or of itself, where times are known.
        marked: `unmarked` with its marks; None: there is no punctuator.
        speakers: None: nobody asked.
        wanted: see there.
    """
    raw, segments = unmarked(heard), spoken(heard)
    text = heard.text if marked is None else marked.text
    if any(part.text.strip() and part.words is None for part in segments):
        return replace(heard, text=text, raw_text=raw if marked else None)  # nobody knows when
    found, whose = placed(text, segments), None if speakers is None else speakers.whose
    if wanted.spk_mode == "vad_segment":
        made = by_segment(text, found, whose, segments)
    else:
        made = sentences(text, found, whose)
    info = [
        SentenceInfo(
            text=one.text, start=one.start_ms, end=one.end_ms, timestamp=[], spk=one.speaker, sentence=one.text
        )
        for one in made
    ]  # fmt: skip
    if wanted.spk_mode != "vad_segment":
        info = clauses(text, found, whose, raw=wanted.return_raw_text)
    words = with_speakers(found, made)
    return replace(
        heard, text=text, raw_text=raw if marked else None, words=words or heard.words, sentences=made,
        sentence_info=info, turns=None if speakers is None else speakers.turns,
    )  # fmt: skip


# ---- as FunASR


class Marks(NamedTuple):
    """What a punctuator of FunASR's says of a text: its result, its words one for each id, and the marks by ids."""

    text: str
    ids: list[int]
    tokens: list[str]
    names: Sequence[str]


def vanishes(heard: Transcript) -> bool:
    """Return whether FunASR leaves a recording out of its results: there is speech in it, and no text."""
    return bool(heard.segments) and not heard.text.strip() and heard.error is None


def as_funasr(
    heard: Transcript, marks: Marks | None, speakers: Speakers | None, wanted: Wanted, mode: str
) -> tuple[Transcript, str]:
    """Return the recording as FunASR gives it, and the spk_mode that its AutoModel has from now on.

    Raises:
        UsageError: spk_mode "default", with which FunASR ends in an UnboundLocalError.
    """
    segments = heard.segments or []
    if not segments:
        return replace(heard, timestamp=[], words=None), mode
    timed = any(sentence_info.times_of(part) is not None for part in segments)
    align = _aligned(segments, unmarked(heard), marks)
    info = None
    if speakers is not None:
        if mode == "default":
            raise UsageError("spk_mode 'default': FunASR ends in an UnboundLocalError; leave as_funasr out")
        mode = mode if marks is not None and timed else "vad_segment"
        found = sentence_info.whole_segments(segments) if mode == "vad_segment" else _cut(align, marks, wanted)
        info = _shared(found, speakers.whose)
    elif wanted.sentence_timestamp:
        info = _without_speakers(segments, align, marks, wanted)
    shown = heard.text
    if marks is not None:
        own = sentence_info.on_surface(align.given, marks.tokens, marks.ids, marks.names) if align.words else None
        shown = own or marks.text
    result = replace(
        heard, text=shown, raw_text=heard.text if marks is not None and wanted.return_raw_text else None,
        timestamp=[time for part in segments for time in sentence_info.times_of(part) or []] if timed else None,
        sentence_info=info, turns=None if speakers is None else speakers.turns,
        sentences=None if info is None else [_sentence(one) for one in info],
    )  # fmt: skip
    return result, mode


def _shared(found: Sequence[SentenceInfo], whose: Whose) -> list[SentenceInfo]:
    speakers = whose([(one.start or 0, one.end) for one in found])
    return [replace(one, spk=speaker) for one, speaker in zip(found, speakers, strict=True)]


def _sentence(one: SentenceInfo) -> Sentence:
    text = one.text if isinstance(one.text, str) else " ".join(one.text)
    return Sentence(text=text.strip(), start_ms=one.start or 0, end_ms=one.end, speaker=one.spk)


class Aligned(NamedTuple):
    """Times for the ids of marks: what was punctuated, its words, their times, the ids (None: they do not fit).

    `words` are the recogniser's own, where FunASR's returns them.
    """

    given: str
    spaced: str
    times: Times
    ids: list[int] | None
    words: list[str] | None


def _aligned(segments: Sequence[Segment], text: str, marks: Marks | None) -> Aligned:
    times = [time for part in segments for time in sentence_info.times_of(part) or []]
    words, spaced = _own_words(segments, times), text
    if marks is None:
        return Aligned(text, text, times, None, words)
    if words is not None and len(marks.ids) == len(words):
        spaced = " ".join(words)
    elif words is not None and marks.ids and len(marks.tokens) == len(marks.ids):
        units = sentence_info.merged_units(words, times, marks.tokens)
        spaced, times = (spaced, times) if units is None else (" ".join(marks.tokens), units)
    return Aligned(text, spaced, times, marks.ids if len(marks.ids) == len(times) else None, words)


def _own_words(segments: Sequence[Segment], times: Times) -> list[str] | None:
    """The words that FunASR's recogniser returns beside times, as SenseVoice does; None of those that do not."""
    words = [word.text for part in segments if part.timestamp is None for word in part.words or ()]
    fit = bool(words) and all(word.strip() for word in words) and len(words) == len(times)
    return words if fit else None


def _cut(align: Aligned, marks: Marks | None, wanted: Wanted) -> list[SentenceInfo]:
    """Sentences up to every mark."""
    raw = wanted.return_raw_text
    if align.words is not None and align.ids is not None and marks is not None:
        found = sentence_info.from_surface(align.given, align.times, marks.tokens, align.ids, marks.names, raw=raw)
        if found is not None:
            return found
    return sentence_info.by_marks(align.spaced, align.times, align.ids, raw=raw, english=wanted.en_post_proc)


def _without_speakers(
    segments: Sequence[Segment], align: Aligned, marks: Marks | None, wanted: Wanted
) -> list[SentenceInfo]:
    """Sentences where `sentence_timestamp` asks for them: those of the segments where marks and times do not fit."""
    if marks is None:
        return [] if align.times else sentence_info.by_segments(segments)
    return sentence_info.by_segments(segments) if align.ids is None else _cut(align, marks, wanted)
