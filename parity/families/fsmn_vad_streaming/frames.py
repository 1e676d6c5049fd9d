"""What both sides write down of a decision, frame by frame, and how it is cut into pieces. Pure numpy.

Loaded beside torch by the recorder and beside MLX by the runner; must import neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

# One row per frame, after it was taken in: is it speech; what the window's vote did (0 speech to speech, 1 speech to
# silence, 2 silence to silence, 3 silence to speech); the machine's state (1 waiting, 2 speech, 3 ended); frames of
# silence since; where the open segment starts (-1: none); latest frame confirmed as speech; ends found so far.
COLUMNS = ("speech", "change", "state", "silent_frames", "start", "latest", "ended")
SPEECH, CHANGE, STATE = 0, 1, 2
CHUNKS_MS = (60, 100, 200, 600, 1000)  # streams are compared in chunks of these lengths
PIECE = 200  # frames the network is given at once, so that its caches are at work in every recording

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


def pieces(counts: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield [first, stop) of pieces of so many frames; pieces of none are left out."""
    stop = 0
    for count in counts:
        first, stop = stop, stop + int(count)
        if count:
            yield first, stop


def even(frames: int) -> list[int]:
    """Return the sizes of the pieces in which the network is run on so many frames."""
    return [min(PIECE, frames - first) for first in range(0, frames, PIECE)]


def joined(calls: Sequence[Mapping[str, Sequence[np.ndarray]]]) -> dict[str, list[np.ndarray]]:
    """Return what was recorded of a module over several calls as of one: outputs joined along time.

    Only what has the time axis is kept of a module that returns more (a cache): the first array.
    """
    return {name: [np.concatenate([call[name][0] for call in calls], axis=1)] for name in calls[0]}


def edges(silence: np.ndarray, ratio: float, threshold: float) -> np.ndarray:
    """Return how far each frame's probabilities are from the edge of being speech, (T,): at least 0 is speech."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return (1.0 - silence) - np.exp(np.log(silence) * ratio) - threshold


def words(segments: Sequence[Sequence[int]]) -> str:
    """Return segments [[start_ms, end_ms], ...] in seconds, for people."""
    return ", ".join(f"{start / 1000:g}-{end / 1000:g} s" for start, end in segments) or "no speech"
