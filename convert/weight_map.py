"""Invertible layout changes and the total accounting of a conversion. Pure numpy; imports neither torch nor mlx.

A family's table lists exceptions only: `ops` (pattern -> layout change) and `drop` (pattern -> reason). Everything
else copies under its own name. In a pattern `*` is exactly one dotted segment and `**` any number of them.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from mlx_model.errors import CheckpointError

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """A permutation of axes. `axes` is None for a plain copy; `apply` then `invert` gives the same bits back.

    `flat`: the last axis then has length 1, and is left away.
    """

    name: str
    axes: tuple[int, ...] | None
    why: str
    flat: bool = False

    def shape(self, source: Shape) -> Shape:
        """Return the shape `apply` gives; a tensor of another rank keeps its shape and is reported by the caller."""
        if self.axes is None or len(source) != len(self.axes):
            return source
        moved = tuple(source[axis] for axis in self.axes)
        return moved[:-1] if self.flat and moved[-1] == 1 else moved

    def source_shape(self, target: Shape) -> Shape:
        """Return the shape that `apply` takes to make this one."""
        target = (*target, 1) if self.flat else target
        return target if self.axes is None else tuple(target[axis] for axis in np.argsort(self.axes))

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return the tensor in MLX's layout (a view where nothing has to move)."""
        moved = array if self.axes is None else array.transpose(self.axes)
        return moved[..., 0] if self.flat else moved

    def invert(self, array: np.ndarray) -> np.ndarray:
        """Return the tensor in torch's layout: the inverse of `apply`."""
        array = array[..., None] if self.flat else array
        return array if self.axes is None else array.transpose(np.argsort(self.axes))


COPY = Op(name="copy", axes=None, why="same layout in torch and MLX")
# torch keeps Conv1d kernels as (out, in/groups, taps), MLX as (out, taps, in/groups). Depthwise (D, 1, K) -> (D, K, 1)
# and dense (O, I, K) -> (O, K, I) are one and the same permutation, so a kernel with I == K cannot be mistaken.
CONV1D = Op(name="conv1d", axes=(0, 2, 1), why="torch Conv1d (out, in/groups, taps) -> MLX (out, taps, in/groups)")
# The FSMN's kernels are Conv2d's (D, 1, K, 1), one column wide: (D, K, 1, 1) here.
CONV2D = Op(name="conv2d", axes=(0, 2, 3, 1), why="torch Conv2d (out, in/groups, H, W) -> MLX (out, H, W, in/groups)")
# A Conv1d of one tap is a product: (out, in, 1) -> (out, in), which engines and quantisation know.
POINTWISE = Op(name="pointwise", axes=(0, 1, 2), flat=True, why="torch Conv1d of one tap (out, in, 1) -> Linear")
# Inputs stand first in a transposed convolution: (I, O, K). With I == O, as in CifPredictorV3, any order has the shape.
CONV_TRANSPOSE1D = Op(
    name="conv_transpose1d", axes=(1, 2, 0), why="torch ConvTranspose1d (in, out, taps) -> MLX (out, taps, in)"
)
OPS: dict[str, Op] = {op.name: op for op in (COPY, CONV1D, CONV2D, CONV_TRANSPOSE1D, POINTWISE)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of a table: what happens to the tensors that match. `op` or `reason` is set, never both.

    An `optional` rule may match nothing (a variant's part, a training leftover); any other rule that does is dead. A
    `spare` one drops only what the model of this configuration has no parameter for, whatever other rule matches.
    """

    pattern: str
    op: str | None = None
    reason: str | None = None
    optional: bool = False
    spare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The fate of one source tensor. `target` is None where it is dropped; `reason` says why in either case."""

    source: str
    target: str | None
    op: Op
    reason: str


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    expression = ""
    for index, segment in enumerate(pattern.split(".")):
        if segment == "**":  # takes the dot beside it along, so that it may stand for nothing
            expression += r"(?:\.[^.]+)*" if index else r"(?:[^.]+\.)*"
            continue
        dot = r"\." if index and expression != r"(?:[^.]+\.)*" else ""
        expression += dot + re.escape(segment).replace(r"\*", r"[^.]+" if segment == "*" else r"[^.]*")
    return re.compile(expression)


def matches(pattern: str, name: str) -> bool:
    """Return whether a dotted name matches; `*` one segment (or a part of one, as in `norm*`), `**` any number."""
    return _compiled(pattern).fullmatch(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightMap:
    """A family's rules. `plan` settles the fate of every tensor or raises."""

    family: str
    rules: tuple[Rule, ...]

    def plan(self, source: Mapping[str, Shape], target: Mapping[str, Shape]) -> list[Assignment]:
        """Return one Assignment per source tensor, in source order.

        Args:
            source: checkpoint names and shapes.
            target: the MLX model's parameter names and shapes, without those filled from elsewhere (CMVN).

        Raises:
            CheckpointError: a tensor claimed twice, missing, surplus or misshapen; a rule that matches nothing.
        """
        claims = {name: self._claiming(name, target) for name in source}
        self._check_claims(claims)
        assignments = [_assign(name, rules) for name, rules in claims.items()]
        _check_names(assignments, target, self.family)
        for item in assignments:
            if item.target is not None:
                _check_shape(item, source[item.source], target[item.target])
        return assignments

    def _claiming(self, name: str, target: Container[str]) -> list[Rule]:
        found = [rule for rule in self.rules if matches(rule.pattern, name) and not (rule.spare and name in target)]
        return [rule for rule in found if rule.spare] or found

    def _check_claims(self, claims: Mapping[str, Sequence[Rule]]) -> None:
        for name, rules in claims.items():
            if len(rules) > 1:
                patterns = " and ".join(repr(rule.pattern) for rule in rules)
                raise CheckpointError(f"tensor {name!r} is claimed by two rules of {self.family}: {patterns}")
        alive = {rule.pattern for rules in claims.values() for rule in rules}
        for rule in self.rules:
            if rule.pattern not in alive and not rule.optional:
                raise CheckpointError(
                    f"no tensor matches {rule.pattern!r}, which every {self.family} checkpoint has; "
                    "the checkpoint is incomplete or of another family"
                )


def _assign(name: str, rules: Sequence[Rule]) -> Assignment:
    if not rules:
        return Assignment(source=name, target=name, op=COPY, reason=COPY.why)
    rule = rules[0]
    if rule.op is None:
        return Assignment(source=name, target=None, op=COPY, reason=rule.reason or "")
    return Assignment(source=name, target=name, op=OPS[rule.op], reason=OPS[rule.op].why)


def _check_names(assignments: Sequence[Assignment], target: Mapping[str, Shape], family: str) -> None:
    filled = [item.target for item in assignments if item.target is not None]
    surplus = [name for name in filled if name not in target]
    missing = [name for name in target if name not in set(filled)]
    if surplus:
        raise CheckpointError(
            f"{_some(surplus)} in the checkpoint but not in a {family} of this configuration, and no rule drops "
            "such tensors; is this config.yaml the one the checkpoint was trained with?"
        )
    if missing:
        raise CheckpointError(
            f"{_some(missing)} missing from the checkpoint, although a {family} of this configuration has "
            f"{'it' if len(missing) == 1 else 'them'}; the checkpoint is incomplete or config.yaml is not its own"
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return (
        f"tensor {shown} is" if len(names) == 1 else f"{len(names)} tensors ({shown}{', ...' * (len(names) > 3)}) are"
    )


def _check_shape(item: Assignment, source: Shape, target: Shape) -> None:
    axes = item.op.axes
    if item.op.shape(source) != target or (axes is not None and len(source) != len(axes)):
        raise CheckpointError(
            f"tensor {item.source!r} has shape {source}, but config.yaml asks for {item.op.source_shape(target)}; "
            "the configuration does not belong to this checkpoint"
        )
