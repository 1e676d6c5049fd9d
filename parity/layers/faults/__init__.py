"""Seeded faults: what ports of these models have got wrong, and one for every operation of the model.

Each is put into a healthy candidate; the harness must catch it and name the module (selftest.py). Parameters are
changed in a candidate loaded for that fault alone; functions are exchanged while the fault's ExitStack is open.
"""

from __future__ import annotations

from parity.layers.faults.decoder import DECODER
from parity.layers.faults.encoder import ENCODER
from parity.layers.faults.fault import Fault
from parity.layers.faults.frontend import FRONTEND
from parity.layers.faults.predictor import PREDICTOR
from parity.layers.faults.whole import WHOLE

FAULTS: tuple[Fault, ...] = (*FRONTEND, *ENCODER, *PREDICTOR, *DECODER, *WHOLE)

__all__ = ["FAULTS", "Fault"]
