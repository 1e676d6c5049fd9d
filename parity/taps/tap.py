"""Taps: record what named modules take and return, in torch and in MLX alike, without touching either model's code.

`record(model, probes)` gives every matching module a subclass of its own class whose `__call__` copies what is asked
for, and gives the class back at the end: no hook stays, and a model that is not being recorded pays nothing. Copies are
made at capture time, because both sides rewrite tensors in place later (`x += inputs` in FunASR's forward_fsmn).

A probe is a pattern of dotted module names, optionally with what of the module is meant:

    encoder.encoders.*                              what the module returns
    encoder.encoders.*.self_attn.linear_out@input   its positional arrays
    encoder.encoders.*@args                         everything it is called with, to call it again
    encoder.encoders.*.self_attn@forward_fsmn       what a function it calls returns: a method of the module (FunASR's
                                                    habit) or a function of the file that defines it (ours)
    encoder.encoders.*.self_attn@carried            what it hands on to a stream's next piece: no output, and not
                                                    recorded here; a family's two sides put it beside what was seen

Imports neither torch nor MLX: arrays are turned into numpy by what they can do.
"""

from __future__ import annotations

import fnmatch
import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from parity.taps.swap import Mark, swapped

Activations = dict[str, Any]
Around = Callable[..., Any]  # (the module's own call, what it is called with) -> what to return in its place
INPUT, ARGS, CARRIED = "input", "args", "carried"


def to_numpy(value: Any) -> np.ndarray:
    """Return a torch tensor as an independent numpy copy, an MLX array as numpy (bfloat16 becomes float32).

    MLX arrays never change, so where numpy can see their memory (on a CPU) nothing is copied.
    """
    if hasattr(value, "detach"):  # torch
        value = value.detach().cpu()
        return np.array((value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy())
    if str(getattr(value, "dtype", "")).endswith("bfloat16"):
        import mlx.core as mx

        value = value.astype(mx.float32)
    return np.asarray(value)


def is_array(value: Any) -> bool:
    """Return whether a value is a tensor or array of either side, or an engine's rows, which can be left for one."""
    return (hasattr(value, "shape") and hasattr(value, "dtype")) or hasattr(value, "leave")


def snapshot(value: Any) -> Any:
    """Return an independent copy: numpy of a torch tensor, a second handle of an MLX array (they never change).

    MLX arrays stay lazy, so that recording does not force the graph at every tap; `record` makes numpy of them at its
    end.
    """
    if isinstance(value, np.ndarray):
        return value.copy()
    if hasattr(value, "leave"):
        return snapshot(value.leave())
    if str(value.dtype).endswith("float64"):  # MLX has it on the CPU only, and makes no second handle on a GPU
        return to_numpy(value)
    return to_numpy(value) if hasattr(value, "detach") else type(value)(value)


def outputs_of(value: Any) -> list[Any]:
    """Return copies of all arrays of a module's output, in order; what is not an array (None, a cache) is skipped."""
    parts = value if isinstance(value, (tuple, list)) else (value,)
    return [snapshot(part) for part in parts if is_array(part)]


@contextmanager
def record(
    model: Any, probes: Sequence[str], around: Mapping[str, Around] | None = None, mark: Mark | None = None
) -> Iterator[Activations]:
    """Yield a dict that fills with {probe of one module: its arrays} as the model runs; a second call overwrites.

    Keys are `<module>` or `<module>@<what>`, values lists of numpy arrays once the block is left. `@args` gives
    `(positional, keywords)` with numpy in the place of arrays.

    Args:
        model: a torch or MLX module (anything with `named_modules()`).
        probes: see above; patterns are shell-style, `*` does not cross a dot.
        around: {name of a probed module: what to call in its place}, with the module's own call, which is recorded.
        mark: says of a class that it only looks on, to whoever asks what class a module is of.

    Raises:
        LookupError: a probe names no module of this model, or a function its modules do not have.
    """
    seen: Activations = {}
    around = around or {}
    modules = dict(model.named_modules())
    with ExitStack() as stack:
        for name, wanted in _wanted(modules, probes).items():
            call = _recording(type(modules[name]), name, wanted, seen, around.get(name))
            stack.enter_context(swapped(modules[name], mark, __call__=call))
        yield seen
    for key, value in seen.items():
        seen[key] = _settled(value)


def _wanted(modules: dict[str, Any], probes: Sequence[str]) -> dict[str, dict[str, None]]:
    """Return {module name: {what, ...}}; "" is the output."""
    wanted: dict[str, dict[str, None]] = {}
    for probe in probes:
        pattern, _, what = probe.partition("@")
        if what == CARRIED:
            continue
        names = [pattern] if pattern in modules else [name for name in modules if matches(name, pattern)]
        if not names:
            raise LookupError(f"no module is called {pattern!r}; the model has {', '.join(sorted(modules)[:8])}, ...")
        for name in names:
            if what not in ("", INPUT, ARGS):
                _owner(type(modules[name]), what)
            wanted.setdefault(name, {})[what] = None
    return wanted


@functools.cache
def matches(name: str, pattern: str) -> bool:
    """Return whether a dotted name fits a pattern segment by segment (`*` is one segment or part of one)."""
    parts, wanted = name.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _recording(
    cls: type, name: str, wanted: dict[str, None], seen: Activations, around: Around | None
) -> Callable[..., Any]:
    """Return a module's call that records itself and what its functions return."""
    functions = [what for what in wanted if what not in ("", INPUT, ARGS)]

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if ARGS in wanted:
            seen[f"{name}@{ARGS}"] = (_copied(args), _copied(kwargs))
        if INPUT in wanted:
            seen[f"{name}@{INPUT}"] = outputs_of(args)
        with ExitStack() as stack:
            for function in functions:
                stack.enter_context(_watched(cls, function, f"{name}@{function}", seen))
            output = cls.__call__(self, *args, **kwargs)
        if "" in wanted:
            seen[name] = outputs_of(output)
        return output

    def replaced(self: Any, *args: Any, **kwargs: Any) -> Any:
        assert around is not None
        return around(functools.partial(call, self), *args, **kwargs)

    return replaced if around else call


@contextmanager
def _watched(cls: type, function: str, key: str, seen: Activations) -> Iterator[None]:
    """Record what a function returns while a module runs: the class's method, or the function of its file."""
    owner = _owner(cls, function)
    original: Callable[..., Any] = getattr(owner, function)

    def watched(*args: Any, **kwargs: Any) -> Any:
        output = original(*args, **kwargs)
        seen[key] = outputs_of(output)
        return output

    setattr(owner, function, watched)
    try:
        yield
    finally:
        setattr(owner, function, original)


def _owner(cls: type, function: str) -> Any:
    """Return where a function that a module calls is looked up: a class of its line, or the file of one."""
    places = [*cls.__mro__, *(sys.modules.get(base.__module__) for base in cls.__mro__)]
    for place in places:
        if place is not None and function in vars(place):
            return place
    raise LookupError(f"{cls.__name__} has no method {function!r}, nor has the file it is defined in such a function")


def _copied(value: Any) -> Any:
    if is_array(value):
        return snapshot(value)
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return type(value)(_copied(item) for item in value) if isinstance(value, (list, tuple)) else value


def _settled(value: Any) -> Any:
    """Return the recorded value with every array as numpy."""
    if is_array(value):
        return value if isinstance(value, np.ndarray) else to_numpy(value)
    if isinstance(value, dict):
        return {key: _settled(item) for key, item in value.items()}
    return type(value)(_settled(item) for item in value) if isinstance(value, (list, tuple)) else value
