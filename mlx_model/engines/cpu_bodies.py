"""Which body of `cpu_engine.c` this processor gets, compiled and loaded: the widest whose instructions it has.

The source is one; a body (`machine/bodies.py`) is what the compiler makes of it with a body's options. Kept files tell
bodies apart by them (`machine/compiler.py`), so that machines of different processors may share a home directory.
`MLX_FUNASR_CPU_ENGINE` names the body to be used in place of the best one: a machine with AVX-512 can test both.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

from mlx_model.errors import UsageError
from mlx_model.machine.bodies import BODIES, Body
from mlx_model.machine.compiler import compiled
from mlx_model.machine.device import cores

VARIABLE = "MLX_FUNASR_CPU_ENGINE"
SOURCE = Path(__file__).with_name("cpu_engine.c")


class LinearStruct(ctypes.Structure):
    """`linear` of cpu_engine.c."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("n", ctypes.c_int),
        ("k", ctypes.c_int),
        ("relu", ctypes.c_int),
        ("kind", ctypes.c_int),
        ("group", ctypes.c_int),
        ("groups", ctypes.c_int),
        ("scales", ctypes.c_void_p),
        ("biases", ctypes.c_void_p),
    )


_P, _I, _L, _F = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_float
_SIGNATURES = {
    "engine_width": (),
    "engine_lanes": (),
    "engine_threads": (_I,),
    "engine_empty": (),
    "engine_product": (ctypes.POINTER(LinearStruct), _I, _P, _L, _P, _L, _I),
    "engine_norm": (_I, _I, _P, _L, _P, _P, _F, _P),
    "engine_memory": (_I, _P, _I, _I, _I, _P, _P, _L, _P),
    "engine_attention": (_I, _P, _P, _I, _I, _P, _L, _P, _P, _L, _P, _P),
    "engine_lstm": (_I, _I, _I, _I, _I, _P, _P, _P),
    "engine_pack": (ctypes.POINTER(LinearStruct), _P),
    "engine_recall": (_I, _P, _I, _I, _I, _P, _I, _P, _P, _L, _P),
    "engine_softmax": (_I, _I, _P, _L, _P),
}


@functools.cache
def kernels() -> ctypes.CDLL:
    """Return cpu_engine.c in the body for this processor, compiled once and with its threads.

    Raises:
        OSError: no body is for this processor, or there is no compiler.
        UsageError: the body that `MLX_FUNASR_CPU_ENGINE` names is none, or not one for this processor.
    """
    return load(BODIES[chosen()], cores())


def load(body: Body, threads: int, source: Path = SOURCE) -> ctypes.CDLL:
    """Return a body's functions; a library that is loaded already is the same one, threads and all."""
    found = ctypes.CDLL(str(compiled(source, *body.options)))
    for name, arguments in _SIGNATURES.items():
        getattr(found, name).argtypes = arguments
    found.engine_threads(threads)
    return found


def chosen() -> str:
    """Return the name of the body for this processor, or that of the one that was asked for; raises as `kernels`."""
    able = [name for name, body in BODIES.items() if runs(body)]
    wanted = os.environ.get(VARIABLE, "")
    if wanted and wanted not in able:
        known = "this processor cannot run it" if wanted in BODIES else f"expected one of {', '.join(BODIES)}"
        raise UsageError(f"{VARIABLE}={wanted}: {known}")
    best = wanted or next((name for name in able if BODIES[name].automatic), "")
    if not best:
        raise OSError("the engine is written for 64-bit ARM, and x86-64 with AVX2, FMA and F16C, or AVX-512F beside")
    return best


def runs(body: Body) -> bool:
    """Whether this processor has a body's instructions."""
    return body.is_for_this_machine and body.flags <= _processor_flags()


@functools.cache
def available() -> bool:
    """Whether the engine can be used on this machine. Raises UsageError as `kernels` does."""
    try:
        kernels()
    except OSError:
        return False
    return True


def in_words() -> str:
    """Return what the engine computes with here, for results; only where it is available."""
    return BODIES[chosen()].words


def _processor_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return set(next((line for line in lines if line.startswith("flags")), "").split())
    except OSError:
        return set()
