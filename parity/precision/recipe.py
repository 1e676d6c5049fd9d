"""From each layer's error at the logits to a recipe: the fewest bits with which a budget holds.

Rounding errors of different layers add like noise, squared; so the layers are given more bits in the order of squared
error taken away per byte added, and the shortest such list with which the budget holds is found by bisection. The
budget itself is not estimated: every candidate is run on all of the audio. Where no such list holds, layers are given
the most bits one by one.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mlx_model.errors import UsageError
from mlx_model.text.results import Hypothesis
from parity.precision.trial import Trial

Errors = dict[str, dict[int, float]]  # {module: {bits: relative error at the logits with that module alone quantised}}
Step = tuple[str, int | None]  # a module is to get so many bits; None: its full precision


@dataclass(frozen=True, slots=True)
class Budget:
    """What a recipe may cost: changed tokens, or points of CER. `limit` is inclusive."""

    kind: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Return the budget of `tokens=N` or `cer=+POINTS`.

        Raises:
            UsageError: it is neither.
        """
        found = re.fullmatch(r"(tokens)=(\d+)|(cer)=\+?(\d+(?:\.\d+)?)", text.strip())
        if found is None:
            raise UsageError(f"budget {text!r} is not understood; write tokens=0 (changed tokens) or cer=+0.1 (points)")
        kind, limit = [group for group in found.groups() if group is not None]
        if not math.isfinite(float(limit)):
            raise UsageError(f"budget {text[:40]!r}...: a number with {len(limit)} digits is no limit")
        return cls(kind, float(limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A recipe. `modules`: {layer: bits}; `errors`: what it was chosen by; `cost`: what the budget limits, measured.

    `unread`: layers that change no number on this audio with any bits, as a hotword branch without hotwords: they stay.
    """

    modules: dict[str, int]
    cost: float
    size_mb: float
    full_size_mb: float
    errors: Errors = field(default_factory=dict)
    tried: int = 0
    unread: tuple[str, ...] = ()


def find(
    trial: Trial,
    budget: Budget,
    cost: Callable[[Sequence[Hypothesis]], float],
    *,
    levels: Sequence[int] = (4, 6, 8),
    progress: Callable[[float], None] = lambda done: None,
) -> Found:
    """Return the smallest recipe of its kind with which `cost(what is heard)` stays within the budget.

    Args:
        trial: the model and the audio.
        budget: the limit.
        cost: what it costs that this is heard in the waveforms, in the budget's unit.
        levels: bits that may be used.
        progress: called with 1 after each layer and level.

    Raises:
        UsageError: the budget does not even hold with a single layer in the most bits.
    """
    levels = sorted(levels)
    errors: Errors = {}
    for name in trial.names:
        errors[name] = {}
        for bits in levels:
            errors[name][bits] = trial.error({name: bits})
            progress(1)
    unread = tuple(name for name, found in errors.items() if not any(found.values()))
    steps = ladder({name: found for name, found in errors.items() if name not in unread}, levels, trial.bytes_of)
    least = dict.fromkeys((name for name in trial.names if name not in unread), levels[0])
    low, high, tried = 0, len(steps), 0
    known: dict[int, float] = {}
    while low < high:
        middle = (low + high) // 2
        known[middle] = cost(trial.heard(climbed(least, steps[:middle])))
        tried += 1
        low, high = (low, middle) if known[middle] <= budget.limit else (middle + 1, high)
    modules = climbed(least, steps[:low])
    if not modules:  # a strict budget: which layers cost nothing at all?
        order = [name for name, bits in reversed(steps) if bits is None]
        modules = one_by_one(order, levels[-1], lambda bits: cost(trial.heard(bits)) <= budget.limit)
        tried += len(order)
    if not modules:
        raise UsageError(f"the budget of {budget.limit:g} {budget.kind} allows no layer to be quantised")
    return Found(
        modules=modules,
        cost=known[low] if low in known else cost(trial.heard(modules)),
        size_mb=trial.size_mb(modules),
        full_size_mb=trial.size_mb({}),
        errors=errors,
        tried=tried,
        unread=unread,
    )


def one_by_one(order: Sequence[str], bits: int, fits: Callable[[Mapping[str, int]], bool]) -> dict[str, int]:
    """Return the layers that can be given `bits` one after the other, in that order, each kept only where all fit."""
    modules: dict[str, int] = {}
    for name in order:
        if fits({**modules, name: bits}):
            modules[name] = bits
    return modules


def ladder(errors: Errors, levels: Sequence[int], bytes_of: Callable[[str, int | None], float]) -> list[Step]:
    """Return the steps from the lowest bits of all layers to full precision, the one that pays most first.

    A layer's steps come in order. Where more bits do not lower its error (noise), the step pays nothing and comes late.
    """
    nexts: dict[int, int | None] = dict(zip(levels, [*levels[1:], None], strict=True))

    def gain(name: str, bits: int) -> float:
        after = nexts[bits]
        squared = errors[name][bits] ** 2 - (0.0 if after is None else errors[name][after] ** 2)
        return max(squared, 0.0) / (bytes_of(name, after) - bytes_of(name, bits))

    waiting = [(-gain(name, levels[0]), number, name, levels[0]) for number, name in enumerate(errors)]
    heapq.heapify(waiting)
    steps: list[Step] = []
    while waiting:
        _, number, name, bits = heapq.heappop(waiting)
        after = nexts[bits]
        steps.append((name, after))
        if after is not None:
            heapq.heappush(waiting, (-gain(name, after), number, name, after))
    return steps


def climbed(least: Mapping[str, int], steps: Sequence[Step]) -> dict[str, int]:
    """Return the recipe after some steps; layers in full precision are left out."""
    bits: dict[str, int | None] = {**least, **dict(steps)}
    return {name: number for name, number in bits.items() if number is not None}
