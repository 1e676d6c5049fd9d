"""The families that can be compared, each found by its name: a folder with a table, two sides and a tap set.

A new family is one more folder here and one more line in mlx_model/families.py (steps: ../../convert/README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_model.errors import UsageError
from mlx_model.families import FAMILIES, module_of
from parity.families.family import Family

if TYPE_CHECKING:
    from parity.sides.candidate import Candidate


def by_name(name: str | None) -> Family:
    """Return the table of a model_type.

    Raises:
        UsageError: it cannot be compared.
    """
    if name not in FAMILIES:
        known = ", ".join(f"{funasr_class} ({each})" for each, funasr_class in FAMILIES.items())
        raise UsageError(f"model_type {name!r} cannot be compared; there are {known}")
    return module_of(__name__, name).FAMILY


def candidate(path: str | Path, taps: Sequence[str] = (), family: str | None = None) -> Candidate:
    """Return a converted directory as a parity.sides.candidate.Candidate of its family; only some taps where named.

    Raises:
        UsageError: the family cannot be compared, or a pattern fits no tap.
    """
    from mlx_model.loading import read_config
    from parity.taps.tapset import load_tapset

    table = by_name(family or read_config(Path(path)).get("model_type"))
    return table.piece("candidate")(path, load_tapset(table.name), taps)
