"""Arrays that something was made of once, and whether they are still what they were; classes, and whether they are.

An engine keeps what it made of a weight (its address, taps in another order), and calls a layer with rows of its own,
which only a class that is written against `ops` knows. Both go stale when somebody changes a model: a parameter is
replaced, or written into (`w *= 2`, `w[0] = 1`: MLX then gives the same Python object other contents), a layer becomes
one of a subclass, a method is exchanged. So both are asked for at every call, here. Imports MLX, and nothing else.
"""

from __future__ import annotations

import ctypes
import io
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from mlx_model.machine.blas import mx

C = TypeVar("C", bound=type)


class Kept:
    """One array as it was when something was made of it.

    It holds a second handle of the array's contents. So MLX cannot write the next ones into the same memory, and a
    place in memory tells old from new.

    Args:
        array: a module's parameter.
        unread: it is not to be read, which `mx.load` puts off: then what is pending tells old from new.
    """

    def __init__(self, array: mx.array, *, unread: bool = False):
        self.array = array
        self._handle = array.astype(array.dtype)
        self._pending = _pending(array) if unread else None
        self._place = None if unread else _place(array)

    def is_still(self, array: Any) -> bool:
        """Return whether this is the same array, and nothing was written into it."""
        if array is not self.array:
            return False
        if self._pending is not None:  # once it was read there is nothing to tell by: made anew, of what it holds
            return _pending(array) == self._pending
        return _place(array) == self._place

    def __deepcopy__(self, memo: dict[int, Any]) -> Kept:
        return self  # a copied model has other arrays


def _place(array: Any) -> int:
    """Return where an array lies in memory; computes it where that is still to be done."""
    if array.dtype == mx.bfloat16:  # of which Python knows nothing: the same memory under another type
        array = array.view(mx.uint16)
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    except (TypeError, ValueError):  # its rows lie apart, or there are none
        return np.asarray(array).ctypes.data


def _pending(array: mx.array) -> str:
    """Return what is still to be computed for an array, in words."""
    text: Any = io.StringIO()
    mx.export_to_dot(text, array)
    return text.getvalue()


# class -> of itself, and of its bases that are here: names of functions, and the functions in that order
_Entries = tuple[tuple[Any, tuple[str, ...], tuple[Any, ...]], ...]
_written: dict[type, tuple[_Entries, frozenset[str]]] = {}  # and all of those names
_names: dict[type, str] = {}  # of classes that count as another


def as_written(cls: C) -> C:
    """Let engines compute a module of this class: its functions are written against `ops`. A decorator."""
    functions = {name: value for name, value in vars(cls).items() if callable(value) or isinstance(value, property)}
    own = {name: value for name, value in functions.items() if name not in ("__init__", "__class__")}
    bases = [entry for base in cls.__mro__ if base in _written for entry in _written[base][0]]
    entries = ((cls.__dict__, (*own,), (*own.values(),)), *bases)
    _written[cls] = entries, frozenset(name for _, names, _ in entries for name in names)
    return cls


def watching(cls: C) -> C:
    """Let a subclass count as its base: it looks at what goes in and comes out, and changes nothing. A decorator."""
    base = cls.__mro__[1]
    if base in _written:
        _written[cls] = _written[base]
        _names[cls] = _names.get(base, base.__name__)
    return cls


def kind_of(module: Any) -> str:
    """Return the name of a module's class where it does what is written there, "" where it may do something else.

    So of a subclass, of a class whose function was exchanged, and where the module has one of its own. A subclass that
    is written against `ops` as its base is, a seeded fault of parity's, says so by `as_written`; one that only looks on
    by `watching`. It then counts as what it is called, or as its base.
    """
    cls = type(module)
    names = _functions_of(cls)
    if names is None or not vars(module).keys().isdisjoint(names):
        return ""
    return _names.get(cls, cls.__name__)


def kinds_of(modules: Iterable[Any]) -> Iterator[str]:
    """Yield the `kind_of` each of many modules, each class looked at once."""
    classes: dict[type, tuple[frozenset[str] | None, str]] = {}
    for module in modules:
        found = classes.get(type(module))
        if found is None:
            cls = type(module)
            found = classes[cls] = _functions_of(cls), _names.get(cls, cls.__name__)
        names, kind = found
        yield kind if names is not None and module.__dict__.keys().isdisjoint(names) else ""


def are_written(modules: Iterable[Any]) -> bool:
    """Return whether `kind_of` has a name for all of many modules, each class looked at once."""
    classes: dict[type, frozenset[str]] = {}
    for module in modules:
        cls = type(module)
        names = classes.get(cls)
        if names is None:
            names = _functions_of(cls)
            if names is None:
                return False
            classes[cls] = names
        if not vars(module).keys().isdisjoint(names):
            return False
    return True


def _functions_of(cls: type) -> frozenset[str] | None:
    """Return the names of a class's functions; None where they are not those that were written."""
    found = _written.get(cls)
    if found is None:
        return None
    entries, names = found
    for now, own, functions in entries:
        if tuple(map(now.get, own)) != functions:
            return None
    return names
