"""FunASR's streaming modules one by one: `forward_chunk` as what a call does, each with what it hands on to the next.

Beside torch, without MLX. A module is known by the arguments of its `forward_chunk`, which differ by kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from mlx_model.config.chunking import Chunking
from parity.taps.swap import swapped
from parity.taps.tap import CARRIED

Carried = dict[str, list[np.ndarray]]  # {module@carried: arrays along time}


@contextmanager
def called(model: Any) -> Iterator[None]:
    """Let `forward_chunk` be what the call of a module does, wherever there is one: calls are what taps see."""
    with ExitStack() as stack:
        for module in model.modules():
            if module is not model and hasattr(module, "forward_chunk"):
                healthy = type(module).forward_chunk
                stack.enter_context(swapped(module, forward=healthy, forward_chunk=_call))
        yield


def _call(self: Any, *given: Any, **named: Any) -> Any:
    return self(*given, **named)


# ---- what is handed on


def carried(model: Any, cache: Mapping[str, Any]) -> Carried:
    """Return what the caches of a whole model hold after a window, by the module whose past it is."""
    encoder, decoder = cache["encoder"], cache["decoder"]
    found = {f"encoder@{CARRIED}": [_array(encoder["feats"])]}
    for number, keys in enumerate(encoder["opt"] or ()):
        name = "encoders0.0" if number == 0 else f"encoders.{number - 1}"
        found |= _keys(f"encoder.{name}.self_attn", keys)
    attending = len(model.decoder.decoders)
    for number, past in enumerate(decoder["decode_fsmn"] or ()):
        name = f"decoders.{number}" if number < attending else f"decoders2.{number - attending}"
        found |= _past(model, f"decoder.{name}.self_attn", past)
    for number, keys in enumerate(decoder["opt"] or ()):
        found |= _keys(f"decoder.decoders.{number}.src_attn", keys)
    return found


def _keys(name: str, cache: Mapping[str, Any] | None) -> Carried:
    """Return an attention's keys and values (1, T, D) each; FunASR's are (1, h, T, d)."""
    if cache is None:
        return {}
    heads = [cache[part].transpose(1, 2).flatten(2) for part in ("k", "v")]
    return {f"{name}@{CARRIED}": [_array(each) for each in heads]}


def _past(model: Any, name: str, cache: Any) -> Carried:
    """Return the last inputs of a memory (1, k - 1, D): all that is read again of FunASR's (1, D, k - 1 + U)."""
    if cache is None:
        return {}
    reach = model.get_submodule(name).kernel_size - 1
    return {f"{name}@{CARRIED}": [_array(cache[:, :, cache.shape[2] - reach :].transpose(1, 2))]}


def _array(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy().copy()


# ---- run alone


class Alone:
    """A module without a past: called with its inputs."""

    def __init__(self, model: Any, name: str, chunking: Chunking):
        self.model, self.name, self.chunking = model, name, chunking
        self.module = model.get_submodule(name)

    def __call__(self, *given: Any, final: bool) -> None:
        """Run it on one window."""
        self.module(*given)

    def carried(self) -> Carried:
        """Return what it hands on to the next window."""
        return {}


class EncoderLayer(Alone):
    """An encoder layer and the keys it looks back on."""

    keys: Any = None

    def __call__(self, x: Any, *, final: bool) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  each kind's inputs
        """Run it on one window."""
        _, self.keys = self.module(x, self.keys, [*self.chunking.chunk_size], self.chunking.encoder_chunk_look_back)

    def carried(self) -> Carried:
        """Return its keys."""
        return _keys(f"{self.name}.self_attn", self.keys)


class DecoderLayer(Alone):
    """A decoder layer with its memory's past and the keys it looks back on."""

    past: Any = None
    keys: Any = None

    def __call__(self, x: Any, memory: Any = None, *, final: bool) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  each kind's inputs
        """Run it on one window."""
        look = {"chunk_size": [*self.chunking.chunk_size], "look_back": self.chunking.decoder_chunk_look_back}
        self.past, self.keys = self.module(x, memory, fsmn_cache=self.past, opt_cache=self.keys, **look)[2:]

    def carried(self) -> Carried:
        """Return the memory's past and the keys."""
        past = _past(self.model, f"{self.name}.self_attn", self.past)
        return past | _keys(f"{self.name}.src_attn", self.keys)


class Predictor(Alone):
    """CIF and the pseudo-frame that a window leaves to the next; what it hands on is among what it returns."""

    def __init__(self, model: Any, name: str, chunking: Chunking):
        super().__init__(model, name, chunking)
        weight = self.module.cif_output.weight.detach()
        self.cache = {"chunk_size": [*chunking.chunk_size], "cif_alphas": weight.new_zeros(1, 1)}
        self.cache["cif_hidden"] = weight.new_zeros(1, 1, weight.shape[1])

    def __call__(self, hidden: Any, *, final: bool) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  each kind's inputs
        """Run it on one window."""
        self.module(hidden, self.cache, is_final=final)


KINDS: Mapping[str, type[Alone]] = {
    "encoder.encoders": EncoderLayer, "decoder.decoders": DecoderLayer, "predictor": Predictor,
}  # fmt: skip


def runner(model: Any, name: str, chunking: Chunking) -> Alone:
    """Return what runs a module window after window, its past new."""
    kind = next((kind for start, kind in KINDS.items() if name.startswith(start)), Alone)
    return kind(model, name, chunking)
