"""CIF over windows: the same tokens however a stream is cut, and what is carried. Oracles: exact fractions, by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from mlx_model.parts.cif_chunk import Fired, integrate, new_carry


def cut(hidden: np.ndarray, alphas: np.ndarray, size: int, dtype: type, tail: float = 0.45) -> list[Fired]:
    carry, found = new_carry(hidden.shape[1], dtype), []
    for start in range(0, len(alphas), size):
        stop = start + size
        last = tail if stop >= len(alphas) else None
        found.append(integrate(hidden[start:stop], alphas[start:stop], carry, tail=last))
        carry = found[-1].carry
    return found


def example(frames: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((frames, 4)).astype(np.float32), rng.random(frames).astype(np.float32) ** 2


def test_two_tokens_by_hand():
    """0.75 + 0.5: one token of 0.75 h0 + 0.25 h1; 0.25 h1 goes on; + 0.75 h2 is the second, and nothing is left."""
    hidden = np.array([[4.0], [8.0], [16.0]], np.float32)
    first = integrate(hidden[:2], np.array([0.75, 0.5], np.float32), new_carry(1, np.float64), tail=None)
    assert first.embeds.tolist() == [[0.75 * 4 + 0.25 * 8]]
    assert (first.frames.tolist(), first.integrals.tolist()) == ([1], [0.75, 1.25])
    assert (first.carry.alpha, first.carry.hidden.tolist()) == (0.25, [8.0])
    second = integrate(hidden[2:], np.array([0.75], np.float32), first.carry, tail=None)
    assert second.embeds.tolist() == [[0.25 * 8 + 0.75 * 16]]
    assert (second.carry.alpha, second.carry.hidden.tolist()) == (0.0, [0.0])


def test_the_tail_completes_what_is_nearly_a_token():
    hidden = np.array([[4.0]], np.float32)
    (without,) = cut(hidden, np.array([0.5], np.float32), 1, np.float64, tail=0.45)
    (completed,) = cut(hidden, np.array([0.75], np.float32), 1, np.float64, tail=0.45)
    assert len(without.embeds) == 0
    assert completed.embeds.tolist() == [[0.75 * 4]]  # the tail's frame is empty
    assert completed.frames.tolist() == [1]


@pytest.mark.parametrize("size", [1, 3, 10, 1000])
def test_tokens_fire_where_the_exact_sum_says_so(size: int):
    """Oracle: sums of fractions. 20,000 frames; float64 loses 1e-16 a frame, and nothing of what was long ago."""
    hidden, alphas = example(20_000)
    total, wanted = Fraction(0), []
    for frame, alpha in enumerate(alphas.tolist()):
        total += Fraction(alpha)
        if total >= 1:
            wanted.append(frame)
            total -= 1
    frames, at = [], 0
    for start, part in zip(range(0, len(alphas), size), cut(hidden, alphas, size, np.float64, tail=0.0), strict=True):
        frames += (part.frames + start).tolist()
        at = start
    assert at < len(alphas)
    assert frames == wanted


@pytest.mark.parametrize("size", [1, 3, 10])
def test_embeddings_do_not_depend_on_the_cut(size: int):
    """Oracle: one window. In float64 dividing what is carried and multiplying it again costs 1e-16."""
    hidden, alphas = example(200)
    (whole,) = cut(hidden, alphas, 1000, np.float64)
    parts = cut(hidden, alphas, size, np.float64)
    np.testing.assert_allclose(np.concatenate([part.embeds for part in parts]), whole.embeds, atol=1e-6)


def test_in_float32_sums_round_as_funasrs_do():
    """Oracle: by hand. 0.1 added ten times is above 1 in float32 (1.0000001), below in float64 of float32's 0.1."""
    alphas, hidden = np.full(10, 0.1, np.float32), np.ones((10, 1), np.float32)
    total = np.float32(0)
    for alpha in alphas:
        total += alpha
    single = integrate(hidden, alphas, new_carry(1, np.float32), tail=None)
    assert single.integrals[-1] == total
    assert single.carry.hidden.dtype == np.float32
    assert single.integrals.dtype == np.float32
