"""Faults of what is made of scores: the arg-max, the vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlx_model.machine.blas import mx
from parity.faults.fault import Fault, fault, method
from parity.sides.candidate import Candidate


def _second_best(candidate: Candidate) -> None:
    """The second best token for the best at the first position."""
    healthy = type(candidate.model).token_ids

    def token_ids(self: Any, output: Any) -> list[list[int]]:
        ids = healthy(self, output)
        if ids and ids[0]:
            ids[0][0] = int(np.argsort(np.array(output.logits[0, 0].astype(mx.float32)))[-2])
        return ids

    method(candidate.model, "token_ids", token_ids)


def _vocabulary(candidate: Candidate) -> None:
    tokenizer = candidate.model.tokenizer
    tokenizer.tokens = [*tokenizer.tokens[1:], tokenizer.tokens[0]]


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of tokens and text; they sit at no module."""
    return (
        fault("second_best_token", "token_ids", "an arg-max that is not the largest", lambda c, s: _second_best(c)),
        fault("vocabulary_off_by_one", "tokenizer", "token list shifted by one", lambda c, s: _vocabulary(c),
              place=lambda candidate: "hotwords.ids" if candidate.options.get("hotwords") else "tokenizer"),
    )  # fmt: skip
