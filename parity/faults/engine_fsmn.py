"""Faults in the CPU engine's source as they show in an FSMN: taps behind a past, softmax, and narrow layers' products.

As `parity/faults/engine.py`, whose faults show in stacks of attention: a changed copy of the source in place of it.
"""

from __future__ import annotations

from parity.faults.engine import ENGINE, changed
from parity.faults.fault import Fault, fault, within

TAP = "*(const vec*)(frames + tap * step + i) * *(const vec*)(r->weights + tap * r->d + i)"
PAST = "from = taps_before(r, -r->past - first)"
SOFTMAX = "const float factor = softmax_row(y, s->n, 1.0f);"
TAIL = "memcpy(few, row + (long)at * bits_of(kind) / 8, (size_t)count * bits_of(kind) / 8);"
LAYERS = ("in_linear1", "in_linear2", "linear", "affine", "out_linear1", "out_linear2")


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of the CPU engine, as they show in an FSMN that sits at `at`."""

    def kernel(name: str, operations: tuple[str, ...], description: str, old: str, new: str) -> Fault:
        return fault(name, within(at), description, changed(old, new), operations=operations, engine=ENGINE)

    memory = ("fsmn_block",)
    return (
        kernel("engine_recall_tap", memory, "taps of the piece itself off by one", TAP,
               TAP.replace("r->weights + tap", "r->weights + (tap + 1) % r->taps")),
        kernel("engine_recall_gain", memory, "taps of the piece itself times 1.0001", TAP, f"all(1.0001f) * {TAP}"),
        kernel("engine_recall_past", memory, "the past's oldest frame left out", PAST,
               PAST.replace("- first", "- first + r->dilation")),
        kernel("engine_softmax_scale", ("softmax",), "softmax of the scores times 1.00002", SOFTMAX,
               SOFTMAX.replace("1.0f", "1.00002f")),
        kernel("engine_softmax_sum", ("softmax",), "probabilities times 1.00002", SOFTMAX,
               SOFTMAX.replace("softmax_row", "1.00002f * softmax_row")),
        kernel("engine_tail", LAYERS, "the last number of a row that is no whole vectors left out", TAIL,
               TAIL.replace("(size_t)count *", "(size_t)(count - 1) *")),
    )  # fmt: skip
