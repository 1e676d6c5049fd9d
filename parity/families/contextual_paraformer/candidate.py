"""A converted ContextualParaformer under test: the hotwords' ids and vectors beside a Paraformer's taps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import watching
from parity.families.paraformer import candidate
from parity.sides.batches import Beside
from parity.taps.swap import swapped
from parity.taps.tap import Activations, to_numpy


class Candidate(candidate.Candidate):
    """Taps and token ids of a ContextualParaformer, listening for the hotwords of the trace, as FunASR does."""

    def forward(self, feats: mx.array, lengths: mx.array) -> Any:
        """Return the model's output."""
        return self.model(feats, lengths, self.model.Options(**self.options, as_funasr=True))

    def parts(self) -> list[nn.Module]:
        """Return the network's modules: the front end stays float32."""
        return [*super().parts(), self.model.bias_encoder]

    def _watched(
        self, feats: np.ndarray, inside: Sequence[str] = (), around: Mapping[str, Beside] | None = None
    ) -> tuple[dict[str, np.ndarray], list[list[int]], Activations]:
        with branch(self.model) as found:
            taps, ids, seen = super()._watched(feats, inside, around)
        return taps | {name: to_numpy(value) for name, value in found.items()}, ids, seen


@contextmanager
def branch(model: Any) -> Iterator[dict[str, mx.array]]:
    """Yield what fills with the hotwords' ids and vectors, which no module returns."""
    found: dict[str, mx.array] = {}
    cls = type(model)

    def hotword_vectors(self: Any, ids: Sequence[Sequence[int]]) -> mx.array:
        size = max(map(len, ids))
        found["hotwords.ids"] = mx.array([[*each, *[0] * (size - len(each))] for each in ids])[None]
        vectors = cls.hotword_vectors(self, ids)
        found["bias_encoder.vectors"] = vectors[None]
        return vectors

    with swapped(model, watching, hotword_vectors=hotword_vectors):
        yield found
