"""Tap sets: which modules are compared, under which names, and how far apart they may be.

A part says where it is tapped (parts/NAME.toml), a family which parts it has and where in its model each sits
(families/NAME/taps.toml), precisions.toml what a precision allows. Distances are relative L2 from the float64
reference; `ratio` is the candidate's distance as a multiple of the float32 reference's own, the noise floor of that
tap; `max_abs` is used where there is no float64 truth. In a part's file:

    always, discrete  modules that are judged in every run; last words of taps that are compared entry by entry
    [[tap]]
      name        patterns of modules, within the part ("" is the part itself); what is no module keeps its name
      at, label   `at = "input"` takes what goes in, under the name given by `label`; `at = "carried"` what is handed
                  on to a stream's next piece, which a family's sides put beside what was seen
      outputs     names the parts of what a module returns that are kept, in order ("" is the module itself, "-" is
                  skipped); `order` is the order in which they come about
      introduced  the module is also run alone, on the float64 reference's inputs: which of the reference's positional
                  arguments the candidate's call gets, in order ("-" is None, "lengths" the number of frames, "cache" a
                  new one). Masks are None: one utterance at a time
      steps       which list of steps inside the module is recorded in that run
    [[steps.*]]
      name        of the inner module, relative to the outer one. `call` means what a function it calls returns, `at`
                  its input; `label` replaces the name
      split       equal parts of the last axis, or each array of several; `channels_first`: FunASR's side is (B, D, T)
    [sums]        {a tap of running sums: the tap whose values it adds up}, both within the part: of a recording the
                  error of such a tap is one draw, however many places it has, so its floor is taken from the addends

A family's file holds `[[part]]` rows (`name`, `at`) and may have taps of its own beside them; `unit` is what a row of
its taps is called ("frame" if left out).
"""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlx_model.errors import UsageError
from parity.taps.tap import ARGS, CARRIED, INPUT, Activations, matches

HERE = Path(__file__).parent
FLOAT32 = "float32 reference"  # the run of FunASR whose distance from the truth is the floor, where no other is named
FAMILIES = HERE.parent / "families"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One place inside an isolated module: an inner module's output, its input, or what a function it calls returns."""

    name: str
    at: str = ""
    call: str = ""
    label: str | None = None
    split: tuple[str, ...] = ()
    channels_first: bool = False

    def probe(self, module: str) -> str:
        """Return the probe of this step inside a module (see tap.py)."""
        what = self.call or self.at
        return f"{module}.{self.name}" + (f"@{what}" if what else "")

    def arrays(self, module: str, values: Sequence[np.ndarray], *, reference: bool) -> dict[str, np.ndarray]:
        """Return {tap name: array} of what the probe recorded."""
        value = values[0].swapaxes(1, 2) if self.channels_first and reference else values[0]
        if self.split:
            several = len(values) == len(self.split)
            parts = values if several else np.split(value, len(self.split), axis=-1)
            return {f"{module}.{label}": part for label, part in zip(self.split, parts, strict=True)}
        return {f"{module}.{self.label or self.name}": value}


@dataclass(frozen=True, slots=True, kw_only=True)
class TapSpec:
    """One row of a tap set; the TOML file says what each field means."""

    name: tuple[str, ...]
    reason: str
    kind: str = "module"
    at: str = ""
    label: str | None = None
    outputs: tuple[str, ...] = ("",)
    order: tuple[str, ...] = ()
    ratio: float | None = None
    max_abs: float | None = None
    introduced: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    def fits(self, module: str) -> bool:
        """Return whether a module's name fits one of the patterns."""
        return any(matches(module, pattern) for pattern in self.name)

    def names(self, module: str, tap_name: str) -> bool:
        """Return whether a tap's name is one this row may give: a row of what is carried has no more than that."""
        return self.at != CARRIED or tap_name in [f"{module}.{output}" for output in self.outputs]

    def arrays(self, module: str, values: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Return {tap name: array} of the parts of a module's output that are kept."""
        if self.label is not None:
            return {self.label: values[0]}
        named = dict(zip(self.outputs, values, strict=False))
        kept = self.order or [output for output in named if output != "-"]
        return {f"{module}.{output}" if output else module: named[output] for output in kept}


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How far a candidate of a precision may stray: `multiple` of the float32 ratio; one frame `frames` times that.

    `floor` names the run of the reference whose own distance is the unit.
    """

    multiple: float
    frames: float
    reason: str
    floor: str = FLOAT32


@dataclass(frozen=True, slots=True, kw_only=True)
class TapSet:
    """All taps of one family, in network order. `floor_rel_l2`: no tap's floor is taken as smaller than this.

    `drift`: how many times a tap's ratio errors may grow to that a module did not introduce itself. `always`: modules
    that are judged in every run. `discrete`: names of taps that are compared entry by entry, never by distance.
    `halves`: precisions whose floor is FunASR's own run in them, where a trace holds one; `precisions` otherwise.
    `unit`: what one row of a tap is called.
    `sums`: {a tap of running sums: the tap whose values it adds up}.
    """

    family: str
    floor_rel_l2: float
    drift: float
    precisions: dict[str, Precision]
    taps: tuple[TapSpec, ...]
    always: tuple[str, ...] = ()
    discrete: tuple[str, ...] = ()
    halves: dict[str, Precision] = dataclasses.field(default_factory=dict)
    unit: str = "frame"
    sums: dict[str, str] = dataclasses.field(default_factory=dict)

    def is_discrete(self, tap_name: str) -> bool:
        """Return whether a tap is compared entry by entry: its last word says so."""
        return tap_name.rsplit(".", 1)[-1] in self.discrete

    def modules(self, names: Iterable[str]) -> list[tuple[str, TapSpec]]:
        """Return (module, row) of every tapped module of a model, in network order."""
        known = sorted(names, key=_natural)
        return [
            (name, tap)
            for tap in self.taps
            if tap.kind == "module"
            for pattern in tap.name
            for name in known
            if matches(name, pattern)
        ]

    def probes(self, names: Iterable[str], *, args: bool = False) -> list[str]:
        """Return what to record in a run on a model's own inputs; with `args`, also what isolated modules are given."""
        wanted = []
        for module, tap in self.modules(names):
            wanted.append(f"{module}@{tap.at}" if tap.at else module)
            if args and tap.introduced:
                wanted.append(f"{module}@{ARGS}")
        return wanted

    def isolated(self, names: Iterable[str], inputs: Container[str]) -> list[tuple[str, TapSpec]]:
        """Return (module, row) of every module to be run alone that there are inputs for, in network order."""
        return [(module, tap) for module, tap in self.modules(names) if tap.introduced and module in inputs]

    def introduced_probes(
        self, names: Container[str], isolated: Iterable[tuple[str, TapSpec]], *, steps: bool = True
    ) -> list[str]:
        """Return what to record when isolated modules are run alone; steps of modules a layer lacks are left out."""
        wanted = []
        for module, tap in isolated:
            inside = [step.probe(module) for step in tap.steps if f"{module}.{step.name}" in names] if steps else []
            wanted += [*inside, module]
        return wanted

    def collect(self, seen: Activations) -> dict[str, np.ndarray]:
        """Return {tap name: array} of a run on the model's own inputs, in network order."""
        keys = [key.partition("@") for key in seen]
        ways = ("", INPUT, CARRIED)
        recorded = {wanted: [module for module, _, what in keys if what == wanted] for wanted in ways}
        arrays: dict[str, np.ndarray] = {}
        for tap in self.taps:
            fitting = [module for module in recorded[tap.at] if tap.fits(module)]
            for module in sorted(fitting, key=lambda module: _order(tap, module)):
                arrays |= tap.arrays(module, seen[f"{module}@{tap.at}" if tap.at else module])
        return arrays

    def collect_introduced(
        self, module: str, tap: TapSpec, seen: Activations, *, reference: bool
    ) -> dict[str, np.ndarray]:
        """Return {tap name: array} of one module run alone: its steps in order, then what it returned."""
        arrays: dict[str, np.ndarray] = {}
        for step in tap.steps:
            if step.probe(module) in seen:
                arrays |= step.arrays(module, seen[step.probe(module)], reference=reference)
        return {**arrays, **tap.arrays(module, seen[module])}

    def restricted(self, patterns: Sequence[str], names: Iterable[str]) -> TapSet:
        """Return the tap set with only the modules of a model that fit one of the patterns (the front end stays).

        Raises:
            UsageError: a pattern fits no tapped module.
        """
        modules = list(dict.fromkeys(module for module, _ in self.modules(names)))
        for pattern in patterns:
            if not any(matches(module, pattern) for module in modules):
                raise UsageError(
                    f"no tap fits {pattern!r}; there are {', '.join(modules[:4])}, ... ('*' stands for one segment)"
                )
        kept = tuple(module for module in modules if any(matches(module, pattern) for pattern in patterns))
        taps = [
            dataclasses.replace(tap, name=tuple(module for module in kept if tap.fits(module)))
            for tap in self.taps
            if tap.kind == "module"
        ]
        frontend = [tap for tap in self.taps if tap.kind != "module"]
        return dataclasses.replace(self, taps=(*frontend, *(tap for tap in taps if tap.name)))

    def spec(self, tap_name: str) -> TapSpec:
        """Return the row a tap's name belongs to, a step's being its module's (KeyError where there is none)."""
        for prefix in _prefixes(tap_name):
            for tap in self.taps:
                if tap.label == tap_name or (tap.label is None and tap.fits(prefix) and tap.names(prefix, tap_name)):
                    return tap
        raise KeyError(tap_name)


def load_tapset(family: str) -> TapSet:
    """Return the tap set of a family.

    Raises:
        UsageError: there is none.
    """
    path = FAMILIES / family / "taps.toml"
    if not path.is_file():
        known = ", ".join(sorted(item.parent.name for item in FAMILIES.glob("*/taps.toml")))
        raise UsageError(f"no tap set for family {family!r} (there are: {known})")
    document, common = _read(path), _read(HERE / "precisions.toml")
    parts = [(_read(HERE / f"parts/{row['name']}.toml"), row.get("at", "")) for row in document["part"]]
    pieces = [*parts, (document, "")]
    return TapSet(
        family=family,
        floor_rel_l2=common["floor"]["rel_l2"],
        drift=common["floor"]["drift"],
        precisions={name: Precision(**row) for name, row in common["precision"].items()},
        halves={name: Precision(**row, floor=f"{name} reference") for name, row in common["half"].items()},
        taps=tuple(tap for piece, at in pieces for tap in _taps(piece, at)),
        always=tuple(_within(at, name) for piece, at in pieces for name in piece.get("always", ())),
        discrete=tuple(name for piece, _ in pieces for name in piece.get("discrete", ())),
        unit=document.get("unit", "frame"),
        sums={
            _within(at, total): _within(at, added)
            for piece, at in pieces
            for total, added in piece.get("sums", {}).items()
        },
    )


@functools.cache
def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))


def _within(at: str, name: str) -> str:
    """Return the name in the model of something within a part."""
    return ".".join(filter(None, (at, name)))


def _taps(piece: dict[str, Any], at: str) -> list[TapSpec]:
    """Return the rows of a part that sits at `at`."""
    steps = {name: tuple(map(_step, rows)) for name, rows in piece.get("steps", {}).items()}
    return [_spec(row, at if row.get("kind", "module") == "module" else "", steps) for row in piece.get("tap", ())]


def _step(row: dict[str, Any]) -> Step:
    return Step(**{**row, "split": tuple(row.get("split", ()))})


def _spec(row: dict[str, Any], at: str, steps: dict[str, tuple[Step, ...]]) -> TapSpec:
    placed = {"name": tuple(_within(at, name) for name in row["name"])}
    placed |= {"label": _within(at, row["label"])} if "label" in row else {}
    lists = {key: tuple(row[key]) for key in ("outputs", "order", "introduced") if key in row}
    return TapSpec(**{**row, **placed, **lists, "steps": steps[row["steps"]] if "steps" in row else ()})


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:size]) for size in range(len(parts), 0, -1)]


def _order(tap: TapSpec, module: str) -> tuple[int, list[tuple[int, str]]]:
    return next(i for i, pattern in enumerate(tap.name) if matches(module, pattern)), _natural(module)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts encoders.10 after encoders.9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]
