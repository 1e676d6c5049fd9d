"""The candidate: the converted MLX model; takes waveforms, features or one module's inputs and gives taps.

What is the same for all families. How a family's network is run stands in families/NAME/candidate.py, whose `Candidate`
is a subclass of this one, of `BatchCandidate` (batches.py), or runs in pieces (pieces.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlx_model.engines import lanes
from mlx_model.loading import load
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.device import turns
from parity import facts
from parity.sides.conversion import conversion_of
from parity.taps.tap import Activations, record
from parity.taps.tapset import TapSet, TapSpec

Arrays = Mapping[str, np.ndarray]
Inputs = Mapping[str, Mapping[str, np.ndarray]]  # {module: {number of the argument: array (1, ...)}}
Facts = dict[str, dict[str, Any]]


class CandidateRun(NamedTuple):
    """One utterance on the candidate's side: taps on the reference's features, and what it decides end to end.

    `outcome` is the family's own (token ids, segments); `introduced` holds taps of modules run on given inputs.
    """

    taps: dict[str, np.ndarray]
    outcome: Any
    introduced: dict[str, np.ndarray]


class Candidate(ABC):
    """A converted model under test. `tapset` is restricted where only some modules were asked for."""

    def __init__(self, path: str | Path, tapset: TapSet, taps: Sequence[str] = ()):
        self.path = Path(path)
        self.model: Any = load(path)
        self.modules: dict[str, Any] = dict(self.model.named_modules())
        names = list(self.modules)
        self.tapset = tapset.restricted(taps, names) if taps else tapset
        self.full_tapset = tapset  # what is judged in every run is, whatever else is left out
        self.restricted_to = [module for module, _ in self.tapset.modules(names)] if taps else []
        self.probes = list(dict.fromkeys([*self.tapset.probes(names), *tapset.always]))

    # ---- what a family says

    @abstractmethod
    def frontend(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Return {fbank (1, F, M), feats (1, T, m*M)} of one waveform (S,), and what else is compared of it."""

    @abstractmethod
    def network(self, feats: np.ndarray) -> dict[str, np.ndarray]:
        """Return {tap: array} of one utterance's features (1, T, m*M), discrete outcomes among them."""

    @abstractmethod
    def run(self, plain: Arrays, front: Arrays, inputs: Inputs, *, steps: bool) -> CandidateRun:
        """Return all of one utterance: on the reference's `plain` arrays and on the candidate's own, `front`."""

    @abstractmethod
    def results(self, waveforms: Sequence[np.ndarray], *, lanes: int = 1, padding: int = 0) -> list[np.ndarray]:
        """Return each waveform's scores (U, V), whose arg-max decides: what must not depend on how they are run.

        They are run as one batch where the family has batches, each with so many zeros behind it; on a CPU in so many
        lanes.
        """

    def on_engine(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """Return each waveform's scores, one by one, the way a CPU runs them for users; None where it is no other."""
        return None

    def fused(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """Return each waveform's scores, as one batch, the way a GPU runs them for users; None where there is none."""
        return None

    @abstractmethod
    def parts(self) -> list[nn.Module]:
        """Return the modules whose precision may be changed."""

    def blocks(self) -> list[nn.Module]:
        """Return the modules that are tried under mx.compile; none by default."""
        return []

    def more_facts(self) -> Facts:
        """Return what of the structure only this family has, {fact: {module: value}}, named as the reference's."""
        return {}

    # ---- what is the same for all

    @property
    def precision(self) -> str:
        """The network's precision as reports name it: float32, float16, bfloat16, or e.g. 8bit."""
        quantization = self.model.config.quantization
        return self.model.config.dtype if quantization is None else f"{quantization['bits']}bit"

    @property
    def checkpoint_sha256(self) -> str | None:
        """The sha256 of the model.pt this was converted from, as the conversion wrote it down."""
        conversion = conversion_of(self.path)
        files = {} if conversion is None else conversion.sha256
        weights = [digest for name, digest in files.items() if name.endswith((".pt", ".pth", ".bin", ".safetensors"))]
        return weights[0] if len(weights) == 1 else None

    def structure(self, names: Sequence[str]) -> Facts:
        """Return what distances could miss, {fact: {module: value}}: the facts of those names, and the family's own."""
        return {**facts.read(names, self.model, reference=False), **self.more_facts()}

    def asked_for(self, tap: str, *, introduced: bool = False) -> bool:
        """Return whether a trace's tap is to be compared: all are, unless only some modules were asked for.

        Those the tap set judges always are, but not in modules run alone.
        """
        if not self.restricted_to or (not introduced and tap.startswith(self.full_tapset.always)):
            return True
        if not introduced and self.full_tapset.spec(tap).kind != "module":
            return True
        return any(f"{tap}.".startswith(f"{module}.") for module in self.restricted_to)

    def introduced(self, inputs: Inputs, *, steps: bool) -> dict[str, np.ndarray]:
        """Return {tap: array} of modules, each run alone on given inputs; with `steps`, their inside as well."""
        isolated = self.tapset.isolated(self.modules, inputs)
        probes = self.tapset.introduced_probes(self.modules, isolated, steps=steps)
        with lanes.exactly(1), record(self.model, probes) as seen:
            for stream, (name, tap) in zip(turns(len(isolated)), isolated, strict=True):
                given = {number: mx.array(value).astype(self.model.dtype) for number, value in inputs[name].items()}
                lengths = mx.array([next(iter(inputs[name].values())).shape[1]])
                known = {**given, "-": None, "lengths": lengths}
                with mx.stream(stream):
                    output = self.modules[name](*(known[argument] for argument in tap.introduced))
                mx.async_eval(output)
        return self.collected(seen, isolated)

    def collected(self, seen: Activations, isolated: Sequence[tuple[str, TapSpec]]) -> dict[str, np.ndarray]:
        """Return {tap: array} of what was seen of modules run alone."""
        arrays: dict[str, np.ndarray] = {}
        for name, tap in isolated:
            arrays |= self.tapset.collect_introduced(name, tap, seen, reference=False)
        return arrays
