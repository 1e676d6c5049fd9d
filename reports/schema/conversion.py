"""What `inspect` and `convert` write down: the fate of every tensor of a checkpoint. Stdlib only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRow:
    """The fate of one checkpoint tensor. `target` is None where it was dropped; `op` is the layout change's name."""

    source: str
    target: str | None
    op: str
    shape: list[int]
    dtype: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionReport:
    """What `inspect` found or `convert` did. `parameters` counts the checkpoint's elements, dropped ones included.

    `name` is the model's own, `source` what the user typed. `sha256` is of the source's files, `output_sha256` of the
    files written, but not of the card, which may be edited, nor of this document.
    """

    SCHEMA: ClassVar[str] = "conversion/1"
    family: str
    source: str
    output: str | None
    parameters: int
    converted_parameters: int
    tensors: list[TensorRow]
    sha256: dict[str, str]
    options: dict[str, Any]
    config: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    output_sha256: dict[str, str] = field(default_factory=dict)
