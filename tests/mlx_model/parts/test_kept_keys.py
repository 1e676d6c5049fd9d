"""Keys in 12 bits. Oracle: the same rounding in NumPy, and the bound that it has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlx_model.machine.blas import mx
from mlx_model.parts.kept_keys import PackedKeys, batch, kept_of, pack, restored, rows, saved, unpacked
from mlx_model.parts.sanm_chunk import Keys


def some(frames: int, width: int, seed: int = 0, layers: int = 2) -> Keys:
    draw = np.random.default_rng(seed)
    return Keys(*(mx.array(draw.normal(size=(layers, frames, width)).astype(np.float32)) for _ in range(2)))


def same(one: Any, two: Any) -> None:
    for left, right in zip(one, two, strict=True):
        np.testing.assert_array_equal(np.array(left), np.array(right))


@pytest.mark.parametrize(("width", "run"), [(64, 64), (32, 64), (28, 8), (12, 8)])
def test_a_number_is_off_by_half_a_step_of_its_run_at_most(width: int, run: int):
    keys = some(5, width)
    packed = pack(keys)
    back = unpacked(packed, mx.float32)
    assert back is not None
    assert sum(part.nbytes for part in packed) == 2 * 5 * 2 * width * 1.5 + packed.scale.size * 4
    both = np.concatenate([np.array(keys.k), np.array(keys.v)], axis=-1)
    found = np.concatenate([np.array(back.k), np.array(back.v)], axis=-1)
    runs = both.reshape(2, 5, -1, run)
    step = np.abs(runs).max(axis=-1, keepdims=True) / np.float32(2047)
    expected = (np.round(runs / step) * step).reshape(both.shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert (np.abs(found - both).reshape(runs.shape) <= 0.5001 * step).all()


def test_zeros_are_zeros():
    keys = Keys(mx.zeros((1, 2, 8)), mx.zeros((1, 2, 8)))
    same(unpacked(pack(keys), mx.float32) or (), keys)


def test_only_new_frames_are_packed():
    """What was packed before keeps its bits, however many windows it is looked back at."""
    first, second = some(6, 16), some(4, 16, seed=1)
    old = pack(first)
    seen = Keys(*(mx.concatenate([one[:, 2:], two], axis=1) for one, two in zip(first, second, strict=True)))
    kept = kept_of(seen, old, 4, packed=True)
    assert isinstance(kept, PackedKeys)
    assert kept.frames == 8
    same([part[:, :4] for part in kept], [part[:, 2:] for part in old])
    same([part[:, 4:] for part in kept], pack(second))
    same(kept_of(seen, None, 20, packed=True) or (), pack(seen))
    same(kept_of(first, old, 0, packed=True) or (), old)  # a last window without a frame of its own
    assert pack(some(0, 16)).frames == 0
    assert kept_of(seen, None, 4, packed=False) is seen
    assert kept_of(None, None, 4, packed=True) is None


@pytest.mark.parametrize("packed", [True, False])
def test_a_batch_and_an_archive_give_each_stream_its_own(packed: bool):
    streams = [pack(some(3, 8, seed)) if packed else some(3, 8, seed) for seed in range(2)]
    for one, two in zip(rows(batch(streams), 2), streams, strict=True):
        same(one or (), two)
    arrays = {name: np.array(array) for name, array in saved("keys", streams[1]).items()}
    same(restored("keys", arrays, mx.float32) or (), streams[1])
    assert restored("memory", arrays, mx.float32) is None
    assert rows(batch([None, None]), 2) == [None, None]
