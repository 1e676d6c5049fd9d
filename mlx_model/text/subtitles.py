"""Timed text as SubRip (srt) and WebVTT (vtt), in cues of a length that can be read: see cues.py. Stdlib only.

Where speakers were told apart a cue is one speaker's: in WebVTT its voice, `<v Speaker 0>`, in SubRip, which has
nothing like it, `Speaker 0: ` in front of the first cue of a turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from mlx_model.text.cues import Cue, CueLimits, cues
from mlx_model.text.results import Segment, Transcript, Word
from mlx_model.text.sentences import placed
from mlx_model.text.speaker_names import speaker_name
from mlx_model.text.token_times import timed


class Shown(NamedTuple):
    """A cue, who speaks in it, and whether that is somebody else than in the one before."""

    cue: Cue
    speaker: int | None
    begins: bool


def srt(results: Sequence[Transcript], limits: CueLimits | None = None) -> str:
    """Return numbered blocks, `00:00:01,500 --> 00:00:03,000`. `-->` in a text, which ends a cue, becomes `-- >`."""
    blocks = [
        f"{number}\n{clock(cue.start_ms, ',')} --> {clock(cue.end_ms, ',')}\n"
        + (f"{speaker_name(speaker)}: " if begins else "")
        + "".join(f"{line.replace('-->', '-- >')}\n" for line in cue.lines)
        for number, (cue, speaker, begins) in enumerate(_shown(results, limits), 1)
    ]
    return "\n".join(blocks)


def vtt(results: Sequence[Transcript], limits: CueLimits | None = None) -> str:
    """Return a WebVTT document, `00:00:01.500 --> 00:00:03.000`."""
    blocks = [
        f"{clock(cue.start_ms, '.')} --> {clock(cue.end_ms, '.')}\n"
        + ("" if speaker is None else f"<v {speaker_name(speaker)}>")
        + "".join(f"{_escaped(line)}\n" for line in cue.lines)
        for cue, speaker, _ in _shown(results, limits)
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def clock(time_ms: int, mark: str) -> str:
    """Return hours:minutes:seconds and milliseconds after `mark`."""
    seconds, rest = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{mark}{rest:03}"


def _shown(results: Sequence[Transcript], limits: CueLimits | None) -> list[Shown]:
    """The cues of all segments, or of all words; of every turn by itself where speakers were told apart."""
    found: list[Shown] = []
    for result in results:
        end = round(result.duration_s * 1000)
        last = None
        parts = _parts(result)
        for (speaker, words), following in zip(parts, [*parts[1:], None], strict=True):
            until = end if following is None or not following[1][0] else min(following[1][0][0].start_ms, end)
            for cue in cues(words, limits or CueLimits(), until):
                found.append(Shown(cue, speaker, speaker is not None and speaker != last))
                last = speaker
    return found


def _parts(result: Transcript) -> list[tuple[int | None, list[list[Word]]]]:
    """What may share cues: who speaks, and the words of each stretch of speech.

    Where the words of a segment have no times they share it by their lengths.
    """
    if result.turns is not None or result.raw_text is not None:
        runs = groupby(_marked(result), key=lambda word: word.speaker)
        return [(speaker, [[*words]]) for speaker, words in runs]
    if result.segments is None:
        return [(None, [result.words or []])]
    timed_words = [
        timed(part.text, [], [], (part.start_ms, part.end_ms)) if part.words is None else part.words
        for part in result.segments
    ]
    return [(None, timed_words)]


def _marked(result: Transcript) -> list[Word]:
    """The words with the marks behind them."""
    whole = Segment(start_ms=0, end_ms=0, text="", token_ids=[], words=result.words)
    text = result.text
    return [
        replace(one.word, text=said, spaced=text[one.start - 1 : one.start].isspace())
        for one in placed(text, [whole])
        if (said := text[one.start : one.stop].strip())
    ]


def _escaped(text: str) -> str:
    """WebVTT reads < and & as markup, and --> as a time."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
