"""Scores made up to stand where recordings seldom do: a token twice in a row, a query read as the blank, flat scores.

Both sides read them and align tokens with them: FunASR's `inference` in reference.py, our functions in candidate.py.
Pure numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

QUERIES, BLANK = 4, 0  # frames in front of speech; the blank of every SenseVoiceSmall
SURE = 12.0  # logit of a frame's token above the others
Words = list[list[Any]] | None  # [text, start_ms, end_ms] each


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Log probabilities (T, V), the queries' frames among them, and tokens whose times are asked for.

    Each token is a piece by itself, four in front being taken for tags.
    """

    name: str
    scores: np.ndarray
    aligned: list[int]

    @property
    def pieces(self) -> list[str]:
        """How the tokens are spelled: each begins a word."""
        return [f"▁{token}" for token in self.aligned]


def cases(vocab_size: int) -> list[Case]:
    """Return what both sides are shown, for a vocabulary of that size."""
    a, b, c, d, x, y = (3 + place * (vocab_size - 4) // 5 for place in range(6))
    read = {
        "a token twice in a row": [a, b, c, d, BLANK, x, BLANK, x, x, BLANK, y],
        "a query read as the blank": [a, BLANK, c, BLANK, x, x, y, BLANK],
        "a query's token goes on in speech": [a, b, c, d, d, d, x, BLANK, d],
        "nothing but blanks": [BLANK] * 9,
    }
    sure = [
        Case(name=name, scores=_scores([{token: SURE} for token in best], vocab_size, 0), aligned=[a, b, c, d, x, y])
        for name, best in read.items()
    ]
    return [*sure, *(_flat(vocab_size, seed) for seed in range(4))]


def _flat(vocab_size: int, seed: int) -> Case:
    """Return scores in which a frame's token, its neighbours and the blank are equally probable, but for noise."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(3, vocab_size, QUERIES + 8).tolist()
    frames = np.repeat(np.arange(len(tokens)), np.concatenate([np.ones(QUERIES, int), rng.integers(2, 6, 8)]))
    raised = [
        {token: 6.0 * rng.random() for token in (BLANK, *tokens[max(place - 1, QUERIES) : place + 2])}
        for place in frames.tolist()
    ]
    return Case(name=f"flat scores {seed}", scores=_scores(raised, vocab_size, seed), aligned=tokens)


def _scores(raised: Sequence[dict[int, float]], vocab_size: int, seed: int) -> np.ndarray:
    """Return log probabilities (T, V) float32: noise, and in each frame some tokens so much above it."""
    logits = np.random.default_rng(seed).standard_normal((len(raised), vocab_size)) * 0.7
    highest = logits.max(axis=-1)
    for frame, tokens in enumerate(raised):
        for token, above in tokens.items():
            logits[frame, token] = highest[frame] + above
    return (logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))).astype(np.float32)


def facts(read: Mapping[str, tuple[Sequence[int], Words]]) -> dict[str, dict[str, Any]]:
    """Return the facts of {case: (token ids, words)}, named by the taps they belong to."""
    return {
        "made-up tokens": {f"token_ids.{name}": [*map(int, ids)] for name, (ids, _) in read.items()},
        "made-up times": {f"words.{name}": words for name, (_, words) in read.items()},
    }
