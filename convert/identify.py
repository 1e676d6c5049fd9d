"""Which family a checkpoint belongs to: config.yaml's `model:` AND the tensor names, never a hub's alias.

Imports neither torch nor mlx.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from convert.architectures import ESPNET_MODELS, MET, TABLES, UNSUPPORTED, Family
from convert.weight_map import matches
from mlx_model.errors import CheckpointError, ConfigError
from mlx_model.families import FAMILIES


def family_of_config(raw: dict[str, Any]) -> Family:
    """Return the family that config.yaml names.

    Raises:
        ConfigError: no `model:`, or a class that is not converted.
    """
    named = raw.get("model")
    if not named and raw.get("punctuation"):
        raise ConfigError(
            f"config.yaml: punctuation {raw['punctuation']!r} is how FunASR 0.x named a CTTransformer, a layout that is"
            " not supported; take the model as it is released today (ct-punc, ct-punc-c)"
        )
    if not isinstance(named, str) or not named:
        raise ConfigError("config.yaml has no `model:` (FunASR's class name); cannot tell which architecture this is")
    cls = ESPNET_MODELS.get(named, named)
    supported = ", ".join(family.funasr_class for family in TABLES)
    for family in TABLES:
        if family.funasr_class == cls:
            return family
    if cls in UNSUPPORTED:
        raise ConfigError(f"config.yaml: model {cls} ({UNSUPPORTED[cls]}) is not supported (only {supported})")
    close = difflib.get_close_matches(named, [*UNSUPPORTED, *(family.funasr_class for family in TABLES)], n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ConfigError(
        f"config.yaml: model {named!r} is no class of FunASR that mlx-funasr knows (only {supported}){hint}"
    )


def check_tensors(family: Family, names: Iterable[str]) -> None:
    """Raise CheckpointError where the tensors are not those of `family`, naming the class they belong to if known."""
    names = list(names)
    for pattern, cls in family.foreign.items():
        found = next((name for name in names if matches(pattern, name)), None)
        if found is not None:
            raise CheckpointError(
                f"config.yaml says {family.funasr_class}, but the checkpoint has {found!r}: it is a {cls} "
                f"({MET.get(cls, 'another class')}), which {_advice(cls)}"
            )
    for pattern in family.evidence:
        if not any(matches(pattern, name) for name in names):
            shown = ", ".join(repr(name) for name in names[:3])
            raise CheckpointError(
                f"config.yaml says {family.funasr_class}, but no tensor is called {pattern!r} "
                f"(the first of {len(names)}: {shown}); the weights are of another model or incomplete"
            )


def _advice(cls: str) -> str:
    return "has a config.yaml of its own" if cls in FAMILIES.values() else "is not supported"
