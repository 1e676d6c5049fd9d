"""A candidate whose network takes a padded batch: one run per utterance gives propagated and introduced error alike."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from mlx_model import ops
from mlx_model.engines import lanes as cpu_lanes
from mlx_model.machine.blas import mx
from parity.sides.candidate import Arrays, Candidate, CandidateRun, Inputs
from parity.taps.tap import Activations


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


class BatchCandidate(Candidate):
    """Taps and token ids of a model that is called with features (B, T, m*M) and lengths (B,)."""

    PER_TOKEN: ClassVar[str] = ""  # the tap whose values count an utterance's tokens, where rows are not frames
    FUNCTIONS: ClassVar[Mapping[str, str]] = {}  # {tap: probe} of functions inside modules that are compared as well

    def forward(self, feats: mx.array, lengths: mx.array) -> Any:
        """Return the model's output, from which `scores` and `ids` are read."""
        return self.model(feats, lengths)

    def scores(self, output: Any) -> tuple[mx.array, list[int]]:
        """Return the scores (B, U, V) whose arg-max decides, and how many of each utterance count."""
        return output.logits, output.token_num.tolist()

    def ids(self, output: Any) -> list[list[int]]:
        """Return each utterance's token ids."""
        return self.model.token_ids(output)

    def frontend(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Return {fbank (1, F, M), feats (1, T, m*M)} of one waveform (S,)."""
        batch = mx.array(waveform)[None]
        feats, _ = self.model.frontend(batch, mx.array([len(waveform)]))
        return {"fbank": np.array(self.model.frontend.fbank(batch)), "feats": np.array(feats)}

    def network(self, feats: np.ndarray) -> dict[str, np.ndarray]:
        """Return {tap: array} of one utterance's features (1, T, m*M), token ids among them."""
        return _only(0, self._watched(feats)[0])

    def run(self, plain: Arrays, front: Arrays, inputs: Inputs, *, steps: bool) -> CandidateRun:
        """Return `network` of the reference's features, the token ids of the candidate's own, and `introduced`.

        One run in place of three: a batch of both features, and every module that is run alone is given the truth's
        inputs as a third utterance. Weights are then read once, which is a third of the time. Where lengths or token
        counts differ, and nothing may be padded, there are separate runs.
        """
        feats, own = plain["feats"], front["feats"]
        if feats.shape == own.shape:
            isolated = [row for row in self.tapset.isolated(self.modules, inputs) if "lengths" not in row[1].introduced]
            inside = self.tapset.introduced_probes(self.modules, isolated, steps=steps)
            beside = {name: Beside(tap.introduced, inputs[name], self.model.dtype) for name, tap in isolated}
            taps, ids, seen = self._watched(np.concatenate([feats, own]), inside, beside)
            if not self.PER_TOKEN or len(set(map(int, taps[self.PER_TOKEN]))) == 1:
                last = {key: [part[2:] for part in values] for key, values in seen.items()}
                introduced = self.collected(last, [row for row in isolated if beside[row[0]].given])
                left = {name: given for name, given in inputs.items() if name not in beside or not beside[name].given}
                return CandidateRun(
                    _only(0, taps), ids[1], introduced | self.introduced(left, steps=steps), _only(1, taps)
                )
        taps, ids, _ = self._watched(own)
        return CandidateRun(self.network(feats), ids[0], self.introduced(inputs, steps=steps), _only(0, taps))

    def _watched(
        self, feats: np.ndarray, inside: Sequence[str] = (), around: Mapping[str, Beside] | None = None
    ) -> tuple[dict[str, np.ndarray], list[list[int]], Activations]:
        """Return a batch's taps (token ids of its first utterance), the token ids of each, and all that was seen."""
        probes = [*self.probes, *self.FUNCTIONS.values(), *inside]
        with self.watched(probes, around) as seen:
            output = self.forward(mx.array(feats), mx.array([feats.shape[1]] * len(feats)))
            mx.eval(output)
        ids = self.ids(output)
        functions = {name: seen[probe][0] for name, probe in self.FUNCTIONS.items()}
        taps = {**self.full_tapset.collect(seen), **functions, "token_ids": np.array([ids[0]], dtype=np.int32)}
        return taps, ids, seen

    def results(self, waveforms: Sequence[np.ndarray], *, lanes: int = 1, padding: int = 0) -> list[np.ndarray]:
        """Return each waveform's scores (U, V), decoded as one batch."""
        return self._results(waveforms, lanes, padding)

    def on_engine(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """Return each waveform's scores by the CPU engine; None where it does not compute (engines/cpu_rows.py)."""
        if "CPU engine" not in self.engines():
            return None
        return [self._results([waveform], None, 0)[0] for waveform in waveforms]

    def fused(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """Return each waveform's scores by the GPU's path, as one batch; None where it does not compute."""
        return self._results(waveforms, None, 0) if ops.ahead(self.model) is not None else None

    def _results(self, waveforms: Sequence[np.ndarray], lanes: int | None, padding: int) -> list[np.ndarray]:
        samples = [len(waveform) for waveform in waveforms]
        size = max(samples) + padding
        block = np.stack([np.pad(waveform, (0, size - len(waveform))) for waveform in waveforms]).astype(np.float32)
        with contextlib.nullcontext() if lanes is None else cpu_lanes.exactly(lanes):
            scores, counts = self.scores(self.forward(*self.model.frontend(mx.array(block), mx.array(samples))))
            scores = np.array(scores.astype(mx.float32))
        return [scores[i, :count] for i, count in enumerate(counts)]


def _only(number: int, taps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a batch's taps as of one utterance alone; token ids are those of the first, and have no batch axis."""
    return {name: value[0] if name == "token_ids" else value[number : number + 1] for name, value in taps.items()}
