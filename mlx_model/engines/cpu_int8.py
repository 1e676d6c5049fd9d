"""Int8 dynamic products of the CPU engine: `cpu_int8.c` in the body for this processor, and the operation made of it.

A source of its own beside cpu_engine.c, whose threads it is given: its bodies are chosen by other instructions (VNNI),
and all of them give the same bits. Importing this lets the engine compute layers of class Int8Linear.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

import numpy as np

from mlx_model.engines import cpu_engine
from mlx_model.engines.cpu_bodies import runs
from mlx_model.engines.cpu_engine import KINDS, OPERATIONS, Product, Rows, in_float32
from mlx_model.machine.blas import mx
from mlx_model.machine.bodies import INT8_BODIES as BODIES
from mlx_model.machine.bodies import Body
from mlx_model.machine.compiler import compiled
from mlx_model.parts.int8 import Int8Linear, can_round

SOURCE = Path(__file__).with_name("cpu_int8.c")


class Int8LinearStruct(ctypes.Structure):
    """`int8_linear` of cpu_int8.c."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("n", ctypes.c_int),
        ("k", ctypes.c_int),
    )


_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
_SIGNATURES = {
    "int8_width": (),
    "int8_steps": (_I,),
    "int8_product": (_P, ctypes.POINTER(Int8LinearStruct), _I, _P, _L, _P, _P, _P, _L, _I, _I),
}


def load(body: Body) -> ctypes.CDLL:
    """Return a body's functions."""
    found = ctypes.CDLL(str(compiled(SOURCE, *body.options)))
    for name, arguments in _SIGNATURES.items():
        getattr(found, name).argtypes = arguments
    return found


def best() -> tuple[str, ctypes.CDLL | None]:
    """Return the best body that this processor can run and this compiler knows, and its functions; None: none is."""
    for name, body in BODIES.items():
        if body.automatic and (not body.flags or runs(body)):
            try:
                return name, load(body)
            except OSError:  # an older compiler does not know the instructions
                continue
    return "", None


_chosen = functools.cache(best)


def kernels() -> ctypes.CDLL:
    """Return cpu_int8.c in the body for this processor; only where it is `available`."""
    found = _chosen()[1]
    assert found is not None
    return found


def available() -> bool:
    """Whether int8 products can be computed on this machine."""
    return _chosen()[1] is not None


def in_words() -> str:
    """Return what they are computed with here, for results."""
    return BODIES[_chosen()[0]].words


class Int8Product(Product):
    """relu?(x W^T + bias) of numbers rounded to 8 bits, (M, Din) -> (M, Dout and room for whole panels)."""

    names = ("weight", "bias", "scales")
    _settings = ()

    def _prepare(self, linear: Int8Linear) -> None:
        """Hold what the kernel reads beside the weights, with room for whole panels."""
        self.inputs = linear.weight.shape[1]
        room = (0, self.make_room(kernels().int8_width()))
        factors = {name: np.pad(in_float32(linear[name]), room) for name in ("scales", "bias") if name in linear}
        self._factors = factors
        places = {name: array.ctypes.data for name, array in factors.items()}
        self._struct = Int8LinearStruct(weights=self._weight.ctypes.data, n=self.outputs, k=self.inputs, **places)

    @staticmethod
    def can(linear: Any) -> bool:
        """Whether the kernel is here, and the parameters fit each other."""
        weight, bias, scales = (linear.get(name) for name in ("weight", "bias", "scales"))
        if not available() or not isinstance(weight, mx.array) or weight.dtype != mx.int8 or weight.ndim != 2:
            return False
        each = [scales] if bias is None else [scales, bias]
        known = [isinstance(found, mx.array) and found.dtype in KINDS for found in each]
        return can_round(weight.shape) and all(known) and all(found.shape == (len(weight),) for found in each)

    def _compute(self, x: Rows, y: Rows, add: int, relu: bool) -> None:
        rounded = np.empty((len(x), kernels().int8_steps(self.inputs)), np.int32)
        sizes = np.empty(len(x), np.float32)
        threads = ctypes.cast(cpu_engine.kernels().engine_everywhere, ctypes.c_void_p)
        given = (len(x), x.ctypes.data, x.strides[0] // x.itemsize)
        room = (each.ctypes.data for each in (rounded, sizes, y))
        kernels().int8_product(threads, self._struct, *given, *room, y.strides[0] // y.itemsize, add, relu)


OPERATIONS["Int8Linear"] = Int8Product
