"""The candidate: the converted MLX model; takes waveforms, features or one module's inputs and gives taps."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

os.environ.setdefault("MLX_ENABLE_TF32", "0")  # before MLX starts: float32 matmul is reduced precision on some GPUs

import numpy as np

from mlx_model import cpu_lanes
from mlx_model.blas import mx
from mlx_model.loading import load
from parity.layers.tap import Activations, record
from parity.layers.tapset import ALWAYS, TapSet, TapSpec

Inputs = Mapping[str, Mapping[str, np.ndarray]]  # {module: {number of the argument: array (1, ...)}}

# Functions of mlx_model/predictor.py that are held against a float64 loop.
CIF_FUNCTIONS = {"cif.running_sum": "running_sum", "cif.weights": "cif_weights"}


class Beside:
    """Calls a module with one more utterance at the end of its batch, and returns what it makes of the others.

    `given` says whether that went: shapes must fit (the truth may have another number of tokens), and no mask be used.
    """

    def __init__(self, arguments: Sequence[str], inputs: Mapping[str, np.ndarray], dtype: mx.Dtype):
        self.arguments, self.inputs, self.dtype, self.given = arguments, inputs, dtype, False

    def __call__(self, call: Callable[..., mx.array], *args: mx.array | None) -> mx.array:
        """Return the module's output for the batch it was called with; `call` is its own."""
        pairs = list(itertools.zip_longest(args, map(self.inputs.get, self.arguments)))
        shapes = [[None if side is None else side.shape[1:] for side in pair] for pair in pairs]
        self.given = all(ours == given for ours, given in shapes)
        if not self.given:
            return call(*args)
        return call(*(arg if arg is None or given is None else self._joined(arg, given) for arg, given in pairs))[:-1]

    def _joined(self, arg: mx.array, given: np.ndarray) -> mx.array:
        return mx.concatenate([arg, mx.array(given).astype(self.dtype)])


class Candidate:
    """A converted model under test: `frontend`, `network` and `alone`, or the last two `at_once`, are what is compared.

    Modules are watched with the CPU's lanes off (cpu_lanes.py); an invariance row compares with them on.
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
        return _first(self._watched(feats)[0])

    def at_once(
        self, feats: np.ndarray, own: np.ndarray, inputs: Inputs, *, steps: bool
    ) -> tuple[dict[str, np.ndarray], list[int], dict[str, np.ndarray]]:
        """Return `network` of the reference's features, the token ids of the candidate's own, and `alone`.

        One run in place of three: a batch of both features, and every isolated module is given the truth's inputs as a
        third utterance. Weights are then read once, which is a third of the time. Where lengths or token counts differ,
        and nothing may be padded, there are separate runs.
        """
        if feats.shape == own.shape:
            isolated = [row for row in self.tapset.isolated(self.modules, inputs) if "lengths" not in row[1].isolate]
            inner = self.tapset.inner_probes(self.modules, isolated, steps=steps)
            beside = {name: Beside(tap.isolate, inputs[name], self.model.dtype) for name, tap in isolated}
            taps, ids, seen = self._watched(np.concatenate([feats, own]), inner, beside)
            if len(set(map(int, taps["predictor.token_num"]))) == 1:
                last = {key: [part[2:] for part in values] for key, values in seen.items()}
                alone = self._inner(last, [row for row in isolated if beside[row[0]].given])
                left = {name: given for name, given in inputs.items() if name not in beside or not beside[name].given}
                return _first(taps), ids[1], alone | self.alone(left, steps=steps)
        return self.network(feats), self._watched(own)[1][0], self.alone(inputs, steps=steps)

    def _watched(
        self, feats: np.ndarray, inner: Sequence[str] = (), around: Mapping[str, Beside] | None = None
    ) -> tuple[dict[str, np.ndarray], list[list[int]], Activations]:
        """Return a batch's taps (token ids of its first utterance), the token ids of each, and all that was seen."""
        with cpu_lanes.exactly(1), record(self.model, [*self._own, *self._cif, *inner], around) as seen:
            output = self.model(mx.array(feats), mx.array([feats.shape[1]] * len(feats)))
            mx.eval(output)
        ids = self.model.token_ids(output)
        cif = {name: seen[f"predictor@{function}"][0] for name, function in CIF_FUNCTIONS.items()}
        return {**self.full_tapset.collect(seen), **cif, "token_ids": np.array([ids[0]], dtype=np.int32)}, ids, seen

    def alone(self, inputs: Inputs, *, steps: bool) -> dict[str, np.ndarray]:
        """Return {tap: array} of isolated modules, each run on given inputs; with `steps`, their inside as well."""
        isolated = self.tapset.isolated(self.modules, inputs)
        with record(self.model, self.tapset.inner_probes(self.modules, isolated, steps=steps)) as seen:
            for stream, (name, tap) in zip(cpu_lanes.turns(len(isolated)), isolated, strict=True):
                given = {number: mx.array(value).astype(self.model.dtype) for number, value in inputs[name].items()}
                lengths = mx.array([next(iter(inputs[name].values())).shape[1]])
                known = {**given, "-": None, "lengths": lengths}
                with mx.stream(stream):
                    output = self.modules[name](*(known[argument] for argument in tap.isolate))
                mx.async_eval(output)
        return self._inner(seen, isolated)

    def _inner(self, seen: Activations, isolated: Sequence[tuple[str, TapSpec]]) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        for name, tap in isolated:
            arrays |= self.tapset.collect_inner(name, tap, seen, reference=False)
        return arrays


def _first(taps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a batch's taps as of its first utterance alone; token ids have no batch axis."""
    return {name: value[0] if name == "token_ids" else value[:1] for name, value in taps.items()}


def product_error() -> float:
    """Return the relative error of one float32 matrix product here: 1e-7 in true float32, 3e-4 with TF32.

    The setting in the environment says what was asked for; this says what happens.
    """
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 256, 256)).astype(np.float32)
    exact = a.astype(np.float64) @ b
    return float(np.linalg.norm(np.array(mx.array(a) @ mx.array(b)) - exact) / np.linalg.norm(exact))
