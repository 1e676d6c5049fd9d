"""A converted Paraformer under test: CIF's inside beside the taps; all else as of any batched recognizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from mlx_model.machine.blas import nn
from parity.sides.batches import BatchCandidate, Beside
from parity.taps.tap import Activations


class Candidate(BatchCandidate):
    """Taps and token ids of a Paraformer. Two functions of parts/cif.py are held against a float64 loop."""

    PER_TOKEN: ClassVar = "predictor.token_num"
    FUNCTIONS: ClassVar = {"cif.running_sum": "predictor@running_sum", "cif.weights": "predictor@cif_weights"}

    def parts(self) -> list[nn.Module]:
        """Return encoder, predictor and decoder: the front end stays float32."""
        return [self.model.encoder, self.model.predictor, self.model.decoder]

    def _watched(
        self, feats: np.ndarray, inside: Sequence[str] = (), around: Mapping[str, Beside] | None = None
    ) -> tuple[dict[str, np.ndarray], list[list[int]], Activations]:
        taps, ids, seen = super()._watched(feats, inside, around)
        return {**taps, "predictor.peaks": peaks(taps["cif.running_sum"])}, ids, seen

    def blocks(self) -> list[nn.Module]:
        """Return the encoder's blocks of equal width."""
        return list(self.model.encoder.encoders)


def peaks(running_sum: np.ndarray) -> np.ndarray:
    """Return FunASR's CIF peaks of a running sum (B, T): what is above whole tokens, 1 more where one is complete."""
    whole = np.floor(running_sum)
    return running_sum - whole + (whole > np.pad(whole[:, :-1], [(0, 0), (1, 0)]))
