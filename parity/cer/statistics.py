"""Confidence interval of a corpus error rate: a seeded bootstrap over utterances, in numpy.

Must not import mlx, torch or funasr. Utterances are drawn, not characters: errors inside one utterance depend on each
other, and an interval that treated them as independent would be too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
SEED = 0
_BLOCK_ELEMENTS = 4_000_000  # indices drawn at once: 32 MB, whatever the size of the set


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A 95 % interval of the corpus CER, as fractions; `note` says why it is not what one would expect, else ""."""

    low: float
    high: float
    resamples: int
    seed: int
    note: str = ""


def corpus_rate(errors: int, reference_length: int) -> float:
    """Return errors / reference characters; without any reference character 0.0 if there is no error, else infinity."""
    if reference_length:
        return errors / reference_length
    return float("inf") if errors else 0.0


def bootstrap_interval(
    errors: Sequence[int], lengths: Sequence[int], *, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """Return the 2.5 % and 97.5 % quantiles of the corpus CER over sets drawn from the utterances with replacement.

    The same input and seed give the same interval. Mirrors Bisani & Ney, "Bootstrap estimates for confidence intervals
    in ASR performance evaluation" (ICASSP 2004): the rate of a drawn set is its errors over its own reference length.

    Args:
        errors: substitutions + deletions + insertions of each utterance.
        lengths: reference characters of each utterance, in the same order.
        resamples: how many sets are drawn.
        seed: of numpy's default generator.
    """
    error_counts, reference_counts = np.asarray(errors, np.int64), np.asarray(lengths, np.int64)
    size = len(error_counts)
    rate = corpus_rate(int(error_counts.sum()), int(reference_counts.sum()))
    if size < 2:
        return Interval(
            low=rate,
            high=rate,
            resamples=0,
            seed=seed,
            note=f"{size} utterance: the interval is the rate itself, a bootstrap needs at least 2",
        )
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK_ELEMENTS // size)
    rates: list[np.ndarray] = []
    for start in range(0, resamples, block):
        drawn = generator.integers(0, size, size=(min(block, resamples - start), size))
        drawn_errors, drawn_lengths = error_counts[drawn].sum(axis=1), reference_counts[drawn].sum(axis=1)
        usable = drawn_lengths > 0  # a drawn set without reference characters has no rate
        rates.append(drawn_errors[usable] / drawn_lengths[usable])
    values = np.concatenate(rates)
    if not len(values):
        note = "no reference character: the interval is the rate itself"
        return Interval(low=rate, high=rate, resamples=0, seed=seed, note=note)
    low, high = (float(value) for value in np.quantile(values, (0.025, 0.975)))
    return Interval(low=low, high=high, resamples=len(values), seed=seed)
