"""FunASR in float16 and bfloat16: the models, what each gave beside the float32 run, and where one gives no floor.

Weights are rounded to the type first, as `model.half()` does. FunASR's LayerNorm then computes in float32 and rounds
what it returns; so does ours, and so it stays. Two things FunASR leaves in float32, and fails: its decoders' masks,
which make float32 of what they are multiplied by, and what is then given to a layer of 16-bit weights. `computing` sees
to both.
Runs beside torch; must not import mlx.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import numpy as np

from parity.taps.packing import Pair
from parity.taps.trace import Recorded


@contextlib.contextmanager
def computing(auto: Any) -> Iterator[None]:
    """Let masks, and what layers are given, be of the precision of the model's weights as long as the block lasts."""
    import torch
    from funasr.models.scama import utils

    dtype = next(auto.model.parameters()).dtype
    wide = utils.sequence_mask

    def mask(*given: Any, **more: Any) -> Any:
        return wide(*given, **more).to(dtype)

    def rounded(layer: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        floats = [torch.is_tensor(value) and value.is_floating_point() for value in given]
        return tuple(value.to(dtype) if is_float else value for value, is_float in zip(given, floats, strict=True))

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(utils, "sequence_mask", mask))
        for layer in auto.model.modules():
            if not [*layer.children()] and [*layer.parameters(recurse=False)]:
                stack.callback(layer.register_forward_pre_hook(rounded).remove)
        yield


class Halves:
    """AutoModels of half precisions by name; `for name, auto in halves` gives those that have not failed so far."""

    def __init__(self) -> None:
        self.models: dict[str, Any] = {}
        self.lost: dict[str, str] = {}  # why a precision gives no floor

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter([(name, auto) for name, auto in self.models.items() if name not in self.lost])

    @contextlib.contextmanager
    def trying(self, name: str) -> Iterator[None]:
        """Take an error for what it is: FunASR or torch cannot compute in this precision; there is no floor then."""
        try:
            yield
        except (RuntimeError, TypeError, NotImplementedError) as error:
            self.lost[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]

    def beside(self, name: str, tap: str, pair: Pair, taps: Mapping[str, np.ndarray]) -> Pair:
        """Return a tap's pair with a half precision's array beside it, where it has that tap.

        Numbers that are not finite (float16 ends at 65,504) give no floor: the precision is lost.
        """
        if tap not in taps:
            return pair
        if not np.isfinite(taps[tap]).all():
            self.lost.setdefault(name, f"not finite at {tap}")
        return Pair.of(pair[0], pair[1], {**pair.halves(), name: taps[tap]})

    def check(self, arrays: Recorded) -> None:
        """Lose the precisions that some tap of an utterance was not read in: it could not be judged."""
        for group in (arrays.propagated, arrays.introduced):
            for tap, pair in group.items():
                for name, _ in self:
                    if name not in pair.halves():
                        self.lost[name] = f"not read at {tap}"

    def found(self) -> dict[str, str]:
        """Return {precision: why it gives no floor, "" where it does} of all that were asked for."""
        return {name: self.lost.get(name, "") for name in self.models}
