"""What a run is asked for, checked before anything starts: model, source, peers, cases, grid.

Imports neither mlx nor torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_model.config import config_class
from mlx_model.config.sections import ModelConfig
from mlx_model.errors import ConfigError, MlxFunasrError, UsageError
from mlx_model.families import FAMILIES
from parity.bench import cases, peers
from parity.bench.cases import Case
from parity.bench.peer import AS_CONVERTED, Peer
from parity.sides import guard
from parity.sides.conversion import conversion_of
from reports.checking import read_json
from reports.environment import file_sha256
from reports.schema import ConversionReport

WEIGHTS = (".pt", ".pth", ".bin", ".safetensors")
HUB_ID = re.compile(r"(hf:)?[\w.-]+/[\w.-]+")
MOST = 10_000  # rounds, recordings at once, threads: more is a slip of the finger
SHORTEST_S, LONGEST_S = 0.1, 900.0  # what a front end and one pass of mlx_model.pipelines.transcribe take


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A checked request. `source`: what the peers load (None: unknown); `sha256`: of the checkpoint, where known."""

    model: Path
    config: Any  # a recogniser's: frontend, dtype, quantization, the ids that are not printed
    source: str | None
    sha256: str | None
    peers: list[type[Peer]]
    cases: list[Case]
    seconds: list[float]
    batch: list[int]
    rounds: int
    threads: int

    @property
    def grid(self) -> list[tuple[float, int]]:
        """(seconds, batch), least audio first, as a process keeps memory that it once used."""
        points = [(seconds, batch) for seconds in self.seconds for batch in self.batch]
        return sorted(points, key=lambda point: (point[0] * point[1], point))

    @property
    def precision(self) -> str:
        """The conversion's precision as reports name it: float32, float16, bfloat16, int8, or e.g. 8bit."""
        return self.config.precision

    def precision_of(self, peer: type[Peer]) -> str:
        """Return a side's precision as reports name it; torch has none of our bits, but the dtype beside them."""
        if peer.name == peers.OURS:
            return self.precision
        return self.config.dtype if peer.precision == AS_CONVERTED else peer.precision

    @property
    def dropped(self) -> list[int]:
        """Token ids that FunASR leaves out before it prints."""
        special = (getattr(self.config, name, None) for name in ("blank_id", "sos", "eos"))
        return [token for token in special if token is not None]

    def of(self, run: str) -> list[Case]:
        """Return the cases that requests of that kind time."""
        return [case for case in self.cases if case.run == run]


def make_plan(
    model: Path,
    *,
    against: Sequence[str] | None,
    source: str | None,
    stages: Sequence[str] | None,
    seconds: Sequence[float],
    batch: Sequence[int],
    rounds: int,
    threads: int | None,
) -> Plan:
    """Return the plan; arguments and errors are those of `bench`."""
    threads = cores() if threads is None else threads
    asked = {"--seconds": seconds, "--batch": batch, "--rounds": [rounds], "--threads": [threads]}
    for option, values in asked.items():
        if not values or not all(0 < value <= MOST for value in values):  # NaN is neither
            found = " ".join(map(str, values)) or "(nothing)"
            raise UsageError(f"{option} {found}: expected numbers above 0, {MOST} at most")
    if outside := [value for value in seconds if not SHORTEST_S <= value <= LONGEST_S]:
        raise UsageError(f"--seconds {outside[0]:g}: expected {SHORTEST_S:g} to {LONGEST_S:g}")
    chosen, timed = peers.choose(against), cases.choose(stages)
    config, conversion = read_model(model)
    weights = [digest for name, digest in conversion.sha256.items() if name.endswith(WEIGHTS)] if conversion else []
    sha256 = weights[0] if len(weights) == 1 else None
    return Plan(
        model=model,
        config=config,
        source=find_source(source, conversion, sha256),
        sha256=sha256,
        peers=chosen,
        cases=timed,
        seconds=sorted(set(seconds)),
        batch=sorted(set(batch)),
        rounds=rounds,
        threads=threads,
    )


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_model(model: Path) -> tuple[ModelConfig, ConversionReport | None]:
    """Return a conversion's configuration and what was written down when it was made (None: nothing).

    Raises:
        ConfigError: it is not a converted directory.
    """
    path = model / "config.json"
    if not path.is_file():
        raise ConfigError(f"{model}: no config.json; MODEL is what `mlx-funasr convert SRC MODEL` wrote")
    try:
        settings: Any = read_json(path)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: expected key: value pairs, found {type(settings).__name__}")
    family = settings.get("model_type")
    if family not in FAMILIES:
        raise ConfigError(f"{path}: model_type {family!r} is not one of {', '.join(FAMILIES)}")
    kind = config_class(family)
    return kind.from_dict(settings, str(path)), conversion_of(model)


def recorded_source(model: Path) -> tuple[str | None, tuple[str | None, str | None]]:
    """Return the local path that a conversion was made from, and its (checkpoint, base); None where there is none."""
    conversion = conversion_of(model)
    if conversion is None:
        return None, (None, None)
    found = conversion.source if os.path.exists(conversion.source) else None
    return found, (conversion.options.get("checkpoint"), conversion.options.get("base"))


def find_source(source: str | None, conversion: ConversionReport | None, sha256: str | None) -> str | None:
    """Return the FunASR model that the peers load: the given one, or the one recorded where it still is; else None.

    Raises:
        UsageError: the given one does not exist, or its checkpoint is another than the conversion was made from.
    """
    found = source or (conversion.source if conversion else None)
    if found is None:
        return None
    path = Path(found)
    if not path.exists():
        if HUB_ID.fullmatch(found):
            return found
        if source is None:
            return None
        raise UsageError(f"--source {source}: no such file or directory, and no hub id")
    try:
        guard.check(found)
    except MlxFunasrError:
        if source is None:
            return None
        raise
    weights = path / "model.pt" if path.is_dir() else path
    if sha256 is not None and weights.is_file() and file_sha256(weights) != sha256:
        raise UsageError(f"{weights} is not the checkpoint that MODEL was converted from: its sha256 is another")
    return found
