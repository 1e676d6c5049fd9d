"""A converted MonotonicAligner under test: taps, the second head's firings, times of tokens."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mlx_model.decoding import forced_alignment
from mlx_model.machine.blas import mx, nn
from mlx_model.parts.integrals import PEAK
from parity.families.bicif_paraformer.candidate import second_firings, told
from parity.sides import peak_cases
from parity.sides.batches import BatchCandidate
from parity.sides.candidate import Arrays, CandidateRun, Inputs

CHARACTER = "\u4e00"  # of such tokens every one is a word, so that words' times are tokens'
FRAMES = 3  # of the second head, to one of the encoder


class Outcome(NamedTuple):
    """Times of each token of a text, (U, 2), in ms, and FunASR's [word, start, end] of its words."""

    times: np.ndarray
    words: list[list[Any]]


class Candidate(BatchCandidate):
    """Taps and times of a MonotonicAligner. Of a text the network is told the number of tokens alone."""

    def __init__(self, *given: Any, **options: Any):
        super().__init__(*given, **options)
        self._tokens: dict[bytes, int] = {}  # by features: tokens of the text that belongs to them

    def forward(self, feats: mx.array, lengths: mx.array) -> Any:
        """Return the model's output, for four tokens a second."""
        return self.model(
            feats,
            lengths,
            mx.array([forced_alignment.asked_for(length // 4) for length in map(int, np.array(lengths))]),
        )

    def aligned(self, feats: np.ndarray, tokens: int) -> Any:
        """Return the model's output for one utterance's features and so many tokens."""
        return self.model(mx.array(feats), mx.array([feats.shape[1]]), mx.array([forced_alignment.asked_for(tokens)]))

    def scores(self, output: Any) -> tuple[mx.array, list[int]]:
        """Return [what fires, the integral] of every place, (B, 3T, 2), and how many places each utterance has."""
        peaks = output.heads.us_peaks
        edges = mx.full(peaks.shape, np.nextafter(np.float32(PEAK), np.float32(0)))
        return mx.stack([edges, peaks], axis=-1), [FRAMES * length for length in output.lengths]

    def network(self, feats: np.ndarray) -> dict[str, np.ndarray]:
        """Return {tap: array} of one utterance's features (1, T, m*M), times of its text's tokens among them."""
        tokens = self._tokens.get(feats.tobytes(), 0)
        with self.watched(self.probes) as seen:
            output = self.aligned(feats, tokens)
            mx.eval(output.heads)
        asked = np.array([forced_alignment.asked_for(tokens)], dtype=np.int32)
        return {**self.full_tapset.collect(seen), "asked": asked, "times": self.outcome(output, [""] * tokens).times}

    def outcome(self, output: Any, tokens: Sequence[str]) -> Outcome:
        """Return FunASR's times of one utterance's tokens, and of its words."""
        alphas, peaks = (np.array(head[0]) for head in output.heads[1:])
        spans = [[start, end] for _, start, end in _found(alphas, peaks, [CHARACTER] * len(tokens))]
        return Outcome(np.array(spans, dtype=np.int64).reshape(-1, 2), _found(alphas, peaks, tokens))

    def run(self, plain: Arrays, front: Arrays, inputs: Inputs, *, steps: bool) -> CandidateRun:
        """Return the taps on the reference's features, the outcome on the candidate's own, and `introduced`."""
        self._remember(plain)
        tokens = [self.model.tokenizer.tokens[number] for number in plain["token_ids"]]
        outcome = self.outcome(self.aligned(front["feats"], len(tokens)), tokens)
        return CandidateRun(self.network(plain["feats"]), outcome, self.introduced(inputs, steps=steps))

    def column(self, engine: str, plain: Arrays, inputs: Inputs, *, steps: bool) -> CandidateRun:
        """Return the taps of one utterance's features and of modules on given inputs, as one engine computes them."""
        self._remember(plain)
        return super().column(engine, plain, inputs, steps=steps)

    def _remember(self, plain: Arrays) -> None:
        self._tokens[np.ascontiguousarray(plain["feats"]).tobytes()] = len(plain["token_ids"])

    def parts(self) -> list[nn.Module]:
        """Return encoder and predictor: the front end stays float32."""
        return [self.model.encoder, self.model.predictor]

    def blocks(self) -> list[nn.Module]:
        """Return the encoder's blocks of equal width."""
        return [*self.model.encoder.encoders]

    def more_facts(self) -> dict[str, dict[str, Any]]:
        """Return the second head's settings, and what is made of what sides/peak_cases.py makes up."""
        predictor, speller = self.model.predictor, self.model.speller
        return {
            "predictor": {name: getattr(predictor, name) for name in ("smooth_factor2", "noise_threshold2")},
            **peak_cases.firings("us_peaks", second_firings),
            **peak_cases.times(told),
            **peak_cases.texts(speller.funasr_tokens),
        }


def _found(alphas: np.ndarray, peaks: np.ndarray, tokens: Sequence[str]) -> list[list[Any]]:
    """FunASR's [word, start, end] of tokens; none where it fails."""
    with contextlib.suppress(IndexError):
        words = forced_alignment.funasr_words(alphas, peaks, tokens)
        return [[word.text, word.start_ms, word.end_ms] for word in words]
    return []
