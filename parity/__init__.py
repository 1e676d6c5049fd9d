"""Reference against candidate: layer by layer (layers), character by character (cer), on a bundled example (demo).

`run`, `record`, `check` and `selftest` are the functions behind `mlx-funasr parity ...`, loaded at their first use:
importing this package loads neither MLX nor numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parity.layers.run import check, record, run
    from parity.layers.selftest import selftest

__all__ = ["check", "record", "run", "selftest"]


def __getattr__(name: str) -> Any:
    """Return one of `__all__`."""
    if name not in __all__:
        raise AttributeError(f"module 'parity' has no attribute {name!r}")
    return getattr(import_module("parity.layers.selftest" if name == "selftest" else "parity.layers.run"), name)
