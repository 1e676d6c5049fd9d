"""A converted Paraformer under test: CIF's inside beside the taps; all else as of any batched recognizer."""

from __future__ import annotations

from typing import ClassVar

from mlx_model.machine.blas import nn
from parity.sides.batches import BatchCandidate


class Candidate(BatchCandidate):
    """Taps and token ids of a Paraformer. Two functions of parts/cif.py are held against a float64 loop."""

    PER_TOKEN: ClassVar = "predictor.token_num"
    FUNCTIONS: ClassVar = {"cif.running_sum": "predictor@running_sum", "cif.weights": "predictor@cif_weights"}

    def parts(self) -> list[nn.Module]:
        """Return encoder, predictor and decoder: the front end stays float32."""
        return [self.model.encoder, self.model.predictor, self.model.decoder]

    def blocks(self) -> list[nn.Module]:
        """Return the encoder's blocks of equal width."""
        return list(self.model.encoder.encoders)
