"""The best sequences of tokens where every position is chosen by itself, exactly: the parallel decoder's n-best.

A sequence's score is the sum of its tokens' log-probabilities, so the best one takes the best token everywhere, and
all others differ from it by what they give up. A heap walks through them in order (Lawler, Management Science 1972):
positions are sorted by what their second token costs, and every choice has three successors, no worse than itself.
Imports numpy only.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterator, Sequence

import numpy as np

SEARCHED = 100  # sequences that are looked at for every one asked for: many print the same where tokens are silent


def alternatives(
    ids: np.ndarray, log_probs: np.ndarray, silent: Collection[int], number: int
) -> list[tuple[list[int], float]]:
    """Return the best sequences that print something different, each with the score of its likeliest choice.

    Exact where every position has its `number` + len(silent) likeliest tokens, or all. Fewer are returned where there
    are no more, or where SEARCHED times `number` choices print too few.

    Args:
        ids: (U, K) token ids, the likeliest first.
        log_probs: (U, K) of them.
        silent: ids that print nothing.
        number: how many are wanted.
    """
    found: dict[tuple[int, ...], float] = {}
    for score, ranks in itertools.islice(choices(log_probs), SEARCHED * number):
        tokens = ids[np.arange(len(ids)), ranks].tolist()
        found.setdefault(tuple(token for token in tokens if token not in silent), score)
        if len(found) == number:
            break
    return [(list(tokens), score) for tokens, score in found.items()]


def choices(log_probs: np.ndarray) -> Iterator[tuple[float, list[int]]]:
    """Yield (score, the rank taken at every position) of all sequences, the best first; (U, K), sorted along K."""
    size, most = log_probs.shape
    best = float(log_probs[:, 0].sum(dtype=np.float64)) if size else 0.0
    yield best, [0] * size
    costs = (log_probs[:, :1].astype(np.float64) - log_probs).tolist()
    places = sorted(range(size), key=lambda place: costs[place][1]) if most > 1 else []
    if not places:
        return
    heap: list[tuple[float, tuple[tuple[int, int], ...]]] = [(costs[places[0]][1], ((0, 1),))]
    while heap:
        cost, taken = heapq.heappop(heap)
        yield best - cost, _ranks(size, places, taken)
        for successor in _successors(taken, size, most):
            lost = sum(costs[places[at]][rank] for at, rank in successor)
            heapq.heappush(heap, (lost, successor))


def _ranks(size: int, places: Sequence[int], taken: Sequence[tuple[int, int]]) -> list[int]:
    ranks = [0] * size
    for at, rank in taken:
        ranks[places[at]] = rank
    return ranks


def _successors(taken: tuple[tuple[int, int], ...], size: int, most: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """The next token at the last position that is not its best; the next position besides it; or in place of it."""
    *before, (at, rank) = taken
    if rank + 1 < most:
        yield (*before, (at, rank + 1))
    if at + 1 < size:
        yield (*taken, (at + 1, 1))
        if rank == 1:
            yield (*before, (at + 1, 1))
