"""FSMN-VAD's seeded faults."""

from __future__ import annotations

from parity.layers.faults.fault import Fault

FAULTS: tuple[Fault, ...] = ()
