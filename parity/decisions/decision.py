"""Discrete decisions on which two sides differ, and whether rounding explains it. Pure Python.

A difference is *explained* where the truth itself stands closer to the decision's edge than the numbers are exact:
then two right implementations may decide differently. Anything else is a bug. What is decided is each family's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reports.schema import DecisionRow, Outcome

# Of what a position counts, by kind of decision; frames where none is named.
PLACES = {"token": "token", "mark": "word", "window": "window", "nearest": "recording", "same": "recording"}


def decision(kind: str, utt_id: str, position: int, sides: tuple[str, str], margin: float, noise: float) -> DecisionRow:
    """Return the row of one difference; `sides` are what reference and candidate decided, in words."""
    return DecisionRow(
        kind=kind,
        utt_id=utt_id,
        position=position,
        reference=sides[0],
        candidate=sides[1],
        margin=margin,
        noise=noise,
        explained=bool(margin <= noise),
    )


def line(row: DecisionRow) -> str:
    """Return a decision in one line, for people."""
    verdict = "explained by rounding" if row.explained else "a bug"
    if not np.isfinite(row.margin):
        return f"{row.candidate} for {row.reference}: {verdict}"
    where = PLACES.get(row.kind, "frame")
    sides = f"reference {row.reference}, candidate {row.candidate}"
    return f"{where} {row.position}: {sides}; margin {row.margin:.1e}, noise {row.noise:.1e}: {verdict}"


def rounding(decided: Sequence[DecisionRow], *kinds: str) -> bool:
    """Return whether decisions of these kinds differ, and rounding explains every one."""
    rows = [row for row in decided if row.kind in kinds]
    return bool(rows) and all(row.explained for row in rows)


def outcome(decisions: Sequence[DecisionRow], kind: str, compared: int) -> Outcome:
    """Return how many of so many decisions of a kind differ, and how many of those rounding explains."""
    rows = [row for row in decisions if row.kind == kind]
    return Outcome(compared=compared, differ=len(rows), explained=sum(row.explained for row in rows))
