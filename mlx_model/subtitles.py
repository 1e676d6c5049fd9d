"""Timed text as SubRip (srt) and WebVTT (vtt). Stdlib only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlx_model.transcribe import TextSegment, Transcript


def srt(results: Sequence[Transcript]) -> str:
    """Return numbered blocks, `00:00:01,500 --> 00:00:03,000`, one per segment that has text."""
    blocks = [
        f"{number}\n{clock(part.start_ms, ',')} --> {clock(part.end_ms, ',')}\n{_one_line(part.text)}\n"
        for number, part in enumerate(_spoken(results), 1)
    ]
    return "\n".join(blocks)


def vtt(results: Sequence[Transcript]) -> str:
    """Return a WebVTT document, `00:00:01.500 --> 00:00:03.000`, one cue per segment that has text."""
    cues = [
        f"{clock(part.start_ms, '.')} --> {clock(part.end_ms, '.')}\n{_escaped(part.text)}\n"
        for part in _spoken(results)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def clock(time_ms: int, mark: str) -> str:
    """Return hours:minutes:seconds and milliseconds after `mark`."""
    seconds, rest = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{mark}{rest:03}"


def _spoken(results: Sequence[Transcript]) -> list[TextSegment]:
    return [part for result in results for part in result.segments or () if part.text.strip()]


def _escaped(text: str) -> str:
    """WebVTT reads < and & as markup."""
    return _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _one_line(text: str) -> str:
    return " ".join(text.split())
