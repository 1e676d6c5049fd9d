"""The one exchange of classes: an object is given a subclass of its own class, in which some functions are others.

Taps, seeded faults, compiled blocks and the watching of a decision machine all work so: neither side's code is touched,
and what is not exchanged costs nothing. Imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Mark = Callable[[type], type]  # tells others what a subclass is, as mlx_model.machine.kept does engines


def swap(target: Any, mark: Mark | None = None, **functions: Callable[..., Any]) -> type:
    """Return the class that an object had, once its own is a subclass with other functions, by their names."""
    healthy = type(target)
    other = type(healthy.__name__, (healthy,), {**functions, "__module__": healthy.__module__})
    target.__class__ = other if mark is None else mark(other)
    return healthy


@contextmanager
def swapped(target: Any, mark: Mark | None = None, **functions: Callable[..., Any]) -> Iterator[type]:
    """Yield the class that an object had; it has it again when the block is left."""
    healthy = swap(target, mark, **functions)
    try:
        yield healthy
    finally:
        target.__class__ = healthy
