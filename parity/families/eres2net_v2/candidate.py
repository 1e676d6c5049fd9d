"""A converted ERes2NetV2 under test: as CAM++, another network in its place. No torch."""

from __future__ import annotations

from mlx_model.machine.blas import nn
from parity.families.campplus import candidate


class Candidate(candidate.Candidate):
    """Taps, embeddings and labels of an ERes2NetV2."""

    def parts(self) -> list[nn.Module]:
        """Return the network: the front end stays float32."""
        return [self.model.model]
