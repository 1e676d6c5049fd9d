"""What an error rate report says of how late a streaming model's text comes. Stdlib only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Times in milliseconds: how many, their mean, and the values that 50, 90 and 99 % do not exceed; None of none."""

    count: int
    mean: float | None
    p50: float | None
    p90: float | None
    p99: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CerLatency:
    """How late text comes, in two clocks that are not added up.

    The stream's own: a character comes when all the samples that its window needs have been fed, so these hold on any
    machine. `first_token` counts from where the first word begins to the first character of the hypothesis, `delay`
    from where a word ends to its last character; both by `times_by`, a model that knows when words are said. A word is
    `timed` where all its characters stand in the hypothesis, of `words` in all; others have no delay. Below 0: printed
    before that model says the word is over.

    The machine's: how long the call took that a character came with, of all characters (`compute`), and of each
    utterance's first (`first_compute`).
    """

    times_by: str
    utterances: int
    words: int
    timed: int
    first_token: Spread
    delay: Spread
    compute: Spread
    first_compute: Spread
