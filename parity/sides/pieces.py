"""A stream in pieces on one cache: the same cuts, and the same joining of what was seen, on both sides. Pure numpy.

Loaded beside torch by a reference and beside MLX by a candidate; must import neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from parity.taps.swap import Mark
from parity.taps.tap import ARGS, record
from parity.taps.tapset import TapSpec

PIECE = 200  # frames the network is given at once, so that its caches are at work in every recording


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


def in_pieces(
    model: Any, probes: Sequence[str], call: Callable[..., Any], given: Any, mark: Mark | None = None
) -> dict[str, list[Any]]:
    """Return what was seen of a model while `call` was given (B, T, D) piece after piece, as of one call.

    Outputs are joined along time; only what has the time axis is kept of a module that returns more (a cache): the
    first array. `NAME@args` gives the first argument, joined. `mark`: as for `record`.
    """
    calls = []
    for first, stop in pieces(even(given.shape[1])):
        with record(model, probes, mark=mark) as seen:
            call(given[:, first:stop])
        calls.append({name: value[0] if name.endswith(f"@{ARGS}") else value for name, value in seen.items()})
    return _joined(calls)


def introduced(
    model: Any, tap: TapSpec, probes: Sequence[str], call: Callable[..., Any], given: Any, mark: Mark | None = None
) -> dict[str, list[Any]]:
    """Return what was seen of one module run alone in pieces: `call(piece, *cache)`.

    There is a cache, a new one, where the module's row of the tap set says so.
    """
    cache = [{}] if "cache" in tap.introduced else []
    return in_pieces(model, probes, lambda piece: call(piece, *cache), given, mark)


def joined(calls: Sequence[Mapping[str, Sequence[np.ndarray]]]) -> dict[str, list[np.ndarray]]:
    """Return what was seen in many calls as of one: all arrays joined along time, of the calls that have them."""
    found: dict[str, list[np.ndarray]] = {}
    for name in dict.fromkeys(name for call in calls for name in call):
        parts = [call[name] for call in calls if name in call]
        found[name] = [np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)]
    return found


def _joined(calls: Sequence[Mapping[str, Sequence[np.ndarray]]]) -> dict[str, list[np.ndarray]]:
    return {name: [np.concatenate([call[name][0] for call in calls], axis=1)] for name in calls[0]}
