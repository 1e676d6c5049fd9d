"""The candidate: the converted MLX model; takes waveforms, features or one module's inputs and gives taps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlx_model.loading import load, read_config
from parity import families
from parity.sides.conversion import conversion_of
from parity.sides.runner import Arrays, Heard, Inputs, Runner
from parity.taps.tapset import TapSet, load_tapset


class Candidate:
    """A converted model under test: `frontend`, `network` and `alone`, or the last two `at_once`, are what is compared.

    How they are run is the family's: its `runner`.
    """

    def __init__(self, path: str | Path, tapset: TapSet, taps: Sequence[str] = ()):
        self.path = Path(path)
        self.model = load(path)
        self.modules = dict(self.model.named_modules())
        names = list(self.modules)
        self.tapset = tapset.restricted(taps, names) if taps else tapset
        self.full_tapset = tapset  # what is judged in every run is, whatever else is left out
        self.restricted_to = [module for module, _ in self.tapset.modules(names)] if taps else []
        self.probes = list(dict.fromkeys([*self.tapset.probes(names), *tapset.always]))
        self.family = families.by_name(tapset.family)
        self.runner: Runner = self.family.piece("runner")(self)

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

    def asked_for(self, tap: str, *, alone: bool = False) -> bool:
        """Return whether a trace's tap is to be compared: all are, unless only some modules were asked for.

        Those the tap set judges always are, but not in modules run alone.
        """
        if not self.restricted_to or (not alone and tap.startswith(self.full_tapset.always)):
            return True
        if not alone and self.full_tapset.spec(tap).kind != "module":
            return True
        return any(f"{tap}.".startswith(f"{module}.") for module in self.restricted_to)

    def frontend(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Return {fbank (1, F, M), feats (1, T, m*M)} of one waveform (S,); see Runner, also below."""
        return self.runner.frontend(waveform)

    def network(self, feats: np.ndarray) -> dict[str, np.ndarray]:
        """Return {tap: array} of one utterance's features (1, T, m*M)."""
        return self.runner.network(feats)

    def at_once(self, plain: Arrays, front: Arrays, inputs: Inputs, *, steps: bool) -> Heard:
        """Return all of one utterance: on the reference's `plain` arrays, on the candidate's own, and alone."""
        return self.runner.at_once(plain, front, inputs, steps=steps)

    def alone(self, inputs: Inputs, *, steps: bool) -> dict[str, np.ndarray]:
        """Return {tap: array} of isolated modules, each run on given inputs; with `steps`, their inside as well."""
        return self.runner.alone(inputs, steps=steps)


def tapset_of(path: str | Path) -> TapSet:
    """Return the tap set of a converted directory's family.

    Raises:
        UsageError: the family cannot be compared.
    """
    return load_tapset(families.by_name(read_config(Path(path)).get("model_type")).name)
