"""A converted CTTransformer under test: network and modules window by window, and what it says of a text. No torch.

It runs as FunASR (`as_funasr`). Windows are those that FunASR made of the text (`windows` of a trace), so that a
difference in cutting does not hide the rest; end to end the model splits and cuts the text itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mlx_model import ops
from mlx_model.decoding.mini_sentences import padded
from mlx_model.engines import lanes as cpu_lanes
from mlx_model.machine.blas import mx, nn
from parity.families.ct_transformer import cases
from parity.families.ct_transformer.cases import Made, calls_of
from parity.sides import candidate
from parity.sides.candidate import Arrays, CandidateRun, Facts, Inputs
from parity.sides.pieces import joined, pieces
from parity.taps.swap import swapped
from parity.taps.tap import to_numpy
from parity.taps.trace import Trace, TracedUtterance

SPARE_WORDS = 20  # behind each text where padding must not matter


class Outcome(NamedTuple):
    """What a candidate makes of a text, call by call; of all windows how many words each has, and the ids of those."""

    words: list[list[str]]
    ids: list[list[int]]
    windows: list[int]
    read: list[int]
    punctuation: list[list[int]]
    texts: list[str]


class Candidate(candidate.Candidate):
    """Taps and marks of a CTTransformer, in the windows of the text it was given last."""

    STREAM: ClassVar[bool] = False

    def take(self, plain: Arrays) -> None:
        """Hear of a text in the windows that FunASR read it in."""
        self.plain = plain

    def given(self, trace: Trace, utterance: TracedUtterance) -> Any:
        """Return the text."""
        return utterance.more["given"]

    def padding(self, seconds: float) -> tuple[int, str]:
        """Return how many words stand behind a text as padding."""
        return SPARE_WORDS, f"{SPARE_WORDS} words of padding after each"

    @property
    def own_options(self) -> Any:
        """A run's options as the model's own."""
        return self.model.Options(**self.options)

    # ---- what is compared

    def front(self, plain: Arrays) -> dict[str, np.ndarray]:
        """Return nothing: words and ids are compared as such."""
        return {}

    def frontend(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Return nothing; see `front`."""
        return {}

    def network(self, feats: np.ndarray) -> dict[str, np.ndarray]:
        """Return {tap: array} of a text's ids (1, T), window by window."""
        calls = []
        with self.watched(self.probes) as seen:
            for number, (first, stop) in enumerate(pieces(self.plain["windows"])):
                mx.eval(self.scores(mx.array(feats[:, first:stop]), number))
                calls.append(settled(seen))
                seen.clear()
        return self.full_tapset.collect(joined(calls))

    def scores(self, ids: mx.array, number: int) -> mx.array:
        """Return the logits (1, T, P) of one window's ids, the trace's window of that number."""
        return self.model.logits(ids, mx.array([ids.shape[1]], dtype=mx.int32))

    def run(self, plain: Arrays, front: Arrays, inputs: Inputs, *, steps: bool) -> CandidateRun:
        """Return the network on the reference's windows, what the text becomes, and modules run alone."""
        text = plain["text"].tobytes().decode()
        outcome = self.said(calls_of(text, self.STREAM))
        return CandidateRun(self.network(plain["feats"]), outcome, self.introduced(inputs, steps=steps))

    def said(self, calls: Sequence[str]) -> Outcome:
        """Return what the model makes of a text's calls."""
        outcome = Outcome([], [], [], [], [], [])
        with self.plainly(), swapped(self.model, logits=_noting(type(self.model).logits, outcome)):
            for found in self.results_of(calls):
                outcome.punctuation.append([*map(int, found.punctuation)])
                outcome.texts.append(found.text)
        outcome.words.extend(self.model.words_of(call, as_funasr=True) for call in calls)
        outcome.ids.extend(self.model.ids_of(words, as_funasr=True).tolist() for words in outcome.words)
        return outcome

    def results_of(self, calls: Sequence[str]) -> list[Any]:
        """Return the model's own result of each call, one after the other."""
        return [self.model.punctuate([call], self.own_options, as_funasr=True)[0] for call in calls]

    def introduced(self, inputs: Inputs, *, steps: bool) -> dict[str, np.ndarray]:
        """Return {tap: array} of modules run alone on given inputs, window by window."""
        arrays: dict[str, np.ndarray] = {}
        found = self.tapset.isolated(self.modules, inputs)
        with self.watched(self.tapset.introduced_probes(self.modules, found, steps=steps)) as seen:
            for name, tap in found:
                calls = []
                for number, (first, stop) in enumerate(pieces(self.plain["windows"])):
                    given = mx.array(inputs[name]["0"][:, first:stop]).astype(self.model.dtype)
                    rows = self._entered(name, {"0": given})["0"]
                    mx.eval(ops.leave(self.modules[name](rows, *self.masks(name, stop - first, number))))
                    calls.append(settled(seen))
                    seen.clear()
                arrays |= self.tapset.collect_introduced(name, tap, joined(calls), reference=False)
        return arrays

    def masks(self, name: str, words: int, number: int) -> tuple[Any, ...]:
        """Return what a module is given beside its input in a window: nothing, where all words see all."""
        return ()

    def more_facts(self) -> Facts:
        """Return what the model makes of the marks of cases.py."""
        made: dict[str, Made] = {}
        for case in cases.cases(self.model.tokenizer.tokens, self.model.config.marks.punc_list, self.STREAM):
            with swapped(self.model, logits=_made_up):
                said = self.said(case.calls)
            made[case.name] = Made(
                words=[word for call in said.words for word in call],
                ids=[number for call in said.ids for number in call],
                read=said.read,
                windows=said.windows,
                punctuation=[mark for call in said.punctuation for mark in call],
                texts=said.texts,
            )
        return cases.facts(made)

    # ---- what is held against itself

    def results(self, waveforms: Sequence[Any], *, lanes: int | None = 1, padding: int = 0) -> list[np.ndarray]:
        """Return each text's scores (T, P), read as one window; all texts as one batch."""
        words = [self.model.words_of(text, as_funasr=True) for text in waveforms]
        ids = [self.model.ids_of(each, as_funasr=True) for each in words]
        rows = np.pad(padded(ids), ((0, 0), (0, padding)))
        sizes = [len(each) for each in ids]
        with nullcontext() if lanes is None else cpu_lanes.exactly(lanes):
            scores = self.model.logits(mx.array(rows), mx.array(sizes, dtype=mx.int32))
            found = np.array(scores.astype(mx.float32))
        return [each[:size] for each, size in zip(found, sizes, strict=True)]

    def on_engine(self, waveforms: Sequence[Any]) -> list[np.ndarray] | None:
        """Return each text's scores by the CPU engine; None where it does not compute."""
        if "CPU engine" not in self.engines():
            return None
        return [self.results([text], lanes=None)[0] for text in waveforms]

    def fused(self, waveforms: Sequence[Any]) -> list[np.ndarray] | None:
        """Return each text's scores by the GPU's path, as one batch; None where it does not compute."""
        return self.results(waveforms, lanes=None) if ops.ahead(self.model) is not None else None

    def parts(self) -> list[nn.Module]:
        """Return the whole network."""
        return [self.model.embed, self.model.encoder, self.model.decoder]

    def blocks(self) -> list[nn.Module]:
        """Return the encoder's blocks of equal width."""
        return [*self.model.encoder.encoders]


def _noting(logits: Any, outcome: Outcome) -> Any:
    """Return a model's `logits` that notes the ids and the length of each window."""

    def noting(self: Any, ids: mx.array, lengths: mx.array, *more: Any) -> mx.array:
        for row, size in zip(np.array(ids), lengths.tolist(), strict=True):  # pyright: ignore[reportArgumentType]
            outcome.read.extend(map(int, row[:size]))
            outcome.windows.append(int(size))
        return logits(self, ids, lengths, *more)

    return noting


def _made_up(self: Any, ids: mx.array, lengths: mx.array, *more: Any) -> mx.array:
    """Return scores in which a word's mark follows from its id."""
    marks = len(self.config.marks.punc_list)
    return mx.array(cases.scores(np.array(ids), marks))


def settled(seen: Mapping[str, Sequence[Any]]) -> dict[str, list[np.ndarray]]:
    """Return what was seen in one window as numpy: of a module, its first output."""
    return {name: [to_numpy(array) for array in value[:1]] for name, value in seen.items()}
