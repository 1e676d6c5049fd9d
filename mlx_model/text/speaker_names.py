"""How a speaker is called where people read it, and where programs do. Stdlib only."""

from __future__ import annotations


def speaker_name(speaker: int | None) -> str:
    """Return "Speaker 1" of the first speaker, whose number is 0; "" where nobody knows who speaks."""
    return "" if speaker is None else f"Speaker {speaker + 1}"


def speaker_id(speaker: int) -> str:
    """Return a name without a space, as rttm and ctm need it: "speaker1" of the first speaker, whose number is 0."""
    return f"speaker{speaker + 1}"
