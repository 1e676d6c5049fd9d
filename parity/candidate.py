"""The candidate: the converted MLX model; takes waveforms, features or one module's inputs and gives taps."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("MLX_ENABLE_TF32", "0")  # before MLX starts: float32 matmul is reduced precision on some GPUs

import numpy as np

from mlx_model import cpu_lanes
from mlx_model.blas import mx
from mlx_model.loading import load
from parity.layers.tap import record
from parity.layers.tapset import ALWAYS, TapSet

# Functions of mlx_model/predictor.py that are held against a float64 loop.
CIF_FUNCTIONS = {"cif.running_sum": "running_sum", "cif.weights": "cif_weights"}


class Candidate:
    """A converted model under test: `frontend`, `network`, `alone` and `recognize` are what is compared.

    Modules are watched with the CPU's lanes off (cpu_lanes.py); `recognize` runs as shipped, and an invariance row
    compares the two.
    """

    def __init__(self, path: str | Path, tapset: TapSet, taps: Sequence[str] = ()):
        self.path = Path(path)
        self.model = load(path)
        names = [name for name, _ in self.model.named_modules()]
        self.tapset = tapset.restricted(taps, names) if taps else tapset
        self.modules = dict(self.model.named_modules())
        self.full_tapset = tapset  # firings and logits are judged whatever else is left out
        self.restricted_to = [module for module, _ in self.tapset.modules(names)] if taps else []
        self._own = list(dict.fromkeys([*self.tapset.probes(names), *ALWAYS]))
        self._cif = [f"predictor@{function}" for function in CIF_FUNCTIONS.values()]

    @property
    def precision(self) -> str:
        """The network's precision as reports name it: float32, float16, bfloat16, or e.g. 8bit."""
        quantization = self.model.config.quantization
        return self.model.config.dtype if quantization is None else f"{quantization['bits']}bit"

    @property
    def checkpoint_sha256(self) -> str | None:
        """The sha256 of the model.pt this was converted from, as the conversion wrote it down."""
        path = self.path / "conversion.json"
        files = json.loads(path.read_text("utf-8")).get("sha256", {}) if path.is_file() else {}
        weights = [digest for name, digest in files.items() if name.endswith((".pt", ".pth", ".bin", ".safetensors"))]
        return weights[0] if len(weights) == 1 else None

    def asked_for(self, tap: str, *, alone: bool = False) -> bool:
        """Return whether a trace's tap is to be compared: all are, unless only some modules were asked for.

        Firings and logits always are, but not in modules run alone.
        """
        if not self.restricted_to or (not alone and tap.startswith(ALWAYS)):
            return True
        return any(f"{tap}.".startswith(f"{module}.") for module in self.restricted_to)

    def frontend(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Return {fbank (1, F, M), feats (1, T, m*M)} of one waveform (S,)."""
        batch = mx.array(waveform)[None]
        feats, _ = self.model.frontend(batch, mx.array([len(waveform)]))
        return {"fbank": np.array(self.model.frontend.fbank(batch)), "feats": np.array(feats)}

    def network(self, feats: np.ndarray) -> dict[str, np.ndarray]:
        """Return {tap: array} of one utterance's features (1, T, m*M), token ids and CIF's inside among them."""
        with cpu_lanes.exactly(1), record(self.model, [*self._own, *self._cif]) as seen:
            output = self.model(mx.array(feats), mx.array([feats.shape[1]]))
            mx.eval(output)
        cif = {name: seen[f"predictor@{function}"][0] for name, function in CIF_FUNCTIONS.items()}
        ids = np.array(self.model.token_ids(output)[0], dtype=np.int32)
        return {**self.full_tapset.collect(seen), **cif, "token_ids": ids}

    def alone(self, inputs: Mapping[str, Mapping[str, np.ndarray]], *, steps: bool) -> dict[str, np.ndarray]:
        """Return {tap: array} of isolated modules, each run on given inputs; with `steps`, their inside as well."""
        arrays: dict[str, np.ndarray] = {}
        isolated = [(name, tap) for name, tap in self.tapset.modules(self.modules) if tap.isolate and name in inputs]
        with record(self.model, self.tapset.inner_probes(self.modules, steps=steps)) as seen:
            for stream, (name, tap) in zip(cpu_lanes.turns(len(isolated)), isolated, strict=True):
                given = {number: mx.array(value).astype(self.model.dtype) for number, value in inputs[name].items()}
                lengths = mx.array([next(iter(inputs[name].values())).shape[1]])
                known = {**given, "-": None, "lengths": lengths}
                with mx.stream(stream):
                    output = self.modules[name](*(known[argument] for argument in tap.isolate))
                mx.async_eval(output)
        for name, tap in isolated:
            arrays |= self.tapset.collect_inner(name, tap, seen, reference=False)
        return arrays

    def recognize(self, waveform: np.ndarray) -> tuple[list[int], str]:
        """Return (token ids, text) of one waveform, on the candidate's own features."""
        ids = self.model.recognize([waveform])[0]
        return ids, self.model.tokenizer.decode(ids)


def product_error() -> float:
    """Return the relative error of one float32 matrix product here: 1e-7 in true float32, 3e-4 with TF32.

    The setting in the environment says what was asked for; this says what happens.
    """
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 256, 256)).astype(np.float32)
    exact = a.astype(np.float64) @ b
    return float(np.linalg.norm(np.array(mx.array(a) @ mx.array(b)) - exact) / np.linalg.norm(exact))
