"""Columns of one comparison: the same taps, as MLX computes them module by module and as every engine in force does.

What is proved is what runs: an engine's column is judged by the same floor. It is read on the first utterances in which
the reference found something; a fault in an engine then has an address of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from parity.decisions.base import Decisions, settled
from parity.sides.candidate import Candidate, CandidateRun
from parity.taps.distances import FAIL, Comparison
from parity.taps.trace import Recorded, TracedUtterance
from parity.taps.verdict import Verdict, conclude
from reports.schema import DecisionRow, TapRow


def in_force(engines: Sequence[str]) -> str:
    """Return in a sentence which engines compute a model here for users, all of which are read."""
    if not engines:
        return "Engines in force: plain alone, for no engine of this machine computes this network."
    return f"Engines in force, each read at the same taps: {', '.join(engines)}."


def hold(
    comparison: Comparison, decisions: Decisions, utterance: TracedUtterance, recorded: Recorded, run: CandidateRun
) -> list[DecisionRow]:
    """Hold one utterance's taps against the reference's; return every decision on which they differ."""
    decided = decisions.decide(utterance, recorded, run)
    steps = [name for name in recorded.introduced if name in run.introduced]
    comparison.place(decisions.order([*run.taps]), steps)
    skip = decisions.skipped(recorded, run, decided)
    kept = settled(recorded, run.taps)
    comparison.add_propagated(utterance.utt_id, kept, run.taps, decisions.excused(decided), skip)
    introduced = {name: pair for name, pair in recorded.introduced.items() if pair.settled}
    comparison.add_introduced(utterance.utt_id, introduced, run.introduced)
    return decided


class Column:
    """What one engine computes at every tap, against the reference."""

    def __init__(self, engine: str, candidate: Candidate, decisions: Decisions):
        self.engine, self.candidate, self.decisions = engine, candidate, decisions
        self.comparison = Comparison(candidate.full_tapset, decisions.precision)
        self.decided: list[DecisionRow] = []
        self.utterances = 0

    def add(self, utterance: TracedUtterance, recorded: Recorded, *, steps: bool) -> None:
        """Read and compare one utterance."""
        run = self.candidate.column(self.engine, recorded.plain, recorded.inputs, steps=steps)
        found = hold(self.comparison, self.decisions, utterance, recorded, run)
        self.decided += [dataclasses.replace(row, engine=self.engine) for row in found]
        self.utterances += 1

    def rows(self) -> list[TapRow]:
        """Return one row per tap, in network order."""
        return [dataclasses.replace(row, engine=self.engine) for row in self.comparison.rows()]

    def verdict(self, facts: Sequence[Mapping[str, Any]]) -> Verdict:
        """Return the verdict over this column alone; structural facts say where, not whether."""
        rows = self.rows()
        failed = any(row.status == FAIL for row in rows)
        precision, decided, floor = self.candidate.precision, self.decisions.decided, self.decisions.precision.floor
        found = conclude(rows, facts if failed else [], self.decided, [], precision, decided, floor)
        return found._replace(engine=self.engine)
