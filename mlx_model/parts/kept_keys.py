"""Keys and values of streams as they are kept between windows: as computed, or in 12 bits a number.

12 bits are for a service with many streams: 0.4 of the memory, while attention computes with float32 as ever. Runs of
up to 64 numbers of a frame share a scale, so that the error is at most half of a 2047th of the run's largest: about
that of float16, whose 16 bits would not be few enough (at full size, looking back 4 chunks of 10 frames, keys alone
are 8.2 MB in 32 bits, 4.1 in 16 and 3.2 in 12).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from mlx_model.machine.blas import mx
from mlx_model.parts.sanm_chunk import Keys

RUN = 64  # numbers that share a scale, at most
STEPS = 2047  # to either side of 0


class PackedKeys(NamedTuple):
    """Keys and values beside each other, (..., T, 2D) in 12 bits: the upper 8, the lower 4 of two numbers, scales."""

    high: UInt8[mx.array, "*batch T DD"]
    low: UInt8[mx.array, "*batch T D"]
    scale: Float[mx.array, "*batch T G"]

    @property
    def frames(self) -> int:
        """How many frames' keys these are."""
        return self.high.shape[-2]


Kept = Keys | PackedKeys | None  # of one stream (layers, T, D) each, of a batch (B, layers, T, D); None: there are none


def pack(keys: Keys) -> PackedKeys:
    """Return keys in 12 bits."""
    both = mx.concatenate([keys.k, keys.v], axis=-1).astype(mx.float32)
    width = both.shape[-1]
    run = math.gcd(RUN, width)
    runs = both.reshape(*both.shape[:-1], width // run, run)  # (..., T, G, 2D/G)
    scale = mx.abs(runs).max(axis=-1, keepdims=True) / STEPS
    steps = mx.round(runs / mx.where(scale == 0.0, 1.0, scale)).reshape(both.shape)  # (..., T, 2D)
    whole = (steps + (STEPS + 1)).astype(mx.uint16)
    rest = (whole & 15).astype(mx.uint8)
    low = rest[..., : width // 2] | (rest[..., width // 2 :] << 4)
    return PackedKeys((whole >> 4).astype(mx.uint8), low, scale[..., 0])


def unpacked(kept: Kept, dtype: mx.Dtype) -> Keys | None:
    """Return keys as attention takes them."""
    if not isinstance(kept, PackedKeys):
        return kept
    rest = mx.concatenate([kept.low & 15, kept.low >> 4], axis=-1)
    steps = kept.high.astype(mx.float32) * 16.0 + (rest.astype(mx.float32) - (STEPS + 1.0))
    run = steps.shape[-1] // kept.scale.shape[-1]
    both = (steps.reshape(*kept.scale.shape, run) * kept.scale[..., None]).reshape(steps.shape)  # (..., T, 2D)
    return Keys(*mx.split(both.astype(dtype), 2, axis=-1))


def kept_of(keys: Keys | None, before: Kept, fresh: int, *, packed: bool) -> Kept:
    """Return what a window leaves as it is kept; of its keys the last `fresh` are new, the others are in `before`."""
    if keys is None or not packed:
        return keys
    new = pack(Keys(*(part[..., max(part.shape[-2] - fresh, 0) :, :] for part in keys)))
    old = keys.frames - new.frames
    if not isinstance(before, PackedKeys) or old == 0:
        return new
    return PackedKeys(
        *(mx.concatenate([one[..., -old:, :], two], axis=-2) for one, two in zip(before, new, strict=True))
    )


def batch(keys: Sequence[Kept]) -> Kept:
    """Return streams' keys as a batch; all have some, or none has."""
    found = [each for each in keys if each is not None]
    return type(found[0])(*(mx.stack(list(parts)) for parts in zip(*found, strict=True))) if found else None


def rows(keys: Kept, count: int) -> list[Kept]:
    """Return each stream's keys, being computed now: what they are made of is not to be kept until the next window."""
    found = [None if keys is None else type(keys)(*(alone(part, row) for part in keys)) for row in range(count)]
    mx.async_eval(found)
    return found


def alone(array: mx.array, row: int) -> mx.array:
    """Return one stream's part, which does not keep the batch's in memory."""
    return array[0] if len(array) == 1 else mx.contiguous(array[row] + 0)


def saved(name: str, keys: Kept) -> dict[str, mx.array]:
    """Return keys' arrays by names of their own."""
    return {} if keys is None else {f"{name}.{part}": array for part, array in keys._asdict().items()}


def restored(name: str, arrays: Mapping[str, np.ndarray], dtype: mx.Dtype) -> Kept:
    """Return the keys that were saved by that name."""
    if f"{name}.high" in arrays:
        return PackedKeys(*(mx.array(arrays[f"{name}.{part}"]) for part in PackedKeys._fields))
    if f"{name}.k" in arrays:
        return Keys(*(mx.array(arrays[f"{name}.{part}"]).astype(dtype) for part in Keys._fields))
    return None
