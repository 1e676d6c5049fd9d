"""The candidate: the converted MLX model; takes waveforms, features or one module's inputs and gives taps.

What is the same for all families. How a family's network is run stands in families/NAME/candidate.py, whose `Candidate`
is a subclass of this one, of `BatchCandidate` (batches.py), or runs in pieces (pieces.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from mlx_model import engines, ops
from mlx_model.engines import lanes
from mlx_model.loading import load
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.device import turns
from mlx_model.machine.kept import kind_of, watching
from parity import facts
from parity.sides.conversion import conversion_of
from parity.taps.tap import Activations, record
from parity.taps.tapset import TapSet, TapSpec
from parity.taps.trace import Trace, TracedUtterance

Arrays = Mapping[str, np.ndarray]
Inputs = Mapping[str, Mapping[str, np.ndarray]]  # {module: {number of the argument: array (1, ...)}}
Facts = dict[str, dict[str, Any]]
LANES = 2  # in which the lanes' column is read, however short an utterance


class CandidateRun(NamedTuple):
    """One utterance on the candidate's side: taps on the reference's features, and what it decides end to end.

    `outcome` is the family's own (token ids, segments); `introduced` holds taps of modules run on given inputs; `own`
    the taps on the candidate's own features, where they were read.
    """

    taps: dict[str, np.ndarray]
    outcome: Any
    introduced: dict[str, np.ndarray]
    own: Arrays = MappingProxyType({})


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
        self.options: dict[str, Any] = {}  # what the trace that it is held against was asked for

    def take(self, plain: Arrays) -> None:  # noqa: B027  most families need nothing
        """Hear of a recording what the trace holds of it, before anything is computed of it."""

    @property
    def rate(self) -> int:
        """The samples a second that the model hears."""
        return self.model.config.frontend.fs

    def given(self, trace: Trace, utterance: TracedUtterance) -> Any:
        """Return what a trace's utterance was made of, as `results` takes it: its waveform (S,)."""
        return trace.waveform(utterance)

    def front(self, plain: Arrays) -> dict[str, np.ndarray]:
        """Return what comes before the network, of what the trace holds of a recording."""
        return self.frontend(plain["waveform"])

    def padding(self, seconds: float) -> tuple[int, str]:
        """Return what stands behind an input as padding, as `results` takes it, and in words."""
        return round(seconds * self.rate), f"{seconds:g} s of zeros after each"

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
        """The network's precision as reports name it: float32, float16, bfloat16, int8, or e.g. 8bit."""
        return self.model.config.precision

    def half(self) -> tuple[str, ...]:
        """Return the precision in which FunASR's own run is the floor for this candidate; none for float32's.

        None for quantised ones either: what they are away from the truth is the rounding of their weights to groups of
        few steps, which no run of FunASR has.
        """
        return () if self.precision not in self.full_tapset.halves else (self.precision,)

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

    def engines(self) -> list[str]:
        """Return the names of the engines that compute this model here for users, best first; none for most."""
        return engines.in_force(self.model)

    def in_stack(self, module: str) -> bool:
        """Return whether a module is one that engines may compute, or within one: a stack, or an LSTM as written."""
        stacks = [
            name for name, each in self.modules.items() if isinstance(each, ops.Stack) or kind_of(each) == "LSTM"
        ]
        return any(f"{module}.".startswith(f"{name}.") for name in stacks)

    def by(self, engine: str) -> AbstractContextManager[None]:
        """Return a context in which one engine computes, step by step; ops.PLAIN is MLX itself."""
        return lanes.exactly(LANES) if engine == lanes.NAME else engines.only(engine)

    def column(self, engine: str, plain: Arrays, inputs: Inputs, *, steps: bool) -> CandidateRun:
        """Return the taps of one utterance's features and of modules on given inputs, as one engine computes them."""
        with self.by(engine):
            return CandidateRun(self.network(plain["feats"]), None, self.introduced(inputs, steps=steps))

    def plainly(self) -> AbstractContextManager[None]:
        """Return a context in which MLX computes, unless an engine was asked for (`by`)."""
        return self.by(ops.PLAIN) if ops.chosen() is None else nullcontext()

    @contextmanager
    def watched(self, probes: Sequence[str], around: Mapping[str, Any] | None = None) -> Iterator[Activations]:
        """Record the model's modules, plain unless an engine was asked for (`by`)."""
        with self.plainly(), record(self.model, probes, around, watching) as seen:
            yield seen

    def introduced(self, inputs: Inputs, *, steps: bool) -> dict[str, np.ndarray]:
        """Return {tap: array} of modules, each run alone on given inputs; with `steps`, their inside as well.

        A module of a stack that an engine computes is given that engine's rows, as in the stack's own call.
        """
        isolated = self.tapset.isolated(self.modules, inputs)
        with self.watched(self.tapset.introduced_probes(self.modules, isolated, steps=steps)) as seen:
            for stream, (name, tap) in zip(turns(len(isolated)), isolated, strict=True):
                given = {number: mx.array(value).astype(self.model.dtype) for number, value in inputs[name].items()}
                lengths = mx.array([next(iter(inputs[name].values())).shape[1]])
                with mx.stream(stream):
                    rows = self._entered(name, given)
                    known = {**rows, "-": None, "lengths": lengths}
                    output = self.modules[name](*(known[argument] for argument in tap.introduced))
                    output = ops.leave(output)
                mx.async_eval(output)
        return self.collected(seen, isolated)

    def _entered(self, name: str, given: Mapping[str, mx.array]) -> dict[str, Any]:
        """Return a module's inputs as its stack gives them to it: rows, where an engine was asked for and takes it."""
        parents = [".".join(name.split(".")[:size]) for size in range(1, name.count(".") + 1)]
        stack = next((self.modules[each] for each in parents if isinstance(self.modules[each], ops.Stack)), None)
        if stack is None:
            return dict(given)
        first: Any = None
        rows: dict[str, Any] = {}
        for number, value in given.items():
            rows[number], _ = ops.enter(value, None, stack, like=first)
            first = rows[number] if first is None else first
        return rows

    def collected(self, seen: Activations, isolated: Sequence[tuple[str, TapSpec]]) -> dict[str, np.ndarray]:
        """Return {tap: array} of what was seen of modules run alone."""
        arrays: dict[str, np.ndarray] = {}
        for name, tap in isolated:
            arrays |= self.tapset.collect_introduced(name, tap, seen, reference=False)
        return arrays
