"""Where in a checkpoint the weights stand: what FunASR would take, and what other training tools put around them.

FunASR looks for `state_dict`, `model_state_dict` and `model`, in this order, each inside the one before
(load_pretrained_model.py), and leaves every weight random that it does not find. DeepSpeed, plain torch scripts and EMA
helpers use other names. Whatever was opened, and whatever stood beside it, is said in a note. No torch, no numpy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from convert.torch_tensors import OddTensor
from mlx_model.errors import CheckpointError

NESTING = ("state_dict", "model_state_dict", "model")  # in FunASR's order
MAX_DEPTH = 6
# Averages of the weights, which FunASR never loads.
AVERAGE = re.compile(r"(^|_|\.)(ema|swa|shadow|averaged?|polyak)(_|\.|$)", re.IGNORECASE)
# What training keeps beside the weights and what may hold tensors too.
BESIDE = re.compile(
    r"optim|sched|scaler|rng|loss|criterion|discriminator|frozen_param|random|sampler|amp$|callbacks|loops|metric|teacher",
    re.IGNORECASE,
)


@runtime_checkable
class Tensor(Protocol):
    """One tensor of a checkpoint, before it is known by a name."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes."""
        ...

    @property
    def dtype(self) -> str:
        """The precision by torch's name."""
        ...

    def read(self) -> Any:
        """Return the values in their storage type."""
        ...

    def release(self) -> None:
        """Give memory back."""
        ...


def is_tensor(value: Any) -> bool:
    """Return whether a value of a checkpoint is a tensor, a readable one or not."""
    return isinstance(value, (Tensor, OddTensor))


def unwrap(path: Path, content: Any, notes: list[str]) -> Mapping[Any, Any]:
    """Return the state dict inside `content`: names and tensors, and perhaps entries that are none.

    Args:
        path: for errors.
        content: what the file holds.
        notes: gets a line for everything that was opened or left aside.

    Raises:
        CheckpointError: nothing that could be weights, or several things.
    """
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {_kind(content)}, expected a state dict (names and tensors)")
    opened: list[str] = []
    for key in NESTING:
        if isinstance(content.get(key), dict):
            _note_beside(content, key, notes)
            content = content[key]
            opened.append(key)
    foreign: list[str] = []
    while len(foreign) < MAX_DEPTH:
        key = _candidate(path, content)
        if key is None:
            break
        _note_beside(content, key, notes)
        content = content[key]
        foreign.append(key)
    if any(AVERAGE.search(shown(key)) for key in foreign):
        notes.append("these weights are an average (EMA): the checkpoint holds no others")
    if foreign:
        where = " / ".join(repr(shown(key)) for key in [*opened, *foreign])
        notes.append(
            f"weights taken from {where}; FunASR 1.4.16 looks for 'state_dict', 'model_state_dict' and 'model' only, "
            "and would leave every weight random"
        )
    return content


def _candidate(path: Path, content: Mapping[Any, Any]) -> Any | None:
    """Return the entry that holds the weights, or None where `content` is the state dict itself."""
    known: dict[int, bool] = {}
    inner = [key for key, value in content.items() if isinstance(value, dict) and _holds_tensors(value, known)]
    if not inner:
        return None
    weights = [key for key in inner if not AVERAGE.search(shown(key)) and not BESIDE.search(shown(key))]
    own = [key for key, value in content.items() if is_tensor(value) and not _is_scalar(value)]
    if own and not weights:
        return None
    if not weights:
        weights = [key for key in inner if AVERAGE.search(shown(key))]  # nothing but an average was kept
    named = [repr(shown(key)) for key in weights[:4]]
    if own:
        named.append(f"the tensors around them ({shown(own[0])!r}, ...)")
    if len(named) > 1:
        raise CheckpointError(
            f"{path} holds several things that could be the weights: {' and '.join(named)}; save the one you mean by "
            f"itself: torch.save({{'state_dict': torch.load(FILE)[{shown(weights[0])!r}]}}, 'model.pt')"
        )
    return weights[0] if weights else None


def _is_scalar(value: Any) -> bool:
    return getattr(value, "shape", (2,)) in ((), (1,))


def _holds_tensors(value: Mapping[Any, Any], known: dict[int, bool]) -> bool:
    """Return whether names lead to tensors in `value`, directly or in dicts in it; `known` remembers what was seen."""
    pending, seen = [value], set()
    while pending:
        current = pending.pop()
        if id(current) in seen or known.get(id(current)) is False:
            continue
        seen.add(id(current))
        for key, item in current.items():
            if isinstance(key, str) and is_tensor(item):
                return True
            if isinstance(key, str) and isinstance(item, dict) and not BESIDE.search(key):
                pending.append(item)
    known.update(dict.fromkeys(seen, False))
    return False


def _note_beside(content: Mapping[Any, Any], key: Any, notes: list[str]) -> None:
    beside = sorted(shown(name) for name in content if name != key)
    if beside:
        notes.append(
            f"beside {shown(key)!r} in the checkpoint, not read: {', '.join(beside[:12])}"
            f"{', ...' if len(beside) > 12 else ''}"
        )
    averages = [name for name in beside if AVERAGE.search(name) and _is_state(content.get(name))]
    if averages:
        notes.append(
            f"{', '.join(averages[:3])} is an average of the weights (EMA): not read, the model's own weights are "
            "taken, as FunASR would"
        )


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and _holds_tensors(value, {})


def _kind(value: Any) -> str:
    return "single tensor" if is_tensor(value) else type(value).__name__


def shown(key: Any) -> str:
    """Return a key of a checkpoint as messages show it."""
    return key[:60] if isinstance(key, str) else f"({type(key).__name__})" if isinstance(key, tuple) else str(key)[:60]


def kinds(values: Iterable[Any]) -> str:
    """Return the types that were found where tensors were expected."""
    return ", ".join(sorted({type(value).__name__ for value in values})[:6]) or "nothing"
