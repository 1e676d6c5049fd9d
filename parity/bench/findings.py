"""What a run found: times by case and side, and whether the sides' token ids agree. Stdlib only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from parity.bench.cases import Case
from parity.bench.peers import OURS
from parity.bench.rounds import Rounds

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One case: its sides' answers, round by round; `gflop` of one run, where they are counted."""

    case: Case
    seconds: float
    batch: int
    rounds: Rounds[Answer]
    gflop: float | None

    @property
    def title(self) -> str:
        """The case in words."""
        batch = "" if self.case.run == "process" else f", batch {self.batch}"
        return f"{self.case.title}, {self.seconds:g} s{batch}"

    def times(self) -> dict[str, list[float]]:
        """Return the seconds, one per round, of every side that can tell this case apart."""
        found = {}
        for side, answers in self.rounds.found.items():
            values = [stage(answer["seconds"], self.case.name) for answer in answers]
            if values and None not in values:
                found[side] = values
        return found

    def peak_mb(self, side: str, key: str = "peak_mb") -> float | None:
        """Return the largest resident size of the side's process while it ran this case; None where unknown.

        With "device_peak_mb" as `key` the most memory in use on its GPU.
        """
        return max((answer.get(key) or 0.0 for answer in self.rounds.found[side]), default=0.0) or None


@dataclass(slots=True)
class Findings:
    """Times, and by side: products in GFLOP/s, empty runs in us, whole processes' last lines, ids that differ."""

    measured: list[Measured] = field(default_factory=list)
    products: dict[str, float] = field(default_factory=dict)
    empty: dict[str, float] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)
    compared: dict[str, int] = field(default_factory=dict)
    differing: dict[str, int] = field(default_factory=dict)

    def add_products(self, rounds: Rounds[Answer]) -> None:
        """Keep the fastest matrix product of every side that computes one, and the fastest empty run."""
        for side, answers in rounds.found.items():
            rates = [answer["gflops"] for answer in answers if answer["gflops"] is not None]
            if rates:
                self.products[side] = max(*rates, self.products.get(side, 0.0))
            waits = [answer["empty_us"] for answer in answers if answer["empty_us"] is not None]
            if waits:
                self.empty[side] = min(*waits, self.empty.get(side, math.inf))

    def compare(self, checks: Mapping[str, Answer]) -> list[list[int]]:
        """Hold every side's token ids, of its stages and of its files, against this project's stages'; return those.

        Where nothing is timed in stages it is the files' ids, or ms. A side that tells none is compared by its texts.
        """
        run_of_ours = "stages" if "stages" in checks[OURS]["ids"] else "files"
        ours: list[list[int]] = checks[OURS]["ids"].get(run_of_ours) or []
        for side, check in checks.items():
            for run, theirs in check["ids"].items():
                if (side, run) != (OURS, run_of_ours):
                    self._add(side, ours, theirs)
            if not check["ids"] and any(ours):
                said = [[[*map(ord, text)] for text in each["texts"]] for each in (checks[OURS], check)]
                self._add(side, *said)
        return ours

    def _add(self, side: str, ours: list[list[int]], theirs: list[list[int]]) -> None:
        pairs = list(zip(ours, theirs, strict=True))
        self.compared[side] = self.compared.get(side, 0) + sum(max(map(len, pair)) for pair in pairs)
        self.differing[side] = self.differing.get(side, 0) + sum(differing(*pair) for pair in pairs)


def differing(a: list[int], b: list[int]) -> int:
    """Return how many positions of two token sequences differ; surplus tokens count."""
    return sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b))


def stage(seconds: Mapping[str, float], name: str) -> float | None:
    """Return the seconds of one stage; the network's are the sum of its parts where a side timed those, the rest."""
    parts = [value for part, value in seconds.items() if part not in ("frontend", "end_to_end", "cold_start")]
    return sum(parts) if name == "network" and name not in seconds and parts else seconds.get(name)
