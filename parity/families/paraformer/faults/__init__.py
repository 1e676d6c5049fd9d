"""Paraformer's seeded faults: what ports of it have got wrong, and one for every operation of the model."""

from __future__ import annotations

from parity.families.paraformer.faults.decoder import DECODER
from parity.families.paraformer.faults.encoder import ENCODER
from parity.families.paraformer.faults.predictor import PREDICTOR
from parity.families.paraformer.faults.whole import WHOLE
from parity.faults.fault import Fault
from parity.faults.frontend import FRONTEND

FAULTS: tuple[Fault, ...] = (*FRONTEND, *ENCODER, *PREDICTOR, *DECODER, *WHOLE)

__all__ = ["FAULTS"]
