"""Tap sets: which modules are compared, under which names, and how far apart they may be (tapsets/*.toml)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlx_model.errors import UsageError
from parity.layers.tap import Activations, matches

FOLDER = Path(__file__).parent / "tapsets"
DISCRETE = ("fires", "token_num", "token_ids")  # compared entry by entry, never by distance


@dataclass(frozen=True, slots=True, kw_only=True)
class TapSpec:
    """One row of a tap set. `outputs` name the parts of a module's output; "" is the module itself, "-" is skipped."""

    name: str
    reason: str
    kind: str = "module"
    outputs: tuple[str, ...] = ("",)
    ratio: float | None = None
    max_abs: float | None = None
    optional: bool = False

    def label(self, module: str, output: str) -> str:
        """Return the tap's name in reports: the module's, then the output's."""
        return f"{module}.{output}" if output else module


@dataclass(frozen=True, slots=True, kw_only=True)
class TapSet:
    """All taps of one architecture, in network order. `floor_rel_l2`: no tap's floor is taken as smaller than this."""

    family: str
    floor_rel_l2: float
    taps: tuple[TapSpec, ...]

    def patterns(self, module_names: Iterable[str]) -> list[str]:
        """Return the patterns to record; optional ones only where the model has such a module."""
        names = list(module_names)
        return [
            tap.name
            for tap in self.taps
            if tap.kind == "module" and (not tap.optional or any(matches(name, tap.name) for name in names))
        ]

    def collect(self, seen: Activations) -> dict[str, np.ndarray]:
        """Return {tap name: array} of one run, in network order."""
        arrays: dict[str, np.ndarray] = {}
        for tap in self.taps:
            for module in sorted((name for name in seen if matches(name, tap.name)), key=_natural):
                for output, array in zip(tap.outputs, seen[module], strict=False):
                    if output != "-":
                        arrays[tap.label(module, output)] = array
        return arrays

    def spec(self, tap_name: str) -> TapSpec:
        """Return the row a tap's name belongs to (KeyError where there is none)."""
        for tap in self.taps:
            for output in tap.outputs:
                module = tap_name.removesuffix(f".{output}") if output else tap_name
                if matches(module, tap.name) and tap.label(module, output) == tap_name:
                    return tap
        raise KeyError(tap_name)


def load_tapset(family: str) -> TapSet:
    """Return the tap set of a family.

    Raises:
        UsageError: there is none.
    """
    path = FOLDER / f"{family}.toml"
    if not path.is_file():
        known = ", ".join(sorted(item.stem for item in FOLDER.glob("*.toml")))
        raise UsageError(f"no tap set for family {family!r} (there are: {known})")
    document = tomllib.loads(path.read_text("utf-8"))
    taps = tuple(_spec(row) for row in document["tap"])
    return TapSet(family=document["family"], floor_rel_l2=document["floor"]["rel_l2"], taps=taps)


def _spec(row: dict[str, Any]) -> TapSpec:
    return TapSpec(**{**row, "outputs": tuple(row.get("outputs", ("",)))})


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts encoders.10 after encoders.9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]
