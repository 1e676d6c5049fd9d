"""What recordings seldom show of telling speakers apart, made up: odd windows, short turns, sentences between speakers.

Both sides are shown the same: FunASR's own functions in reference.py, ours in candidate.py. Pure numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

RATE = 16000
SAMPLES = {
    "1.5 s": 24000, "1.5 s and a sample": 24001, "0.75 s": 12000, "2.25 s": 36000, "3 s less a sample": 47999,
    "3.5 s": 56000, "0.1 s": 1600,
}  # fmt: skip
Turns = list[list[float]]  # [start_s, end_s, speaker] each


class Labelled(NamedTuple):
    """Windows' times (seconds) and labels, as clustering may give them."""

    times: list[tuple[float, float]]
    labels: list[int]


def labelled() -> dict[str, Labelled]:
    """Return windows in a row, each with the label it is given."""
    step = [(0.75 * number, 0.75 * number + 1.5) for number in range(12)]
    apart = [*step[:4], *((20.123 + 0.75 * number, 20.123 + 0.75 * number + 1.5) for number in range(8))]
    short = [(0.0, 2.0), (2.0, 2.5), (2.5, 3.1), (3.1, 3.7), (3.7, 9.0)]
    return {
        "one speaker": Labelled(step, [3] * 12),
        "labels begin at 5": Labelled(step, [5, 5, 5, 5, 2, 2, 2, 2, 5, 5, 9, 9]),
        "a short piece between two": Labelled(step, [0, 0, 0, 0, 1, 0, 0, 0, 2, 2, 2, 2]),
        "a gap": Labelled(apart, [0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0]),
        "noise is a speaker": Labelled(step, [-1, -1, 0, 0, 0, 0, -1, -1, -1, 1, 1, 1]),
        "short pieces in a row": Labelled(short, [0, 1, 2, 3, 4]),
        "short at the start": Labelled([(0.0, 0.4), (0.4, 3.0), (3.0, 3.3)], [0, 1, 2]),
        "a rest of 0.7 s and 1 s": Labelled([(0.0, 3.0), (3.0, 3.8), (3.8, 7.0), (7.0, 7.69), (7.69, 12.0)],
                                            [0, 1, 0, 1, 0]),
    }  # fmt: skip


SPOKEN: Turns = [[0.0, 3.0, 0], [3.0, 6.0, 1], [6.0, 6.9, 2], [6.9, 12.0, 1]]
SENTENCES_MS = [(0, 2500), (2600, 3600), (2500, 4000), (5000, 7000), (5800, 7200), (12500, 13000), (2999, 3001)]


def embeddings() -> dict[str, np.ndarray]:
    """Return made-up embeddings (N, D) float32 of some speakers, in turns."""
    rows = {"19 windows": (19, 2, 0.2), "20 windows": (20, 2, 0.2), "one speaker": (40, 1, 0.3)}
    rows |= {f"{count} speakers": (24 * count, count, 0.25) for count in (2, 3, 5)}
    found = {name: _voices(*row, seed) for seed, (name, row) in enumerate(rows.items())}
    alike = _voices(60, 2, 0.02, 9)
    common = 3.0 * np.abs(alike).max() * np.ones(alike.shape[1], np.float32)
    # So noisy that which similarities are kept shows; noise of 1e-4 more leaves these labels as they are.
    found |= {"noisy, 3 speakers": _voices(60, 3, 1.2, 2), "noisy, 4 speakers": _voices(90, 4, 1.2, 0)}
    return {**found, "two that are alike": (alike + common).astype(np.float32)}


def _voices(windows: int, speakers: int, noise: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((speakers, 24))
    rows = centres[np.arange(windows) * speakers // windows] + noise * rng.standard_normal((windows, 24))
    return (rows * rng.uniform(0.5, 2.0, (windows, 1))).astype(np.float32)


def shown(turns: Sequence[Sequence[float]]) -> str:
    """Return turns in words, times to the millisecond."""
    return "; ".join(f"{start:.3f} to {end:.3f} s speaker {int(speaker)}" for start, end, speaker in turns)


def facts(
    windows: Mapping[str, Any], turns: Mapping[str, str], sentences: Sequence[Any], labels: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the facts of what was made of all that, named by the taps they belong to."""
    return {
        "made-up windows": {f"windows.times.{name}": found for name, found in windows.items()},
        "made-up labels": {f"end_to_end.labels.{name}": found for name, found in labels.items()},
        "made-up turns": {f"end_to_end.turns.{name}": found for name, found in turns.items()},
        "made-up sentences": {"end_to_end.sentences.of turns": list(sentences)},
    }
