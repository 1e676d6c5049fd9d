"""Who spoke when: turns, what a recording's are, and NIST's RTTM, written and read. Values alone; stdlib and NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlx_model.errors import DatasetError
from mlx_model.text import ctm
from mlx_model.text.speaker_names import speaker_id

CHANNEL = "1"  # every recording is mixed to one
LIMIT = 200_000_000  # bytes of an RTTM file


class Turn(NamedTuple):
    """Somebody's speech, seconds."""

    start_s: float
    end_s: float
    speaker: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Diarization:
    """Who spoke when in one recording. Speakers are counted in the order in which they are first heard.

    `centers` is the mean embedding of each speaker's windows, (speakers, D).
    """

    path: str | None
    turns: list[Turn] = field(default_factory=list)
    centers: np.ndarray | None = None
    duration_s: float = 0.0
    error: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def speakers(self) -> int:
        """How many speak."""
        return len({turn.speaker for turn in self.turns})


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """The speaker's embedding of one recording, (D,) float32, not normalised; None where `error` says why."""

    path: str | None
    embedding: np.ndarray | None = None
    duration_s: float = 0.0
    error: str | None = None
    notes: list[str] = field(default_factory=list)


def rttm(recordings: Sequence[Diarization]) -> str:
    """Return RTTM, one line a turn, seconds to the millisecond; names as in ctm.py."""
    names = ctm.names([item.path for item in recordings])
    return "\n".join(
        f"SPEAKER {name} {CHANNEL} {turn.start_s:.3f} {turn.end_s - turn.start_s:.3f} <NA> <NA> "
        f"{speaker_id(turn.speaker)} <NA> <NA>"
        for name, item in zip(names, recordings, strict=True)
        for turn in item.turns
    )


def read_rttm(path: Path) -> dict[str, list[tuple[float, float, str]]]:
    """Return {recording: [(start_s, end_s, speaker), ...]} of an RTTM file's SPEAKER lines.

    Raises:
        DatasetError: unreadable, no turn in it, or a line that is none of RTTM's.
    """
    try:
        if path.stat().st_size > LIMIT:
            raise DatasetError(f"{path} is larger than {LIMIT} bytes; not an RTTM file")
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as RTTM: {error}") from error
    found: dict[str, list[tuple[float, float, str]]] = {}
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if fields[:1] == ["SPEAKER"]:
            name, start, length, speaker = _turn(fields, f"{path}, line {number}")
            found.setdefault(name, []).append((start, start + length, speaker))
        elif fields and not line.startswith((";;", "SPKR-INFO", "NOSCORE", "NO_RT_METADATA", "NON-")):
            raise DatasetError(f"{path}, line {number}: {line[:60]!r} is no line of RTTM (SPEAKER FILE CHANNEL ...)")
    if not found:
        raise DatasetError(f"{path} has no SPEAKER line")
    return found


def _turn(fields: Sequence[str], where: str) -> tuple[str, float, float, str]:
    try:
        name, start, length, speaker = fields[1], float(fields[3]), float(fields[4]), fields[7]
        if not (0 <= start < float("inf") and 0 <= length < float("inf")):
            raise ValueError("times are not below 0")
    except (IndexError, ValueError) as error:
        raise DatasetError(
            f"{where}: expected SPEAKER FILE CHANNEL START DURATION <NA> <NA> NAME <NA> <NA> ({error})"
        ) from error
    return name, start, length, speaker
