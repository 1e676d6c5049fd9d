"""A converted CTTransformerStreaming under test: a text in calls on one cache, words with what they see. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from mlx_model.machine.blas import mx, nn
from mlx_model.parts import sanm_vad
from parity.families.ct_transformer import candidate


class Candidate(candidate.Candidate):
    """Taps and marks of a CTTransformerStreaming."""

    STREAM: ClassVar[bool] = True

    def scores(self, ids: mx.array, number: int) -> mx.array:
        """Return the logits (1, T, P) of one window's ids, behind the pause that it had in FunASR."""
        return self.model.logits(ids, mx.array([ids.shape[1]], dtype=mx.int32), self._corner(number))

    def _corner(self, number: int) -> mx.array:
        return mx.array(np.array([self.plain["corners"][number]], np.int32))

    def masks(self, name: str, words: int, number: int) -> tuple[Any, ...]:
        """Return a layer's masks in a window: of padding, none; and which words its words see."""
        if not name.startswith("encoder.encoders"):
            return ()
        last = name == f"encoder.encoders.{len(self.model.encoder.encoders) - 1}"
        return None, sanm_vad.vad_mask(words, self._corner(number)) if last else sanm_vad.subsequent_mask(words)[None]

    def results_of(self, calls: Sequence[str]) -> list[Any]:
        """Return the model's own result of each call, on one cache."""
        cache, found = self.model.new_cache(), []
        for call in calls:
            result, cache = self.model.punctuate_next(call, cache, self.own_options, as_funasr=True)
            found.append(result)
        return found

    def blocks(self) -> list[nn.Module]:
        """Return none: a layer is given its masks as it is called."""
        return []
