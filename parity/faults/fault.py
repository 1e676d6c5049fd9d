"""What a seeded fault is, and the two ways of seeding one: exchange a function, exchange what a module does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest import mock

from parity.sides.candidate import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `seed(candidate, stack)` puts it in; exchanged functions come back when the stack is closed.

    `module` is where the harness must say it is (a prefix of the address); `needs` says what audio shows it, where not
    all does. `batch` faults only show when utterances are batched. `fits` is False for models that have no such part.
    """

    name: str
    module: str
    description: str
    seed: Callable[[Candidate, ExitStack], None]
    needs: str = ""
    batch: bool = False
    fits: Callable[[Candidate], bool] = lambda candidate: True

    def is_at(self, address: str | None) -> bool:
        """Return whether an address lies in the fault's module."""
        return address is not None and (address == self.module or address.startswith(f"{self.module}."))


def exchange(stack: ExitStack, place: str, value: Any) -> None:
    """Put `value` in the place of a name, as `mlx_model.parts.frontend.lfr`, until the stack is closed."""
    stack.enter_context(mock.patch(place, value))


def behave(module: Any, call: Callable[..., Any]) -> None:
    """Let one module of a candidate compute `call(module, *args)`; `type(module).__mro__[1]` is its healthy class."""
    cls = type(module)
    module.__class__ = type(cls.__name__, (cls,), {"__call__": call, "__module__": cls.__module__})


def method(module: Any, name: str, function: Callable[..., Any]) -> None:
    """Exchange one method of one module: `function(module, *args)`."""
    cls = type(module)
    module.__class__ = type(cls.__name__, (cls,), {name: function, "__module__": cls.__module__})
