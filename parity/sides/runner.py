"""What a family's runner does for the candidate: run the converted model, tapped, on its own or on given inputs.

parity/sides/candidate.py holds what is the same for all; each family's own stands in parity/families/NAME/runner.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlx_model.engines import lanes
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.device import turns
from parity.taps.tap import Activations, record
from parity.taps.tapset import TapSpec

if TYPE_CHECKING:
    from parity.sides.candidate import Candidate

Arrays = Mapping[str, np.ndarray]
Inputs = Mapping[str, Mapping[str, np.ndarray]]  # {module: {number of the argument: array (1, ...)}}


class Heard(NamedTuple):
    """One utterance on the candidate's side: taps on the reference's features, what it decides end to end, and alone.

    `outcome` is the family's own (token ids, segments); `alone` holds isolated modules on given inputs.
    """

    taps: dict[str, np.ndarray]
    outcome: Any
    alone: dict[str, np.ndarray]


class Runner(ABC):
    """Runs one candidate. `tapset` is the candidate's, restricted where only some modules were asked for."""

    def __init__(self, candidate: Candidate):
        self.candidate, self.model = candidate, candidate.model

    @abstractmethod
    def frontend(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Return {fbank (1, F, M), feats (1, T, m*M)} of one waveform (S,), and what else is compared of it."""

    @abstractmethod
    def network(self, feats: np.ndarray) -> dict[str, np.ndarray]:
        """Return {tap: array} of one utterance's features (1, T, m*M), discrete outcomes among them."""

    @abstractmethod
    def at_once(self, plain: Arrays, front: Arrays, inputs: Inputs, *, steps: bool) -> Heard:
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

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """Return the modules that are tried under mx.compile."""

    def alone(self, inputs: Inputs, *, steps: bool) -> dict[str, np.ndarray]:
        """Return {tap: array} of isolated modules, each run on given inputs; with `steps`, their inside as well."""
        tapset, modules = self.candidate.tapset, self.candidate.modules
        isolated = tapset.isolated(modules, inputs)
        with lanes.exactly(1), record(self.model, tapset.inner_probes(modules, isolated, steps=steps)) as seen:
            for stream, (name, tap) in zip(turns(len(isolated)), isolated, strict=True):
                given = {number: mx.array(value).astype(self.model.dtype) for number, value in inputs[name].items()}
                lengths = mx.array([next(iter(inputs[name].values())).shape[1]])
                known = {**given, "-": None, "lengths": lengths}
                with mx.stream(stream):
                    output = modules[name](*(known[argument] for argument in tap.isolate))
                mx.async_eval(output)
        return self.inner(seen, isolated)

    def inner(self, seen: Activations, isolated: Sequence[tuple[str, TapSpec]]) -> dict[str, np.ndarray]:
        """Return {tap: array} of what was seen of modules run alone."""
        arrays: dict[str, np.ndarray] = {}
        for name, tap in isolated:
            arrays |= self.candidate.tapset.collect_inner(name, tap, seen, reference=False)
        return arrays
