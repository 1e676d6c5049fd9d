"""A converted SeacoParaformer under test: the bias branch beside the taps; all else as of any batched recognizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from mlx_model.decoding import peak_times
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import watching
from mlx_model.models.seaco_paraformer import SeacoParaformerOptions
from mlx_model.parts.ctc import log_softmax
from parity.sides.batches import BatchCandidate, Beside
from parity.taps.swap import swapped
from parity.taps.tap import Activations, to_numpy


class Candidate(BatchCandidate):
    """Taps and token ids of a SeacoParaformer, listening for the hotwords of the trace, as FunASR does."""

    PER_TOKEN: ClassVar = "predictor.token_num"

    def asked(self) -> SeacoParaformerOptions:
        """Return the options of every run."""
        return self.model.Options(hotwords=self.options.get("hotwords"), as_funasr=True)

    def forward(self, feats: mx.array, lengths: mx.array) -> Any:
        """Return the model's output."""
        return self.model(feats, lengths, self.asked())

    def ids(self, output: Any) -> list[list[int]]:
        """Return each utterance's token ids; keeps the first one's times, (1, 2 * words), as FunASR has them."""
        found = self.model.hypotheses(self.model.best(output), self.asked())
        spans = [[word.start_ms, word.end_ms] for word in found[0].words or []]
        self.times = np.array(spans, dtype=np.int32).reshape(1, -1)
        return [each.token_ids for each in found]

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of token ids: with blanks between words where there are times."""
        if self.model.config.predictor_class != "CifPredictorV3":
            return self.model.tokenizer.decode(list(ids))
        return peak_times.spaced([self.model.tokenizer.tokens[token] for token in ids])

    def parts(self) -> list[nn.Module]:
        """Return the network's modules: the front end stays float32."""
        model = self.model
        mine = [model.bias_encoder, model.lstm_proj, model.seaco_decoder, model.hotword_output_layer]
        return [model.encoder, model.predictor, model.decoder, *(module for module in mine if module is not None)]

    def blocks(self) -> list[nn.Module]:
        """Return the encoder's blocks of equal width."""
        return list(self.model.encoder.encoders)

    def _watched(
        self, feats: np.ndarray, inside: Sequence[str] = (), around: Mapping[str, Beside] | None = None
    ) -> tuple[dict[str, np.ndarray], list[list[int]], Activations]:
        with branch(self.model) as found:
            taps, ids, seen = super()._watched(feats, inside, around)
        taps |= {name: to_numpy(value) for name, value in found.items()}
        taps["times"] = self.times
        if "hotword_output_layer" in taps:
            taps["merge.abstains"] = taps["hotword_output_layer"].argmax(-1) == self.model.config.no_bias
        return taps, ids, seen


@contextmanager
def branch(model: Any) -> Iterator[dict[str, mx.array]]:
    """Yield what fills with the bias branch's numbers that no module returns."""
    found: dict[str, mx.array] = {}
    cls = type(model)

    def hotword_vectors(self: Any, ids: Sequence[Sequence[int]]) -> mx.array:
        size = max(map(len, ids))
        found["hotwords.ids"] = mx.array([[*each, *[0] * (size - len(each))] for each in ids])[None]
        vectors = cls.hotword_vectors(self, ids)
        found["bias_encoder.vectors"] = vectors[None]
        return vectors

    def entries(self: Any, hidden: mx.array, *rest: Any) -> mx.array:
        found["branch.states"] = hidden
        return cls.entries(self, hidden, *rest)

    def scores(self: Any, *given: Any) -> mx.array:
        found["filter.scores"] = cls.scores(self, *given)
        return found["filter.scores"]

    def kept_entries(self: Any, *given: Any) -> mx.array:
        kept = cls.kept_entries(self, *given)
        found["filter.kept"] = mx.sort(kept, axis=-1)
        return kept

    def attended(self: Any, cif: mx.array, states: mx.array) -> mx.array:
        found["attended.cif"], found["attended.states"] = cif, states
        return cls.attended(self, cif, states)

    def decode(self: Any, *given: Any) -> mx.array:
        logits = cls.decode(self, *given)
        found["merge"] = log_softmax(logits)
        return logits

    functions = (hotword_vectors, entries, scores, kept_entries, attended, decode)
    with swapped(model, watching, **{function.__name__: function for function in functions}):
        yield found
