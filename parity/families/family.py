"""What a family's table says: what is decided, which faults, facts and invariance rows. Imports neither MLX nor torch.

What computes is found by name beside the table: `reference.py` runs beside torch and never beside MLX, `candidate.py`
and `decisions.py` the other way round, and the command line starts with neither. The tap set is `taps.toml`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mlx_model.families import FAMILIES
from parity.taps.takes import RECORDINGS

# Rows of layers/invariance.py for families whose network takes a padded batch.
BATCHED = (
    "batch composition", "padding length", "file order", "compiled blocks", "nothing compiled", "lanes", "CPU engine",
    "GPU path", "audio format", "device", "precision",
)  # fmt: skip


# The same of one that takes texts: there is no audio to read.
BATCHED_TEXTS = tuple(row for row in BATCHED if row != "audio format")


class Seeds(NamedTuple):
    """The faults of one part: parity/faults/PART.py, where in the model the part sits, and which of them do not fit."""

    part: str
    at: str = ""
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family that can be compared.

    Attributes:
        name: MLX's model_type, and the name of the folder.
        decided: {kind of a decision: the tap it belongs to}, in the order in which they come about.
        nothing: what no recording does in a trace that shows nothing, in words: "yields a token".
        faults: the seeded faults of its parts.
        facts: names of rows of parity/facts.py.
        invariance: names of rows of parity/layers/invariance.py.
        scored: the kind of decision that the arg-max of its scores makes.
        words: {kind of decision: its plural}; under "text" what the texts of a report's utterances are; where they are
            no utterances in time, under "utterance" and "frame" what many of those are called.
        notes: what a reader must know to read this family's numbers.
        takes: what it is compared on, RECORDINGS or TEXTS.
    """

    name: str
    decided: Mapping[str, str]
    nothing: str
    faults: tuple[Seeds, ...]
    facts: tuple[str, ...]
    invariance: tuple[str, ...]
    scored: str
    words: Mapping[str, str]
    notes: tuple[str, ...] = ()
    takes: str = RECORDINGS

    @property
    def funasr_class(self) -> str:
        """FunASR's name of it."""
        return FAMILIES[self.name]

    def piece(self, name: str) -> Any:
        """Return the class of one of the family's files, imported now: `candidate`, `decisions` or `reference`."""
        return getattr(importlib.import_module(f"parity.families.{self.name}.{name}"), name.capitalize())

    def seeded(self) -> tuple[Any, ...]:
        """Return every fault (parity.faults.Fault) of its parts, imported now."""
        return tuple(
            fault
            for seeds in self.faults
            for fault in importlib.import_module(f"parity.faults.{seeds.part}").faults(seeds.at)
            if fault.name not in seeds.without
        )
