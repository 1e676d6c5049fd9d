"""Whether a stack may be given rows: every module below it is written against `ops`, and does what is written there.

Asked at every call, since models are changed between calls: so it takes microseconds a layer.
"""

from __future__ import annotations

from typing import Any

from mlx_model.machine.blas import nn
from mlx_model.machine.kept import kind_of


def below(stack: nn.Module) -> list[Any]:
    """Return the modules below a stack, in no order; a module that has none is its own."""
    found: list[Any] = []
    waiting = list(dict.values(stack))
    while waiting:
        value = waiting.pop()
        if isinstance(value, nn.Module):
            found.append(value)
        if isinstance(value, dict):
            waiting.extend(dict.values(value))
        elif isinstance(value, list):
            waiting.extend(value)
    return found or [stack]


def is_leaf(module: nn.Module) -> bool:
    """Whether a module has no modules in it: one operation computes it."""
    return not any(isinstance(value, (dict, list)) for value in dict.values(module))


def is_written(stack: nn.Module) -> bool:
    """Whether all modules below a stack are written against `ops`; see `kept.kind_of`."""
    return all(map(kind_of, below(stack)))
