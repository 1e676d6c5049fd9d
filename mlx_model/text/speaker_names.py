"""How a speaker is called where people read it, and where programs do. Stdlib only."""

from __future__ import annotations


def speaker_name(speaker: int | None) -> str:
    """Return "Speaker 0" of the first speaker; "" where nobody knows who speaks."""
    return "" if speaker is None else f"Speaker {speaker}"


def speaker_id(speaker: int) -> str:
    """Return a name without a space, as rttm and ctm need it: "speaker0" of the first speaker."""
    return f"speaker{speaker}"
