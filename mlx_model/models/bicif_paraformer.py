"""BiCifParaformer: a Paraformer whose predictor has a second head, from which words get their times.

Mirrors funasr/models/bicif_paraformer/model.py::BiCifParaformer.inference. Which times: decoding/peak_times.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from mlx_model.decoding import peak_times
from mlx_model.machine.blas import mx
from mlx_model.models import paraformer
from mlx_model.models.paraformer import Best, ParaformerOptions, ParaformerOutput
from mlx_model.ops import Mask
from mlx_model.parts.cif import CifPredictorBase
from mlx_model.parts.cif_v3 import CifPredictorV3, Peaks
from mlx_model.text.results import Hypothesis, Word
from mlx_model.text.token_times import sure


@dataclass(frozen=True, slots=True, kw_only=True)
class BiCifParaformerOptions(ParaformerOptions):
    """What can be asked of a BiCifParaformer, by FunASR's names."""

    output_timestamp: bool = field(default=True, metadata={"help": "Give the words their times; FunASR always does."})
    as_funasr: bool = field(default=False, metadata={"help": "As FunASR 1.4.16, also where it is wrong."})


class Model(paraformer.Model):
    """A BiCifParaformer. Attributes with parameters carry FunASR's names.

    A GPU computes it stage after stage: the loop of its predictor waits for the host.
    """

    Options: ClassVar[type[ParaformerOptions]] = BiCifParaformerOptions
    PREDICTORS: ClassVar[Mapping[str, type[CifPredictorBase]]] = {"CifPredictorV3": CifPredictorV3}
    taken_apart: ClassVar[tuple[str, ...]] = ()
    predictor: CifPredictorV3

    def after(self, output: ParaformerOutput, mask: Mask) -> Iterator[tuple[str, ParaformerOutput]]:
        """Yield the output with `Peaks`, of which the LSTM is computed on a CPU, the rest when they are read."""
        lengths = mx.array(output.lengths)
        yield (
            "timestamps",
            output._replace(more=self.predictor.upsample(output.encoder_out, lengths, mask, output.token_num)),
        )

    def best(self, output: ParaformerOutput, *, confidence: bool = False, nbest: int = 0) -> Best:
        """Return what `hypotheses` needs, being computed; the rest of the second head where times are asked for."""
        if isinstance(output.options, BiCifParaformerOptions) and output.options.output_timestamp:
            mx.async_eval(output.more.us_alphas)
        return super().best(output, confidence=confidence, nbest=nbest)

    def hypotheses(
        self, best: Best, options: ParaformerOptions | None = None, *, times: bool = False
    ) -> list[Hypothesis]:
        """Return one Hypothesis per utterance, with `words`; with `as_funasr` text and words are FunASR's.

        `words` is None where no time is known: nothing weighs anything in the second head, or, with `as_funasr`, FunASR
        ends in an IndexError.
        """
        options = options if isinstance(options, BiCifParaformerOptions) else BiCifParaformerOptions()
        found = super().hypotheses(best, options)
        if options.output_timestamp or times:
            timed = self._as_funasr if options.as_funasr else self._timed
            found = [self._sure(each) for each in timed(best, found)]
        if options.as_funasr:
            found = [replace(each, text=self._spaced(each)) for each in found]
        return found

    def _timed(self, best: Best, found: list[Hypothesis]) -> list[Hypothesis]:
        frame_ms = self.config.frontend.lfr_n * self.config.frontend.frame_shift
        timed = []
        for each, (alphas, peaks), (ids, kept) in zip(found, _rows(best), self._rows(best), strict=True):
            closed = len(kept) > 0 and not kept[-1]
            spans = peak_times.token_spans(alphas, peaks, len(ids), closed=closed, frame_ms=frame_ms)
            printed = [span for span, keep in zip(spans, kept, strict=False) if keep]
            words = peak_times.words_of(self._tokens(each), printed) if len(spans) == len(ids) else None
            timed.append(replace(each, words=words))
        return timed

    def _as_funasr(self, best: Best, found: list[Hypothesis]) -> list[Hypothesis]:
        timed = []
        for each, (alphas, peaks) in zip(found, _rows(best), strict=True):
            words = times = None
            try:
                answer = peak_times.funasr_times(alphas, peaks, self._tokens(each))
                times = answer.times
                pairs = zip(answer.words, times, strict=False)  # of times there may be fewer, or more
                words = [
                    Word(text=word, start_ms=start, end_ms=end, spaced=place > 0)
                    for place, (word, (start, end)) in enumerate(pairs)
                ]
            except IndexError:
                pass
            timed.append(replace(each, words=words, timestamp=times))
        return timed

    def _sure(self, each: Hypothesis) -> Hypothesis:
        """The same with the words' confidences, where the tokens have some."""
        if each.words is None or each.confidences is None:
            return each
        return replace(each, words=sure(each.words, self._tokens(each), each.confidences))

    def _spaced(self, each: Hypothesis) -> str:
        """The text as FunASR writes it where there are times: a space between all words."""
        return peak_times.spaced(self._tokens(each))

    def _tokens(self, each: Hypothesis) -> list[str]:
        return [self.tokenizer.tokens[token] for token in each.token_ids]


def _rows(best: Best) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each utterance's second alphas and peaks, (3T,), padding left out."""
    given: Peaks = best.more
    alphas, peaks = np.array(given.us_alphas), given.us_peaks
    for row, length in enumerate(best.lengths):
        yield alphas[row, : 3 * length], peaks[row, : 3 * length]
