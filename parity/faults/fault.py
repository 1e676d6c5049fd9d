"""What a seeded fault is, and the ways of seeding one: exchange a function, what a module does, or its parameters."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from mlx_model.machine.blas import mx
from mlx_model.machine.kept import as_written
from mlx_model.ops import Rows
from parity.sides.candidate import Candidate
from parity.taps.swap import swap

Seed = Callable[[Candidate, ExitStack], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `seed(candidate, stack)` puts it in; exchanged functions come back when the stack is closed.

    `module` is where the harness must say it is (a prefix of the address); `needs` says what audio shows it, where not
    all does. `batch` faults only show when utterances are batched. `fits` is False for models that have no such part.
    `place` names the module in models that have fewer than `module` counts on.
    `engine` is the one that the fault is in, "" for one of the model; its address must end in one of `operations`.
    """

    name: str
    module: str
    description: str
    seed: Seed
    needs: str = ""
    batch: bool = False
    fits: Callable[[Candidate], bool] = lambda candidate: True
    engine: str = ""
    operations: tuple[str, ...] = ()
    place: Callable[[Candidate], str] | None = None

    def of(self, candidate: Candidate) -> Fault:
        """Return the fault with the name of the module that it is put into in this candidate."""
        return self if self.place is None else replace(self, module=self.place(candidate))

    def is_at(self, address: str | None) -> bool:
        """Return whether an address lies in the fault's module, and is one of its operations where it has such."""
        if address is None or not f"{address}.".startswith(f"{self.module}."):
            return False
        return not self.operations or any(f".{address}".endswith(f".{name}") for name in self.operations)


def exchange(stack: ExitStack, place: str, value: Any) -> None:
    """Put `value` in the place of a name, as `mlx_model.parts.frontend.lfr`, until the stack is closed."""
    stack.enter_context(mock.patch(place, value))


def fault(name: str, module: str, description: str, seed: Seed, **more: Any) -> Fault:
    """Return the fault of these words."""
    return Fault(name=name, module=module, description=description, seed=seed, **more)


def behave(module: Any, call: Callable[..., Any]) -> None:
    """Let one module of a candidate compute `call(module, *args)`, which is written against MLX: no engine will."""
    swap(module, __call__=call)


def rewrite(module: Any, call: Callable[..., Any]) -> None:
    """Let one module of a candidate compute `call(module, *args)`, which is written against ops: engines compute it."""
    swap(module, as_written, __call__=call)


def rewrite_all(candidate: Candidate, kind: type, call: Callable[..., Any]) -> None:
    """Let every module of a kind in a candidate compute `call(module, *args)`, as `rewrite` does of one."""
    for module in candidate.modules.values():
        if isinstance(module, kind):
            rewrite(module, call)


def scaled(x: Any, factor: float) -> Any:
    """Return an array, or an engine's rows, times a factor."""
    return x.like(x.leave() * factor) if isinstance(x, Rows) else x * factor


def method(module: Any, name: str, function: Callable[..., Any]) -> None:
    """Exchange one method of one module: `function(module, *args)`."""
    swap(module, **{name: function})


def within(at: str, name: str = "") -> str:
    """Return the name in the model of something within a part that sits at `at`."""
    return ".".join(filter(None, (at, name)))


def lost(module: Any) -> None:
    """Set a module's bias to zeros."""
    module.bias = mx.zeros_like(module.bias)


def without(module: Any) -> None:
    """Let a module return what it is given."""
    rewrite(module, lambda self, x: x)


def reorder(linear: Any, order: tuple[int, ...]) -> None:
    """Exchange equal parts of a projection's outputs."""
    linear.weight = mx.concatenate([mx.split(linear.weight, len(order))[i] for i in order])
    linear.bias = mx.concatenate([mx.split(linear.bias, len(order))[i] for i in order])


def taps_reversed(convolution: Any) -> None:
    """Let a convolution (D, K, ...) have its taps in reverse order."""
    convolution.weight = convolution.weight[:, ::-1]
