"""What all recorders share: both precisions of one FunASR model, tapped, on its own and on given inputs.

Runs in reference.py's process, beside torch; must not import MLX. Each family's own recorder stands in
parity/families/NAME/recorder.py.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from parity.taps.packing import Pair
from parity.taps.tap import ARGS
from parity.taps.tap import record as tapped
from parity.taps.tapset import TapSet
from parity.taps.trace import Recorded


class Recorder(ABC):
    """Both precisions of one FunASR model, and what is recorded of them; `single` and `double` are AutoModels."""

    def __init__(self, single: Any, double: Any, tapset: TapSet, taps: Sequence[str], steps: bool):
        self.single, self.double = single, double
        names = [name for name, _ in self.single.model.named_modules()]
        self.tapset = tapset.restricted(taps, names) if taps else tapset
        self.isolated = self.tapset.isolated(names, names)
        self.inner = self.tapset.inner_probes(names, self.isolated, steps=steps)
        self.probes = list(dict.fromkeys([*self.tapset.probes(names, args=True), *tapset.always]))
        self.collecting = tapset

    @abstractmethod
    def utterance(self, path: str) -> tuple[dict[str, Any], Recorded]:
        """Return the row (what TracedUtterance has: duration, text, token ids, ...) and the arrays of one file."""

    @abstractmethod
    def structure(self) -> dict[str, dict[str, Any]]:
        """Return what distances could miss, {fact: {module: value}}; the outcomes read the same off the candidate."""

    @abstractmethod
    def facts(self, paths: Sequence[str]) -> dict[str, Any]:
        """Return what else the trace says of the reference, over all its files."""

    def inside(self, module: str) -> list[str]:
        """Return what is recorded of an isolated module: itself and its steps."""
        return [probe for probe in self.inner if probe.startswith((f"{module}.", f"{module}@")) or probe == module]

    def exactly(self) -> contextlib.AbstractContextManager[None]:
        """Let the float64 model be exact where FunASR would round; nothing by default."""
        return contextlib.nullcontext()

    def _alone(self, seen: dict[str, Any]) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Pair]]:
        """Return (inputs, {tap: (float64, float32)}) of every isolated module on the truth's inputs, in float32."""
        inputs: dict[str, dict[str, np.ndarray]] = {}
        alone: dict[str, Pair] = {}
        for module, tap in self.isolated:
            if f"{module}@{ARGS}" not in seen:
                continue  # it did not run: no token, so no decoder
            args, kwargs = seen[f"{module}@{ARGS}"]
            given = {number: args[int(number)].astype(np.float32) for number in tap.isolate if number.isdigit()}
            args = tuple(given.get(str(number), value) for number, value in enumerate(args))
            truth, single = (self._call(auto, module, tap, args, kwargs) for auto in (self.double, self.single))
            kept = [name for name in truth if not self.tapset.is_discrete(name)]
            alone |= {name: Pair.of(truth[name], single[name]) for name in kept}
            inputs[module] = given
        return inputs, alone

    def _call(self, auto: Any, module: str, tap: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        import torch

        dtype = next(auto.model.parameters()).dtype

        def tensor(value: Any) -> Any:
            if not isinstance(value, np.ndarray):
                return value
            made = torch.from_numpy(value.copy())
            return made.to(dtype) if made.is_floating_point() else made

        inside = self.inside(module)
        exact = self.exactly() if dtype == torch.float64 else contextlib.nullcontext()
        with exact, tapped(auto.model, inside) as seen, torch.inference_mode():
            auto.model.get_submodule(module)(*map(tensor, args), **{key: tensor(v) for key, v in kwargs.items()})
        return self.tapset.collect_inner(module, tap, seen, reference=True)


@contextlib.contextmanager
def fbank_tap() -> Iterator[list[Any]]:
    """Catch, call by call, what FunASR's front end gets from its fbank back end, which is a function, not a module."""
    from funasr.frontends import wav_frontend

    original, seen = wav_frontend.kaldi.fbank, []

    def fbank(*args: Any, **kwargs: Any) -> Any:
        seen.append(original(*args, **kwargs))
        return seen[-1].clone()  # LFR and CMVN write in place

    wav_frontend.kaldi.fbank = fbank
    try:
        yield seen
    finally:
        wav_frontend.kaldi.fbank = original
