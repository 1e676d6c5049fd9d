"""A converted BiCifParaformer under test: second alphas, peaks and times beside the taps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from mlx_model.decoding import peak_times
from mlx_model.machine.blas import mx, nn
from mlx_model.parts import cif_v3
from mlx_model.parts.integrals import PEAK, integrals
from mlx_model.text.results import Times
from parity.sides import peak_cases
from parity.sides.batches import BatchCandidate, Beside
from parity.taps.tap import Activations

ALPHAS, PEAKS = "predictor.us_alphas", "predictor.us_peaks"


def second_firings(alphas: np.ndarray) -> np.ndarray:
    """Return the frames at which the second head peaks, of its alphas (3T,)."""
    return np.flatnonzero(cif_v3.Peaks(mx.array(alphas)[None]).us_peaks[0] >= np.float32(PEAK))


def told(case: peak_cases.Case) -> list[Any] | None:
    """Return [words, times] of a case as FunASR has them; None where it ends in an IndexError."""
    try:
        found = peak_times.funasr_times(case.alphas, integrals(case.alphas[None], PEAK)[0], case.tokens)
    except IndexError:
        return None
    return [found.words, [list(span) for span in found.times]]


class Candidate(BatchCandidate):
    """Taps, token ids and times of a BiCifParaformer."""

    PER_TOKEN: ClassVar = "predictor.token_num"

    def parts(self) -> list[nn.Module]:
        """Return encoder, predictor and decoder: the front end stays float32."""
        return [self.model.encoder, self.model.predictor, self.model.decoder]

    def blocks(self) -> list[nn.Module]:
        """Return the encoder's blocks of equal width."""
        return list(self.model.encoder.encoders)

    def more_facts(self) -> dict[str, dict[str, Any]]:
        """Return where both heads fire, and when tokens are said, of what is made up in sides/peak_cases.py."""
        if "predictor.upsample_cnn" not in self.modules:
            return {}
        first, second = peak_cases.firings("fires", self._fires), peak_cases.firings("us_peaks", second_firings)
        return {**first, **second, **peak_cases.times(told)}

    def _fires(self, alphas: np.ndarray) -> np.ndarray:
        return np.flatnonzero(np.array(self.model.predictor.fire(mx.array(alphas)[None]).fires[0]))

    def forward(self, feats: mx.array, lengths: mx.array) -> Any:
        """Return the model's output, and keep it: its peaks are no module's."""
        self._output = self.model(feats, lengths)
        return self._output

    def _watched(
        self, feats: np.ndarray, inside: Sequence[str] = (), around: Mapping[str, Beside] | None = None
    ) -> tuple[dict[str, np.ndarray], list[list[int]], Activations]:
        taps, ids, seen = super()._watched(feats, inside, around)
        if max(map(int, taps[self.PER_TOKEN])) > 0:  # without a token FunASR asks for no peaks
            peaks = self._output.more
            taps |= {ALPHAS: np.array(peaks.us_alphas), PEAKS: peaks.us_peaks}
        return taps, ids, seen

    def funasr_times(self, taps: Mapping[str, np.ndarray], ids: Sequence[int]) -> Times | None:
        """Return FunASR's times of these tokens by one utterance's taps; None where it ends in an IndexError."""
        if ALPHAS not in taps:
            return []
        tokens = [self.model.tokenizer.tokens[token] for token in ids]
        try:
            return peak_times.funasr_times(taps[ALPHAS][0], taps[PEAKS][0], tokens).times
        except IndexError:
            return None

    def own_times(self, taps: Mapping[str, np.ndarray], ids: Sequence[int], kept: Sequence[bool]) -> Times:
        """Return the times by default; `ids` and `kept` are of all positions of the decoder."""
        if ALPHAS not in taps:
            return []
        frame_ms = self.model.config.frontend.lfr_n * self.model.config.frontend.frame_shift
        closed = len(kept) > 0 and not kept[-1]
        spans = peak_times.token_spans(taps[ALPHAS][0], taps[PEAKS][0], len(ids), closed=closed, frame_ms=frame_ms)
        pairs = [pair for pair, keep in zip(zip(ids, spans, strict=False), kept, strict=False) if keep]
        words = peak_times.words_of([self.model.tokenizer.tokens[token] for token, _ in pairs], [s for _, s in pairs])
        return [[word.start_ms, word.end_ms] for word in words]
