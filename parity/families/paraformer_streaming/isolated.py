"""Our streaming modules one by one, window after window, each with a past of its own. Beside MLX, without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mlx_model import ops
from mlx_model.machine.blas import mx
from mlx_model.parts import cif_chunk
from mlx_model.parts.cif_chunk import Fired
from mlx_model.parts.sanm_chunk import Keys, TokenPast
from parity.taps.tap import CARRIED

Carried = dict[str, list[Any]]


class Window(NamedTuple):
    """What one window gives to a module: its arrays (1, T, D) by number of the argument; and is it the last."""

    given: Mapping[str, mx.array]
    final: bool


def cif(fired: Fired, alphas: np.ndarray) -> list[np.ndarray]:
    """Return what CIF made of a window: embeds, alphas, integrals, fires, and the alpha and state it leaves.

    The alpha before a token is taken off, as watching.py has it: it is rounded as sums about 1 are.
    """
    fires = np.zeros(len(fired.integrals), dtype=bool)
    fires[fired.frames] = True
    found = [fired.embeds[None], np.asarray(alphas)[None], fired.integrals[None], fires[None]]
    weight = np.array([[cif_chunk.THRESHOLD + fired.carry.alpha]], dtype=np.float32)
    return [*found, weight, fired.carry.hidden.astype(np.float32)[None, None]]


def runs(side: Any, name: str, windows: Sequence[Window]) -> Iterator[Carried]:
    """Yield, after each window that a module of a candidate was run on, what it hands on to the next."""
    run = next((run for start, run in RUNS.items() if name.startswith(start)), _plain)
    return run(side, name, windows)


def _plain(side: Any, name: str, windows: Sequence[Window]) -> Iterator[Carried]:
    """A module without a past."""
    for window in windows:
        ops.leave(side.modules[name](*side._entered(name, window.given).values()))
        yield {}


def _encoder_layer(side: Any, name: str, windows: Sequence[Window]) -> Iterator[Carried]:
    past: Keys | None = None
    for window in windows:
        x, past = side.modules[name](side._entered(name, window.given)["0"], past, side.setting)
        ops.leave(x)
        yield {} if past is None else {f"{name}.self_attn@{CARRIED}": [*past]}


def _decoder_layer(side: Any, name: str, windows: Sequence[Window]) -> Iterator[Carried]:
    past: TokenPast | None = None
    for window in windows:
        rows = side._entered(name, window.given)
        tokens = window.given["0"].shape[1]
        x, past = side.modules[name](rows["0"], rows.get("1"), past, side.setting, [tokens], None)
        ops.leave(x)
        found = {} if past is None else {f"{name}.self_attn@{CARRIED}": [past.inputs]}
        keys = None if past is None else past.keys
        yield found if keys is None else {**found, f"{name}.src_attn@{CARRIED}": [*keys]}


def _predictor(side: Any, name: str, windows: Sequence[Window]) -> Iterator[Carried]:
    predictor, chunking = side.modules[name], side.setting
    carry = cif_chunk.new_carry(side.model.config.encoder.output_size, np.float32)
    for window in windows:
        hidden = window.given["0"]
        alphas = np.array(predictor.predict_alphas(hidden, None))
        decided = chunking.decided(hidden.shape[1], final=window.final)
        rows = np.array(hidden.astype(mx.float32))[0, decided]
        tail = predictor.tail_threshold if window.final else None
        fired = cif_chunk.integrate(rows, alphas[0, decided], carry, tail=tail)
        carry = fired.carry
        yield {name: cif(fired, alphas[0, decided])}


RUNS: Mapping[str, Callable[[Any, str, Sequence[Window]], Iterator[Carried]]] = {
    "encoder.encoders": _encoder_layer, "decoder.decoders": _decoder_layer, "predictor": _predictor,
}  # fmt: skip
