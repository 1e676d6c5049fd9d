"""What a family's table says: which pieces of code know what only this family has. Types only; imports nothing of ours.

A piece is named, not imported: the reference's runs beside torch and never beside MLX, the candidate's the other way
round, and the command line starts with neither.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family that can be compared. Its tap set is taps/tapsets/NAME.toml.

    Attributes:
        name: MLX's model_type.
        funasr_class: FunASR's class, the value of config.yaml's `model:`.
        runner: "module:Class" of parity.sides.runner.Runner: what the converted model computes.
        outcomes: "module:Class" of parity.decisions.outcomes.Outcomes: what it decides, and why two sides may differ.
        recorder: "module:Class" of parity.sides.recording.Recorder: what FunASR does. Imports torch, no MLX.
        faults: "module:NAME" of a tuple of parity.faults.Fault.
        words: {kind of decision: its plural}, and under "text" what the texts of a report's utterances are.
        scored: the kind that the arg-max of its scores decides.
    """

    name: str
    funasr_class: str
    runner: str
    outcomes: str
    recorder: str
    faults: str
    words: dict[str, str]
    scored: str

    def piece(self, what: str) -> Any:
        """Return one of the pieces, imported now: `piece("runner")`."""
        module, _, name = getattr(self, what).partition(":")
        return getattr(importlib.import_module(module), name)
