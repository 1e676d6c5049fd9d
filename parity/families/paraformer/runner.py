"""A converted Paraformer under test: its features, its network, its batches. Imports no torch."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mlx_model import engines, ops
from mlx_model.engines import lanes as cpu_lanes
from mlx_model.machine.blas import mx, nn
from mlx_model.models.paraformer import Model
from parity.sides.runner import Arrays, Heard, Inputs, Runner
from parity.taps.tap import Activations, record

# Functions of mlx_model/parts/cif.py that are held against a float64 loop.
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


class ParaformerRunner(Runner):
    """Taps and token ids of a Paraformer. Modules are watched with the CPU's engine and lanes off (lanes.py)."""

    def frontend(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Return {fbank (1, F, M), feats (1, T, m*M)} of one waveform (S,)."""
        batch = mx.array(waveform)[None]
        feats, _ = self.model.frontend(batch, mx.array([len(waveform)]))
        return {"fbank": np.array(self.model.frontend.fbank(batch)), "feats": np.array(feats)}

    def network(self, feats: np.ndarray) -> dict[str, np.ndarray]:
        """Return {tap: array} of one utterance's features (1, T, m*M), token ids and CIF's inside among them."""
        return _first(self._watched(feats)[0])

    def at_once(self, plain: Arrays, front: Arrays, inputs: Inputs, *, steps: bool) -> Heard:
        """Return `network` of the reference's features, the token ids of the candidate's own, and `alone`.

        One run in place of three: a batch of both features, and every isolated module is given the truth's inputs as a
        third utterance. Weights are then read once, which is a third of the time. Where lengths or token counts differ,
        and nothing may be padded, there are separate runs.
        """
        candidate, feats, own = self.candidate, plain["feats"], front["feats"]
        if feats.shape == own.shape:
            tapset, modules = candidate.tapset, candidate.modules
            isolated = [row for row in tapset.isolated(modules, inputs) if "lengths" not in row[1].isolate]
            inner = tapset.inner_probes(modules, isolated, steps=steps)
            beside = {name: Beside(tap.isolate, inputs[name], self.model.dtype) for name, tap in isolated}
            taps, ids, seen = self._watched(np.concatenate([feats, own]), inner, beside)
            if len(set(map(int, taps["predictor.token_num"]))) == 1:
                last = {key: [part[2:] for part in values] for key, values in seen.items()}
                alone = self.inner(last, [row for row in isolated if beside[row[0]].given])
                left = {name: given for name, given in inputs.items() if name not in beside or not beside[name].given}
                return Heard(_first(taps), ids[1], alone | candidate.alone(left, steps=steps))
        return Heard(self.network(feats), self._watched(own)[1][0], candidate.alone(inputs, steps=steps))

    def _watched(
        self, feats: np.ndarray, inner: Sequence[str] = (), around: Mapping[str, Beside] | None = None
    ) -> tuple[dict[str, np.ndarray], list[list[int]], Activations]:
        """Return a batch's taps (token ids of its first utterance), the token ids of each, and all that was seen."""
        cif = [f"predictor@{function}" for function in CIF_FUNCTIONS.values()]
        with cpu_lanes.exactly(1), record(self.model, [*self.candidate.probes, *cif, *inner], around) as seen:
            output = self.model(mx.array(feats), mx.array([feats.shape[1]] * len(feats)))
            mx.eval(output)
        ids = self.model.token_ids(output)
        inside = {name: seen[f"predictor@{function}"][0] for name, function in CIF_FUNCTIONS.items()}
        taps = {**self.candidate.full_tapset.collect(seen), **inside, "token_ids": np.array([ids[0]], dtype=np.int32)}
        return taps, ids, seen

    def results(self, waveforms: Sequence[np.ndarray], *, lanes: int = 1, padding: int = 0) -> list[np.ndarray]:
        """Return each waveform's logits (U, V), decoded as one batch."""
        return self._results(waveforms, lanes, padding)

    def on_engine(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """Return each waveform's logits by the CPU engine; None where it does not compute (engines/cpu_rows.py)."""
        if "CPU engine" not in engines.in_force(self.model):
            return None
        return [self._results([waveform], None, 0)[0] for waveform in waveforms]

    def fused(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """Return each waveform's logits by the GPU's path, as one batch; None where it does not compute."""
        return self._results(waveforms, None, 0) if ops.ahead(self.model) is not None else None

    def _results(self, waveforms: Sequence[np.ndarray], lanes: int | None, padding: int) -> list[np.ndarray]:
        model: Model = self.model
        samples = [len(waveform) for waveform in waveforms]
        size = max(samples) + padding
        block = np.stack([np.pad(waveform, (0, size - len(waveform))) for waveform in waveforms]).astype(np.float32)
        with contextlib.nullcontext() if lanes is None else cpu_lanes.exactly(lanes):
            output = model(*model.frontend(mx.array(block), mx.array(samples)))
            logits = np.array(output.logits.astype(mx.float32))
        return [logits[i, :count] for i, count in enumerate(np.array(output.token_num).tolist())]

    def parts(self) -> list[nn.Module]:
        """Return encoder, predictor and decoder: the front end stays float32."""
        return [self.model.encoder, self.model.predictor, self.model.decoder]

    def blocks(self) -> list[nn.Module]:
        """Return the encoder's blocks of equal width."""
        return list(self.model.encoder.encoders)


def _first(taps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a batch's taps as of its first utterance alone; token ids have no batch axis."""
    return {name: value[0] if name == "token_ids" else value[:1] for name, value in taps.items()}
