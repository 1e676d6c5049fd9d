"""Seeding faults: what a fault is (fault.py), and those of the front end, which families share (frontend.py).

Each is put into a healthy candidate; the harness must catch it and name the module (selftest.py). Parameters are
changed in a candidate loaded for that fault alone; functions are exchanged while the fault's ExitStack is open. A
family's own faults stand in parity/families/NAME/faults.
"""

from __future__ import annotations

from parity.faults.fault import Fault

__all__ = ["Fault"]
