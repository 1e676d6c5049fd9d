"""Configurations: sections of shared parts, and one file a family, found by the family's name. Stdlib only."""

from __future__ import annotations

from mlx_model.config.sections import ModelConfig
from mlx_model.families import module_of


def config_class(family: str) -> type[ModelConfig]:
    """Return the class of a family's configuration: the one subclass of ModelConfig that config/NAME.py defines.

    Raises:
        LookupError: the family has no such file, or the file another number of them: a bug.
    """
    module = module_of("mlx_model.config", family)
    found = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, ModelConfig) and item.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise LookupError(f"{module.__name__} defines {len(found)} subclasses of ModelConfig, expected one")
    return found[0]
