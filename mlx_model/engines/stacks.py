"""Whether a stack may be given rows: every module below it is written against `ops`, and does what is written there.

Asked at every call, since models are changed between calls: some 700 modules at full size, so each takes well below a
microsecond. What runs several stacks in one call asks for all of them at once (`looked_at`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlx_model import ops
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import are_written

_asked = threading.local()


def below(stack: nn.Module) -> list[Any]:
    """Return the modules below a stack, in no order; a module that has none is its own."""
    return [module for module, _ in with_leaves(stack)]


def with_leaves(stack: nn.Module) -> list[tuple[Any, bool]]:
    """Return the same modules, each with whether it has no modules in it: one operation computes a leaf."""
    found: list[tuple[Any, bool]] = []
    waiting: list[Any] = [stack]
    for holder in waiting:  # which grows meanwhile
        size = len(waiting)
        for value in holder if type(holder) is list else dict.values(holder):
            if type(value) is not mx.array and isinstance(value, (dict, list)):
                waiting.append(value)
        if holder is not stack and isinstance(holder, nn.Module):
            found.append((holder, len(waiting) == size))
    return found or [(stack, True)]


def stacks_of(model: nn.Module) -> list[ops.Stack]:
    """Return a model's stacks; what is below one is not looked at."""
    found: list[ops.Stack] = []
    waiting: list[Any] = [model]
    for holder in waiting:
        for value in holder if type(holder) is list else dict.values(holder):
            if isinstance(value, ops.Stack):
                found.append(value)
            elif isinstance(value, (dict, list)):
                waiting.append(value)
    return found


def is_written(stack: nn.Module) -> bool:
    """Whether all modules below a stack are written against `ops`; see `kept.kind_of`."""
    return getattr(_asked, "for_all", False) or are_written(below(stack))


@contextmanager
def looked_at() -> Iterator[None]:
    """Let `is_written` be taken for granted in this thread: the caller has asked for all modules of a model."""
    before, _asked.for_all = getattr(_asked, "for_all", False), True
    try:
        yield
    finally:
        _asked.for_all = before


def is_traced() -> bool:
    """Whether this thread is making a graph to be compiled: nothing can be computed then."""
    return getattr(_asked, "tracing", False)


@contextmanager
def traced() -> Iterator[None]:
    """Let `is_traced` say so."""
    before, _asked.tracing = is_traced(), True
    try:
        yield
    finally:
        _asked.tracing = before
