"""Faults of the times of a CTC model's words: the frames that count, the offset, what is aligned, and how."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from mlx_model.decoding import timestamps
from mlx_model.machine.blas import mx
from mlx_model.parts.queries import QUERIES
from parity.faults.fault import Fault, exchange, fault, method
from parity.sides.candidate import Candidate

FILE = "mlx_model.decoding.timestamps"
WORDS = "words"
HEALTHY, PATH = timestamps.funasr_words, timestamps.forced_path


def _all_frames(candidate: Candidate) -> None:
    """The queries' frames aligned as if they were speech."""

    def words(self: Any, raw: str, logits: Any) -> Any:
        padding = mx.zeros((QUERIES, logits.shape[-1]))
        padding[:, 0] = 9.0
        return type(self).__mro__[1]._funasr_words(self, raw, mx.concatenate([padding, logits]))

    method(candidate.model, "_funasr_words", words)


def _moved(stack: ExitStack, shift_ms: int) -> None:
    def words(*given: Any) -> Any:
        found = HEALTHY(*given)
        if found is None:
            return None
        return [
            word._replace(start_ms=word.start_ms + shift_ms, end_ms=word.end_ms + shift_ms) for word in found
        ]

    exchange(stack, f"{FILE}.funasr_words", words)


def _probabilities(stack: ExitStack) -> None:
    exchange(stack, f"{FILE}.forced_path", lambda scores, targets: PATH(np.exp(scores), targets))


def _blank_not_raised(stack: ExitStack) -> None:
    """The blank keeps its own log probability: words reach into frames that it wins."""

    def path(scores: np.ndarray, targets: Any) -> np.ndarray:
        scores = scores.copy()
        scores[scores[:, 0] == 0, 0] = -5.0
        return PATH(scores, targets)

    exchange(stack, f"{FILE}.forced_path", path)


def _first_piece_lost(stack: ExitStack) -> None:
    exchange(stack, f"{FILE}.FUNASR_QUERIES", timestamps.FUNASR_QUERIES + 1)


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of words' times; they sit at no module."""
    return (
        fault("times_with_queries", WORDS, "the four frames of the queries not left out", lambda c, s: _all_frames(c)),
        fault("times_half_a_frame_late", WORDS, "30 ms added, not taken off", lambda c, s: _moved(s, 60)),
        fault("times_of_probabilities", WORDS, "probabilities aligned, not their logarithms",
              lambda c, s: _probabilities(s)),
        fault("blank_not_raised", WORDS, "the blank not preferred where it is the best",
              lambda c, s: _blank_not_raised(s)),
        fault("first_piece_lost", WORDS, "five pieces of the text taken for tags", lambda c, s: _first_piece_lost(s)),
    )  # fmt: skip
