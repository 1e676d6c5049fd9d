"""How rows are computed: on CPU kernels of our own, in lanes, on a GPU. What a model gets of it: `fit`.

Nothing here knows a model or a layer: engines are kinds of rows (`ops.Rows`), put on every module; a stack that enters
asks the best of them first.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from mlx_model import ops
from mlx_model.engines import cpu_engine
from mlx_model.engines.cpu_rows import Kernels, products_of
from mlx_model.engines.gpu_rows import Fused
from mlx_model.engines.lanes import Lanes
from mlx_model.engines.shapes import FewShapes
from mlx_model.machine.blas import nn
from mlx_model.ops import only

__all__ = ["ENGINES", "fit", "in_force", "mappable", "only", "plain"]

ENGINES = ops.Offers([Fused(), Kernels(), Lanes()])


def fit(model: nn.Module, arrays: Mapping[str, np.ndarray] | None = None) -> None:
    """Let this machine's engines compute a model; `load` does so, and a model made in memory is given them here.

    Results are the same but for rounding. Whatever is changed later, parameters or anything else, is computed with at
    once: by an engine, or by MLX where none can.

    Args:
        model: any model; its stacks (`ops.Stack`) are what engines compute.
        arrays: weights by their names, where they need not be read from MLX's memory; see `mappable`.
    """
    for module in model.modules():
        vars(module)[ops.OFFERS] = ENGINES
    if getattr(model, "taken_apart", ()):
        vars(model)[ops.AHEAD] = FewShapes()
    source = cpu_engine.mapped(model, arrays or {})
    for stack in _stacks(model):
        for linear in products_of(stack):
            cpu_engine.keep(linear, source)


def mappable(model: nn.Module) -> set[str]:
    """Return the names of the weights that an engine reads where they lie in their file: MLX need not read them."""
    names = {id(module): name for name, module in model.named_modules()}
    return {f"{names[id(linear)]}.weight" for stack in _stacks(model) for linear in products_of(stack)}


def _stacks(model: nn.Module) -> list[ops.Stack]:
    return [module for module in model.modules() if isinstance(module, ops.Stack)]


def plain() -> AbstractContextManager[None]:
    """Return a context in which nothing but MLX computes, module by module: the first column of a comparison."""
    return only(ops.PLAIN)


def in_force(model: Any) -> list[str]:
    """Return the names of the engines that would compute all stacks of a model here, best first; for `only`."""
    stacks = _stacks(model)
    return [
        engine.name
        for engine in ENGINES.engines
        if stacks and all(engine in ops.offered(stack) and engine.in_words(stack) for stack in stacks)
    ]
