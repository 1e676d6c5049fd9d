"""Second alphas, weights and texts made up to stand where recordings seldom do; both sides tell what they make of them.

A token of 11, 12 or 13 frames, one in the first frame, silence behind the last, more peaks or fewer than tokens, words
of several pieces, a sum within rounding of a whole token. FunASR's own functions are asked in the families'
`reference.py`, ours in their `candidate.py`; answers are compared as structural facts. Pure numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CHARACTERS = [chr(0x4E00 + number) for number in range(16)]
TEXTS = {"spaces": "你 好  世界", "capital letters": "Ab C", "unknown characters": "好\U0001f600好\u2603"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Second alphas (3T,) float32 of a recording, and the tokens that are given times."""

    name: str
    alphas: np.ndarray
    tokens: list[str]


def cases() -> list[Case]:
    """Return what both sides are asked the times of."""
    even = (0.06 + 0.05 * np.sin(np.arange(90) * 0.7)).astype(np.float32)
    pieces = ["你", "he@@", "llo", "好", "a", "b", "<unk>", "好"]
    return [
        _peaking("tokens of 11, 12 and 13 frames", [4, 15, 27, 40, 47], 70),
        _peaking("a token in the first frame", [0, 6, 12], 15),
        _peaking("silence in front and behind", [30, 36, 44], 120),
        _peaking("ends with the recording", [8, 14, 20, 26], 29),
        Case(name="no end mark", alphas=even, tokens=CHARACTERS[: int(even.sum() / (1 - 1e-4))]),
        Case(name="two end marks", alphas=even, tokens=CHARACTERS[: int(even.sum() / (1 - 1e-4)) - 2]),
        _peaking("words of several pieces", [5, 9, 14, 20, 26, 31, 37, 43, 49], 60, pieces),
    ]


def _peaking(name: str, frames: Sequence[int], length: int, tokens: Sequence[str] = CHARACTERS) -> Case:
    """Return a case that peaks in these frames, with a token for all but the last of them."""
    alphas = np.zeros(length, np.float32)
    alphas[list(frames)] = 1.0
    return Case(name=name, alphas=alphas, tokens=list(tokens[: len(frames) - 1]))


def edges() -> dict[str, np.ndarray]:
    """Return {name: alphas (T,) float32} that come within rounding of a whole token."""
    rng = np.random.default_rng(0)
    near = (rng.random(400) * 0.2).astype(np.float32)
    for frame in range(7, 400, 8):  # what is missing of a whole token, by FunASR's own float32 loop, and a little less
        near[frame] = max(np.float32(1.0) - _left(near[:frame]) - np.float32(3e-8 * (frame % 3)), np.float32(0.0))
    below = np.zeros(30, np.float32)
    below[[3, 6, 9, 12]] = 0.5, 0.49995, 0.5, 0.6
    found = {"alphas of 0.15": np.full(400, 0.15, np.float32), "sums that just reach 1": near}
    return found | {"a sum between 1 - 1e-4 and 1": below}


def _left(alphas: np.ndarray) -> np.float32:
    total = np.float32(0.0)
    for alpha in alphas:
        total = total + alpha
        total = total - np.float32(1.0) if total >= 1.0 else total
    return total


def times(told: Callable[[Case], Any]) -> dict[str, dict[str, Any]]:
    """Return the facts of what a side tells of every case, named by the tap they belong to."""
    return {"made-up times": {f"times.{case.name}": told(case) for case in cases()}}


def firings(head: str, places: Callable[[np.ndarray], np.ndarray]) -> dict[str, dict[str, Any]]:
    """Return the facts of where a side's head ("fires", the first, or "us_peaks") fires, given alphas (T,)."""
    found = {f"predictor.{head}.{name}": places(alphas).tolist() for name, alphas in edges().items()}
    return {f"made-up {head}": found}


def texts(tokens: Callable[[str], Sequence[str]]) -> dict[str, dict[str, Any]]:
    """Return the facts of the tokens that a side makes of texts."""
    return {"made-up texts": {f"tokenizer.{name}": [*tokens(text)] for name, text in TEXTS.items()}}
