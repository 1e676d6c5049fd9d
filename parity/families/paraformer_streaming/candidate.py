"""A converted ParaformerStreaming under test: front end, network and modules window by window. Imports no torch.

It runs as FunASR (`as_funasr`). Windows are those that FunASR's loop made of the recording (`windows.feats` of a
trace), so that a difference in cutting does not hide the rest; end to end the model cuts the recording itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from mlx_model.config.chunking import Chunking
from mlx_model.engines import lanes as cpu_lanes
from mlx_model.machine.blas import mx, nn
from mlx_model.models.paraformer_streaming import Step
from mlx_model.parts import cif_chunk
from mlx_model.parts.kept_keys import unpacked
from mlx_model.pipelines.streams import TextStream
from parity.families.paraformer_streaming import cases, isolated
from parity.families.paraformer_streaming.chunking import SAMPLES, TURNS, asked, of_numbers, samples_of
from parity.sides import candidate
from parity.sides.candidate import Arrays, CandidateRun, Facts, Inputs
from parity.sides.pieces import joined, pieces
from parity.taps.swap import swapped
from parity.taps.tap import CARRIED, to_numpy


class Outcome(NamedTuple):
    """What a candidate decides of a recording from the waveform on."""

    ids: list[int]
    calls: list[str]  # the text of each call
    windows: list[int]  # new frames of each window
    logits: list[np.ndarray]  # of each window with tokens


class Candidate(candidate.Candidate):
    """Taps, firings and tokens of a ParaformerStreaming, in the setting of the recording it was given last."""

    def take(self, plain: Arrays) -> None:
        """Hear a recording in the setting, and in the windows, that FunASR heard it in."""
        self.plain = plain

    @property
    def setting(self) -> Chunking:
        """How the recording is cut; the first of TURNS before there is one."""
        return of_numbers(self.plain["chunking"]) if hasattr(self, "plain") else TURNS[0]

    @property
    def own_options(self) -> Any:
        """The setting as the model's own options."""
        return self.model.Options(**asked(self.setting), as_funasr=True)

    # ---- what is compared

    def frontend(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Return fbank (1, F, M) and feats (1, T, m*M), in chunks, and what the front end keeps after each."""
        cache, front = self.model.frontend.new_cache(), self.model.frontend
        feats: list[np.ndarray] = []
        kept: list[dict[str, list[np.ndarray]]] = []
        for piece, final in cut(waveform, samples_of(self.setting)):
            if not final or len(piece) >= SAMPLES:  # else FunASR does not look at it
                new, cache = front.chunk(piece, cache, is_final=final)
                feats.append(np.array(new)[None])
            if cache.logmel is not None:
                left = [np.array(cache.logmel)[None]]
                kept.append({"frontend.samples": [np.array(cache.samples)[None]], "frontend.frames": left})
        fbank = np.array(front.fbank(mx.array(waveform)[None]))[:, : self.plain["fbank"].shape[1]]
        carried = {name: values[0] for name, values in joined(kept).items()}
        return {"fbank": fbank, "feats": np.concatenate(feats, axis=1), **carried}

    def network(self, feats: np.ndarray) -> dict[str, np.ndarray]:
        """Return {tap: array} of one utterance's features (1, T, m*M), window by window."""
        cache = self.model.new_cache(self.setting, as_funasr=True)
        counts = self.plain["windows.feats"].tolist()
        stops = np.cumsum(counts)
        calls: list[dict[str, Any]] = []
        steps: list[Step] = []
        with self.watched(self.probes) as seen:
            for number, (count, stop) in enumerate(zip(counts, stops, strict=True)):
                final = number == len(counts) - 1
                given = mx.array(feats[0, stop - count : stop])
                (step,) = self.model.step([given], [cache], [final])
                cache = step.cache
                steps.append(step)
                calls.append({**dict(seen), **self._carried(step), "predictor": isolated.cif(step.fired, step.alphas)})
                seen.clear()
        taps = self.full_tapset.collect(joined([settled(call) for call in calls]))
        ids = [token for step in steps for token in step.token_ids]
        taps |= {"windows.lengths": _ints([len(step.encoder_out) for step in steps])}
        return taps | {"windows.tokens": _ints([len(step.tokens) for step in steps]), "token_ids": _ints(ids)[None]}

    def _carried(self, step: Step) -> dict[str, list[Any]]:
        """Return what a stream keeps after a window, by the module whose past it is; all (1, T, D)."""
        encoder, decoder = step.cache.encoder, step.cache.decoder
        found = {f"encoder@{CARRIED}": [encoder.feats[None]]}
        keys = unpacked(encoder.keys, self.model.dtype)
        if keys is not None:
            names = self._names(self.model.encoder.layers)
            for name, k, v in zip(names, keys.k, keys.v, strict=True):
                found[f"{name}.self_attn@{CARRIED}"] = [k[None], v[None]]
        if decoder is not None:
            names = self._names(self.model.decoder.streamed(as_funasr=True))
            for name, past in zip(names, decoder.inputs, strict=False):  # a layer that is left out keeps nothing
                found[f"{name}.self_attn@{CARRIED}"] = [past[None]]
            memory = unpacked(decoder.keys, self.model.dtype)
            each = [] if memory is None else zip(names, memory.k, memory.v, strict=False)
            found |= {f"{name}.src_attn@{CARRIED}": [k[None], v[None]] for name, k, v in each}
        return found

    def _names(self, layers: Sequence[nn.Module]) -> list[str]:
        """Return the names of layers in the order they run."""
        known = {id(module): name for name, module in self.modules.items()}
        return [known[id(layer)] for layer in layers]

    def run(self, plain: Arrays, front: Arrays, inputs: Inputs, *, steps: bool) -> CandidateRun:
        """Return the network on the reference's windows, the token ids of the recording, and modules run alone."""
        outcome = self.heard(plain["waveform"], self.own_options, samples_of(self.setting))
        return CandidateRun(self.network(plain["feats"]), outcome, self.introduced(inputs, steps=steps))

    def heard(self, waveform: np.ndarray, options: Any, feed: int) -> Outcome:
        """Return what a stream makes of a recording that it is given so many samples of at a time."""
        stream, outcome = TextStream(self.model, options), Outcome([], [], [], [])
        with swapped(self.model, step=_noting(type(self.model).step, outcome)):
            for first in range(0, max(len(waveform), 1), feed):
                piece = waveform[first : first + feed]
                for partial in stream.feed(piece, is_final=first + feed >= len(waveform)):
                    outcome.calls.append(partial.text)
                    outcome.ids.extend(partial.token_ids)
        return outcome

    def more_facts(self) -> Facts:
        """Return which windows a stream makes of odd lengths, and where CIF fires on weights of a half."""
        options = self.model.Options(**asked(cases.CHUNKING), as_funasr=True)
        windows = {
            name: self.heard(waveform, options, len(waveform)).windows for name, waveform in cases.waveforms().items()
        }
        carry, found = cif_chunk.new_carry(1, np.float32), []
        for frames, final in ((cases.FRAMES, False), (cases.LAST, True)):
            decided = cases.CHUNKING.decided(frames, final=final)
            alphas = np.full(frames, 0.5, np.float32)[decided]
            tail = self.model.predictor.tail_threshold if final else None
            fired = cif_chunk.integrate(np.zeros((len(alphas), 1), np.float32), alphas, carry, tail=tail)
            carry = fired.carry
            found.append(isolated.cif(fired, alphas)[3][0])
        return cases.facts(windows, found)

    def introduced(self, inputs: Inputs, *, steps: bool) -> dict[str, np.ndarray]:
        """Return {tap: array} of modules run alone on given inputs, window by window, each with a past of its own."""
        arrays: dict[str, np.ndarray] = {}
        found = self.tapset.isolated(self.modules, inputs)
        with self.watched(self.tapset.introduced_probes(self.modules, found, steps=steps)) as seen:
            for name, tap in found:
                calls = []
                for carried in isolated.runs(self, name, self._windows(name, inputs[name])):
                    calls.append({**dict(seen), **carried})
                    seen.clear()
                arrays |= self.tapset.collect_introduced(name, tap, joined(list(map(settled, calls))), reference=False)
        return arrays

    def _windows(self, name: str, inputs: Mapping[str, np.ndarray]) -> list[isolated.Window]:
        """Return a module's inputs window by window; the decoder's are those windows that have tokens."""
        lengths, tokens = self.plain["windows.lengths"], self.plain["windows.tokens"]
        in_decoder = name.startswith("decoder")
        sizes = {"0": tokens if in_decoder else lengths, "1": np.where(tokens > 0, lengths, 0)}
        cuts = {number: list(pieces(sizes[number])) for number in inputs}
        last = len(lengths) - 1
        rows = [row for row in range(len(lengths)) if not in_decoder or tokens[row]]
        return [
            isolated.Window(
                {number: mx.array(value[:, slice(*cuts[number][place])]).astype(self.model.dtype)
                 for number, value in inputs.items()},
                row == last,
            )
            for place, row in enumerate(rows)
        ]  # fmt: skip

    # ---- what is held against itself

    def results(self, waveforms: Sequence[np.ndarray], *, lanes: int | None = 1, padding: int = 0) -> list[np.ndarray]:
        """Return each waveform's scores (U, V); windows of many are computed side by side."""
        with nullcontext() if lanes is None else cpu_lanes.exactly(lanes):
            output = self.model(*self.model.features(waveforms), self.own_options)
            return self.model.logits_of(output)

    def streamed(self, waveforms: Sequence[np.ndarray], feed: int) -> list[np.ndarray]:
        """Return each waveform's scores, of a stream that is given so many samples at a time."""
        found = [self.heard(waveform, self.own_options, feed).logits for waveform in waveforms]
        empty = np.zeros((0, self.model.config.vocab_size), np.float32)
        return [np.concatenate([empty, *logits]) for logits in found]

    def on_engine(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """Return each waveform's scores by the CPU engine; None where it does not compute."""
        if "CPU engine" not in self.engines():
            return None
        return [self.results([waveform], lanes=None)[0] for waveform in waveforms]

    def parts(self) -> list[nn.Module]:
        """Return encoder, predictor and decoder: the front end stays float32."""
        return [self.model.encoder, self.model.predictor, self.model.decoder]


def _noting(step: Any, outcome: Outcome) -> Any:
    """Return a model's `step` that notes the length of each window, and its scores."""

    def noting(self: Any, feats: Any, caches: Any, final: Any) -> Any:
        found = step(self, feats, caches, final)
        outcome.windows.extend(map(len, feats))
        outcome.logits.extend(np.array(one.logits.astype(mx.float32)) for one in found if one.logits is not None)
        return found

    return noting


def cut(waveform: np.ndarray, stride: int) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield chunks of a recording, and whether each is the last, which has less than a whole one, or nothing."""
    whole = len(waveform) // stride
    for number in range(whole + 1):
        yield waveform[number * stride : (number + 1) * stride], number == whole


def settled(call: Mapping[str, Sequence[Any]]) -> dict[str, list[np.ndarray]]:
    """Return what was seen in one window as numpy: of a layer, what it returns and not what it keeps."""
    kept = {
        name: value if name == "predictor" or name.endswith(f"@{CARRIED}") else value[:1]
        for name, value in call.items()
    }
    return {name: [to_numpy(array) for array in value] for name, value in kept.items()}


def _ints(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.int32)
