"""NIST's rttm: one line a turn, `SPEAKER FILE 1 START DURATION <NA> <NA> NAME <NA> <NA>`, in seconds. Stdlib only.

FILE is a recording's name as ctm.py writes it, so that both go together.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlx_model.text.ctm import CHANNEL, names
from mlx_model.text.results import Turn
from mlx_model.text.speaker_names import speaker_id


def rttm(recordings: Sequence[tuple[str | None, Sequence[Turn]]]) -> str:
    """Return the lines of all recordings (a name, None for a waveform; its turns), sorted by name and start."""
    named = zip(names([path for path, _ in recordings]), recordings, strict=True)
    return "\n".join(
        f"SPEAKER {name} {CHANNEL} {turn.start_ms / 1000:.3f} {(turn.end_ms - turn.start_ms) / 1000:.3f} <NA> <NA> "
        f"{speaker_id(turn.speaker)} <NA> <NA>"
        for name, (_, turns) in sorted(named, key=lambda pair: pair[0])
        for turn in sorted(turns, key=lambda turn: turn.start_ms)
    )
