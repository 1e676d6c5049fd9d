"""Repeated layers of a tensor table folded into one line each: `encoder.encoders.{0..48}.norm1.weight`.

Pure functions over TensorRow. Imports schema only; it must not import the renderers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

from reports.schema import TensorRow


class Fold(NamedTuple):
    """One line that stands for `tensors` rows; `shape` and `dtype` are None where they vary."""

    source: str
    target: str | None
    op: str
    shape: list[int] | None
    dtype: str | None
    reason: str
    tensors: int


def by_pattern(rows: Iterable[TensorRow]) -> list[Fold]:
    """Return rows that differ in layer numbers only as one line, if the pattern claims no absent tensor."""
    folds: list[Fold] = []
    for group in _groups(rows, lambda row: (*_identity(row), row.dtype, tuple(row.shape), _mask(row.source))):
        source, target = _pattern([row.source for row in group]), _targets(group)
        if source is None or target is None:
            folds += [_fold([row], row.source, row.target) for row in group]
        else:
            folds.append(_fold(group, source, target[0]))
    return folds


def by_layer(rows: Sequence[TensorRow]) -> list[Fold]:
    """Return one line per stack of layers, op and reason: `encoder.encoders.{0..48}.*` with the number of tensors.

    `.*` stands for those of the stack that have no line of their own; such a line is exact in op and reason only.
    """
    folds: list[Fold] = []
    for group in _groups(rows, lambda row: (*_identity(row), _mask(_stack(row.source)))):
        sources = [row.source for row in group]
        stack = _pattern(list(dict.fromkeys(_stack(source) for source in sources)))
        if len({_mask(source) for source in sources}) == 1 or stack is None:
            folds += by_pattern(group)
        else:
            same = all(row.target == row.source for row in group)
            target = None if group[0].target is None else f"{stack}.*" if same else "(renamed)"
            folds.append(_fold(group, f"{stack}.*", target))
    return folds


def _identity(row: TensorRow) -> tuple[Hashable, ...]:
    return row.op, row.reason, row.target is None


def _groups(rows: Iterable[TensorRow], key: Callable[[TensorRow], Hashable]) -> Iterable[list[TensorRow]]:
    groups: dict[Hashable, list[TensorRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups.values()


def _mask(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "#", name)


def _stack(name: str) -> str:
    """Return the name up to its first layer number, or its module where it has none."""
    numbered = re.match(r"(.*?\.\d+)(?:\.|$)", name)
    return numbered.group(1) if numbered else name.rpartition(".")[0] or name


def _targets(group: Sequence[TensorRow]) -> tuple[str | None] | None:
    """Return the folded target in a tuple, or None where the targets do not fold into one name."""
    names = [row.target for row in group if row.target is not None]
    if not names:
        return (None,)
    pattern = _pattern(names) if len({_mask(name) for name in names}) == 1 else None
    return None if pattern is None else (pattern,)


def _pattern(names: Sequence[str]) -> str | None:
    """Return names that share a mask as one pattern, or None where it would also claim an absent name."""
    if len(names) == 1:
        return names[0]
    columns = [list(dict.fromkeys(column)) for column in zip(*(name.split(".") for name in names), strict=True)]
    claimed = 1
    for column in columns:
        claimed *= len(column)
    if claimed != len(set(names)) or len(set(names)) != len(names):
        return None
    return ".".join(column[0] if len(column) == 1 else _numbers(column) for column in columns)


def _numbers(texts: Sequence[str]) -> str:
    runs: list[list[int]] = []
    for number in sorted(int(text) for text in texts):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return f"{{{','.join(str(run[0]) if len(run) == 1 else f'{run[0]}..{run[-1]}' for run in runs)}}}"


def _fold(group: Sequence[TensorRow], source: str, target: str | None) -> Fold:
    first = group[0]
    same_shape = all(row.shape == first.shape for row in group)
    same_dtype = all(row.dtype == first.dtype for row in group)
    kept = list(first.shape) if same_shape else None
    return Fold(source, target, first.op, kept, first.dtype if same_dtype else None, first.reason, len(group))
