"""The families that can be compared, one table each; whatever only one of them has stands behind its table.

A new family is one more folder beside this file and one more entry in FAMILIES (steps: ../../convert/README.md).
"""

from __future__ import annotations

from collections.abc import Iterable

from mlx_model.errors import UsageError
from parity.families.family import Family
from parity.families.fsmn_vad_streaming import TABLE as FSMN_VAD_STREAMING
from parity.families.paraformer import TABLE as PARAFORMER

FAMILIES: tuple[Family, ...] = (PARAFORMER, FSMN_VAD_STREAMING)


def by_name(name: str | None) -> Family:
    """Return the family of a model_type.

    Raises:
        UsageError: it cannot be compared.
    """
    return _only((row for row in FAMILIES if row.name == name), f"model_type {name!r}")


def by_class(funasr_class: str) -> Family:
    """Return the family of one of FunASR's classes.

    Raises:
        UsageError: it cannot be compared.
    """
    return _only((row for row in FAMILIES if row.funasr_class == funasr_class), f"FunASR's {funasr_class}")


def _only(found: Iterable[Family], what: str) -> Family:
    for row in found:
        return row
    known = ", ".join(f"{row.funasr_class} ({row.name})" for row in FAMILIES)
    raise UsageError(f"{what} cannot be compared; there are {known}")
