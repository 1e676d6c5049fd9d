"""Timed text as SubRip (srt) and WebVTT (vtt), in cues of a length that can be read: see cues.py. Stdlib only."""

from __future__ import annotations

from collections.abc import Sequence

from mlx_model.text.cues import Cue, CueLimits, cues
from mlx_model.text.results import Transcript
from mlx_model.text.token_times import timed


def srt(results: Sequence[Transcript], limits: CueLimits | None = None) -> str:
    """Return numbered blocks, `00:00:01,500 --> 00:00:03,000`. `-->` in a text, which ends a cue, becomes `-- >`."""
    blocks = [
        f"{number}\n{clock(cue.start_ms, ',')} --> {clock(cue.end_ms, ',')}\n"
        + "".join(f"{line.replace('-->', '-- >')}\n" for line in cue.lines)
        for number, cue in enumerate(_cues(results, limits), 1)
    ]
    return "\n".join(blocks)


def vtt(results: Sequence[Transcript], limits: CueLimits | None = None) -> str:
    """Return a WebVTT document, `00:00:01.500 --> 00:00:03.000`."""
    blocks = [
        f"{clock(cue.start_ms, '.')} --> {clock(cue.end_ms, '.')}\n"
        + "".join(f"{_escaped(line)}\n" for line in cue.lines)
        for cue in _cues(results, limits)
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def clock(time_ms: int, mark: str) -> str:
    """Return hours:minutes:seconds and milliseconds after `mark`."""
    seconds, rest = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{mark}{rest:03}"


def _cues(results: Sequence[Transcript], limits: CueLimits | None) -> list[Cue]:
    """The cues of all segments, or of all words. Where the words have no times, they share the segment by lengths."""
    found: list[Cue] = []
    for result in results:
        if result.segments is None:
            words = [result.words or []]
        else:
            words = [
                timed(part.text, [], [], (part.start_ms, part.end_ms)) if part.words is None else part.words
                for part in result.segments
            ]
        found += cues(words, limits or CueLimits(), round(result.duration_s * 1000))
    return found


def _escaped(text: str) -> str:
    """WebVTT reads < and & as markup, and --> as a time."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
