"""What both sides write down of a decision, frame by frame. Pure numpy.

Loaded beside torch by the reference and beside MLX by the candidate; must import neither.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# One row per frame, after it was taken in: is it speech; what the window's vote did (0 speech to speech, 1 speech to
# silence, 2 silence to silence, 3 silence to speech); the machine's state (1 waiting, 2 speech, 3 ended); frames of
# silence since; where the open segment starts (-1: none); latest frame confirmed as speech; ends found so far.
COLUMNS = ("speech", "change", "state", "silent_frames", "start", "latest", "ended")
SPEECH, CHANGE, STATE = 0, 1, 2
CHUNKS_MS = (60, 100, 200, 600, 1000)  # streams are compared in chunks of these lengths

Frames = np.ndarray  # (T, len(COLUMNS)) int32


def table(rows: Sequence[Sequence[int]]) -> Frames:
    """Return rows of COLUMNS as one array, also where there are none."""
    return np.array(rows, dtype=np.int32).reshape(len(rows), len(COLUMNS))


def columns(frames: Frames, prefix: str) -> dict[str, np.ndarray]:
    """Return {prefix.column: (T,)} of a table."""
    return {f"{prefix}.{name}": np.ascontiguousarray(frames[:, place]) for place, name in enumerate(COLUMNS)}


def transitions(frames: Frames) -> np.ndarray:
    """Return (N, 4) int32: [frame, change, state, ends so far] wherever one of the last three is not as before."""
    watched = frames[:, [CHANGE, STATE, COLUMNS.index("ended")]]
    before = np.concatenate([[[2, 1, 0]], watched[:-1]]) if len(watched) else watched  # silence, waiting, no end
    moved = np.flatnonzero((watched != before).any(axis=1))
    return np.concatenate([moved[:, None], watched[moved]], axis=1).astype(np.int32)


def edges(silence: np.ndarray, ratio: float, threshold: float) -> np.ndarray:
    """Return how far each frame's probabilities are from the edge of being speech, (T,): at least 0 is speech."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return (1.0 - silence) - np.exp(np.log(silence) * ratio) - threshold


def flat(calls: Sequence[Sequence[Sequence[int]]]) -> np.ndarray:
    """Return (N, 3): [call, start_ms, end_ms] of all that was reported."""
    return np.array([[n, *segment] for n, call in enumerate(calls) for segment in call], dtype=np.int64).reshape(-1, 3)


def merged(calls: Sequence[Sequence[Sequence[int]]]) -> list[tuple[int, int]]:
    """Return whole segments of what a stream reports: [start, -1], [-1, end] or [start, end]."""
    segments, start = [], -1
    for first, last in (part for call in calls for part in call):
        start = first if first >= 0 else start
        if last >= 0:
            segments.append((start, last))
    return segments


def words(segments: Sequence[Sequence[int]]) -> str:
    """Return segments [[start_ms, end_ms], ...] in seconds, for people."""
    return ", ".join(f"{start / 1000:g}-{end / 1000:g} s" for start, end in segments) or "no speech"
