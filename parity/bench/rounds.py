"""Rounds: every side runs once in each, in an order that alternates, and what other processes took is recorded.

A side's turn starts half a second after the other's ended, when its OpenMP threads have stopped spinning. Torch's
threads wait by spinning, so a busy neighbour slows FunASR many times more than MLX, and a ratio measured beside one
flatters this project. So only quiet rounds count, where there are enough of them. Stdlib only.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

SETTLE_S = 0.5
QUIET = 0.10  # other processes' share of all cores, above which a round is called noisy
PATIENCE_S = 10.0
ENOUGH = 3  # quiet rounds that are enough to leave the noisy ones out


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds(Generic[T]):
    """What the counted rounds found, one entry per round and side; `busy`: others' median share of the cores."""

    found: dict[str, list[T]]
    counted: int
    run: int
    busy: float
    noisy: bool

    @property
    def note(self) -> str:
        """One line on the noise."""
        line = f"{self.counted} of {self.run} rounds counted, other processes used {self.busy:.0%} of the cores"
        return line + ("; NOISY, too few quiet rounds" if self.noisy else "")


class Noise:
    """Share of all cores that processes other than this one and its living children used since it was made."""

    def __init__(self, children: Sequence[int] = ()):
        self.children = children
        self.before = self._ticks()

    def _ticks(self) -> tuple[int, int, int] | None:
        """(all ticks, busy ticks, own ticks) so far; None where there is no /proc."""
        if not Path("/proc/stat").is_file():
            return None
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        own = int(sum(os.times()[:4]) * os.sysconf("SC_CLK_TCK"))
        for pid in self.children:
            stat = Path(f"/proc/{pid}/stat")
            if stat.is_file():
                own += sum(map(int, stat.read_text().rsplit(")", 1)[1].split()[11:13]))
        return sum(fields), sum(fields) - fields[3] - fields[4], own

    def share(self) -> float | None:
        """Return that share, 0 to 1, or None where the system does not tell."""
        now = self._ticks()
        if now is None or self.before is None:
            return None
        total, busy, own = (after - before for after, before in zip(now, self.before, strict=True))
        return max(0.0, (busy - own) / total) if total else 0.0


def wait_for_quiet(limit_s: float = PATIENCE_S) -> None:
    """Return when the other processes leave the machine alone for a moment, or after `limit_s` in any case."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        noise = Noise()
        time.sleep(SETTLE_S)
        share = noise.share()
        if share is None or share < QUIET:
            return


def interleave(turns: Mapping[str, Callable[[], T]], rounds: int, children: Sequence[int] = ()) -> Rounds[T]:
    """Return what every side's turn returned, one entry per counted round.

    Runs up to twice `rounds` rounds until `rounds` quiet ones are found; all count where they are not.
    """
    rows: list[tuple[float, dict[str, T]]] = []
    order = list(turns)
    while len(rows) < 2 * rounds and sum(share <= QUIET for share, _ in rows) < rounds:
        wait_for_quiet()
        noise, results = Noise(children), {}
        for name in order:
            time.sleep(SETTLE_S)
            results[name] = turns[name]()
        rows.append((noise.share() or 0.0, results))
        order.reverse()
    quiet = [row for row in rows if row[0] <= QUIET]
    counted = quiet if len(quiet) >= min(ENOUGH, rounds) else rows
    return Rounds(
        found={name: [results[name] for _, results in counted] for name in turns},
        counted=len(counted),
        run=len(rows),
        busy=statistics.median(share for share, _ in counted),
        noisy=counted is not quiet,
    )
