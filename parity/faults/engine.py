"""Faults in an engine's own source: a changed copy of mlx_model/engines/cpu_engine.c, in place of it.

A healthy model computed by a wrong kernel: only the engine's column can show it, at the first operation that uses the
kernel. Some changes are small on purpose: what they move is far below what a user would see in a text.
"""

from __future__ import annotations

from contextlib import ExitStack

from mlx_model.engines import cpu_bodies, cpu_engine
from mlx_model.files.scratch import scratch
from mlx_model.machine.device import cores
from parity.faults.fault import Fault, Seed, exchange, fault, within
from parity.sides.candidate import Candidate

ENGINE = "CPU engine"
SOURCE = cpu_bodies.SOURCE
SCALE = "1.0f / sqrtf((float)a->size)"
EPS = "/ n->k + n->eps)"
GAIN = "*(const vec*)(n->gain + i)"
TAP = "*(const vec*)(weights + i * LANES)"
PANEL = "times_panel(rows, depth, a + deep"
NORMS = ("norm1", "norm2", "norm3", "norm", "after_norm")


def changed(old: str, new: str) -> Seed:
    """Return what lets the CPU engine be compiled with one place of its source changed."""

    def seed(candidate: Candidate, stack: ExitStack) -> None:
        text = SOURCE.read_text("utf-8")
        found = text.count(old)
        assert found == 1, f"{SOURCE.name} has {old!r} {found} times; a fault changes one place"
        folder = stack.enter_context(scratch("engine"))
        source = folder / SOURCE.name
        source.write_text(text.replace(old, new), "utf-8")
        library = cpu_bodies.load(cpu_bodies.BODIES[cpu_bodies.chosen()], cores(), source)
        for file in ("cpu_engine", "cpu_rows"):
            exchange(stack, f"mlx_model.engines.{file}.kernels", lambda: library)
        for module in () if candidate is None else candidate.modules.values():
            vars(module).pop(cpu_engine.KEPT, None)  # what healthy kernels made of its weights

    return seed


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of the CPU engine, as they show in a stack that sits at `at`."""

    def kernel(name: str, operations: tuple[str, ...], description: str, old: str, new: str) -> Fault:
        return fault(name, within(at), description, changed(old, new), operations=operations, engine=ENGINE)

    context, products = ("self_attn.context",), ("self_attn.q", "self_attn.k", "self_attn.v")
    return (
        kernel("engine_scale_1.002", context, "attention's scale times 1.002", SCALE, SCALE.replace("1.0f", "1.002f")),
        kernel("engine_scale_1.00002", context, "attention's scale times 1.00002", SCALE,
               SCALE.replace("1.0f", "1.00002f")),
        kernel("engine_eps_1e-5", NORMS, "LayerNorm's eps 1e-5 larger", EPS, "/ n->k + n->eps + 1e-5f)"),
        kernel("engine_eps_1e-3", NORMS, "LayerNorm's eps 1e-3 larger", EPS, "/ n->k + n->eps + 1e-3f)"),
        kernel("engine_gain", NORMS, "LayerNorm's gain times 1.0001", GAIN, f"all(1.0001f) * {GAIN}"),
        kernel("engine_tap", ("self_attn.memory",), "an FSMN tap off by one", TAP,
               TAP.replace("weights", "f->weights + (tap + 1) % f->taps * f->d + at")),
        kernel("engine_panel", products, "the last row of one panel of weights dropped", PANEL,
               "times_panel(rows, depth - (last && column == first), a + deep"),
    )  # fmt: skip
