"""Taps: record what named modules return, in torch and in MLX alike, without touching either model's code.

`record(model, patterns)` gives every matching module a subclass of its own class whose `__call__` copies the output,
and gives the class back at the end: no hook stays, and a model that is not being recorded pays nothing. Copies are made
at capture time, because both sides rewrite tensors in place later (`x += inputs` in FunASR's forward_fsmn).

Imports neither torch nor MLX: arrays are turned into numpy by what they can do.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

Activations = dict[str, list[np.ndarray]]


def to_numpy(value: Any) -> np.ndarray:
    """Return an independent numpy copy of a torch tensor or an MLX array (bfloat16 becomes float32)."""
    if hasattr(value, "detach"):  # torch
        value = value.detach().cpu()
        return np.array((value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy())
    if str(getattr(value, "dtype", "")).endswith("bfloat16"):
        import mlx.core as mx

        value = value.astype(mx.float32)
    return np.array(value)


def outputs_of(value: Any) -> list[np.ndarray]:
    """Return all arrays of a module's output, in order; what is not an array (None, a cache) is skipped."""
    parts = value if isinstance(value, (tuple, list)) else (value,)
    return [to_numpy(part) for part in parts if hasattr(part, "shape") and hasattr(part, "dtype")]


@contextmanager
def record(model: Any, patterns: Sequence[str]) -> Iterator[Activations]:
    """Yield a dict that fills with {module name: its outputs} as the model runs; a second call overwrites the first.

    Args:
        model: a torch or MLX module (anything with `named_modules()`).
        patterns: shell-style patterns of dotted module names; `*` does not cross a dot.

    Raises:
        LookupError: a pattern names no module of this model.
    """
    seen: Activations = {}
    tapped: list[tuple[Any, type]] = []
    modules = dict(model.named_modules())
    try:
        for pattern in patterns:
            names = [name for name in modules if matches(name, pattern)]
            if not names:
                raise LookupError(
                    f"no module is called {pattern!r}; the model has {', '.join(sorted(modules)[:8])}, ..."
                )
            for name in names:
                module = modules[name]
                tapped.append((module, type(module)))
                module.__class__ = _recording(type(module), name, seen)
        yield seen
    finally:
        for module, cls in reversed(tapped):
            module.__class__ = cls


def matches(name: str, pattern: str) -> bool:
    """Return whether a dotted name fits a pattern segment by segment (`*` is one segment or part of one)."""
    parts, wanted = name.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _recording(cls: type, name: str, seen: Activations) -> type:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = cls.__call__(self, *args, **kwargs)
        seen[name] = outputs_of(output)
        return output

    return type(cls.__name__, (cls,), {"__call__": call, "__module__": cls.__module__})
