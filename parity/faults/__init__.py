"""Seeding faults, by part: what a fault is (fault.py), and for every part one file whose `faults(at)` gives its own.

Each is put into a healthy candidate; the harness must catch it and name the module (layers/selftest.py). Parameters are
changed in a candidate loaded for that fault alone; functions are exchanged while the fault's ExitStack is open. `at` is
where in the model the part sits; a family's table says which parts it has.
"""

from __future__ import annotations

from parity.faults.fault import Fault

__all__ = ["Fault"]
