"""A converted SeacoParaformer under test: as a BiCifParaformer, and its bias branch beside the taps."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mlx_model.loading import config_of
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import watching
from mlx_model.models.seaco_paraformer import SeacoParaformerOptions
from mlx_model.parts.ctc import log_softmax
from parity.families.bicif_paraformer import candidate as bicif
from parity.sides.batches import BatchCandidate, Beside
from parity.taps.swap import swapped
from parity.taps.tap import Activations, to_numpy
from parity.taps.tapset import TapSet

SECOND_HEAD = ("predictor.upsample_cnn", "predictor.cif_output2")  # which CifPredictorV2 has not


class Candidate(bicif.Candidate):
    """Taps, token ids and times of a SeacoParaformer, listening for the hotwords of the trace, as FunASR does."""

    def __init__(self, path: str | Path, tapset: TapSet, taps: Sequence[str] = ()):
        self.timed = getattr(config_of(Path(path)), "predictor_class", "") == "CifPredictorV3"
        always = tuple(name for name in tapset.always if self.timed or name not in SECOND_HEAD)
        super().__init__(path, dataclasses.replace(tapset, always=always), taps)

    def asked(self) -> SeacoParaformerOptions:
        """Return the options of every run."""
        return self.model.Options(hotwords=self.options.get("hotwords"), as_funasr=True)

    def forward(self, feats: mx.array, lengths: mx.array) -> Any:
        """Return the model's output, and keep it: its peaks are no module's."""
        self._output = self.model(feats, lengths, self.asked())
        return self._output

    def parts(self) -> list[nn.Module]:
        """Return the network's modules: the front end stays float32."""
        model = self.model
        mine = [model.bias_encoder, model.lstm_proj, model.seaco_decoder, model.hotword_output_layer]
        return [*super().parts(), *(module for module in mine if module is not None)]

    def _watched(
        self, feats: np.ndarray, inside: Sequence[str] = (), around: Mapping[str, Beside] | None = None
    ) -> tuple[dict[str, np.ndarray], list[list[int]], Activations]:
        watch = super()._watched if self.timed else functools.partial(BatchCandidate._watched, self)
        with branch(self.model) as found:
            taps, ids, seen = watch(feats, inside, around)
        taps |= {name: to_numpy(value) for name, value in found.items()}
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
