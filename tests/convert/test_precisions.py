"""Casts between precisions. Oracles: IEEE 754 written out in integers, torch's own rounding, ml-free closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.dtypes import cast, check_target, is_exact, widen
from mlx_model.errors import CheckpointError, UsageError


def bits(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.uint32).view(np.float32)


@pytest.mark.parametrize(
    ("float32_bits", "bfloat16_bits"),
    [
        (0x3F800000, 0x3F80),  # 1.0
        (0x3F808000, 0x3F80),  # halfway above an even last bit: down
        (0x3F818000, 0x3F82),  # halfway above an odd last bit: up
        (0x3F808001, 0x3F81),  # just above halfway: up
        (0x80000000, 0x8000),  # -0.0 keeps its sign
        (0x00000001, 0x0000),  # the smallest subnormal
        (0xBF7FFFFF, 0xBF80),  # rounds over the exponent
    ],
)
def test_float32_rounds_to_the_nearest_even_bfloat16(float32_bits, bfloat16_bits):
    assert cast(bits([float32_bits]), "float32", "bfloat16", "t").tolist() == [bfloat16_bits]


@settings(deadline=None)  # the first example imports torch
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**120), max_value=2.0**120)))
def test_bfloat16_agrees_with_torch(values):
    torch = pytest.importorskip("torch")
    array = np.array(values, dtype=np.float32)
    expected = torch.from_numpy(array.copy()).to(torch.bfloat16).view(torch.uint16).numpy()
    np.testing.assert_array_equal(cast(array, "float32", "bfloat16", "t"), expected)


@given(st.integers(0, 0xFFFF).filter(lambda code: code & 0x7F80 != 0x7F80))
def test_bfloat16_survives_float32_bit_for_bit(code):
    array = np.array([code], dtype=np.uint16)
    wide = cast(array, "bfloat16", "float32", "t")
    assert wide.view(np.uint32).tolist() == [code << 16]
    assert cast(wide, "float32", "bfloat16", "t").tolist() == [code]


@given(st.integers(0, 0xFFFF).filter(lambda code: code & 0x7C00 != 0x7C00))
def test_float16_survives_float32_bit_for_bit(code):
    array = np.array([code], dtype=np.uint16).view(np.float16)
    assert cast(cast(array, "float16", "float32", "t"), "float32", "float16", "t").view(np.uint16).tolist() == [code]


def test_float64_is_rounded_once_on_its_way_to_bfloat16():
    # 1 + 2^-8 + 2^-40 lies just above halfway; rounding through float32 first would land on halfway, then on 1.0.
    assert cast(np.array([1 + 2.0**-8 + 2.0**-40]), "float64", "bfloat16", "t").tolist() == [0x3F81]
    assert cast(np.array([1 + 2.0**-8]), "float64", "bfloat16", "t").tolist() == [0x3F80]


def test_which_casts_lose_nothing():
    exact = {(a, b) for a in ("float64", "float32", "float16", "bfloat16") for b in ("float32", "float16", "bfloat16")
             if is_exact(a, b)}  # fmt: skip
    same = {(name, name) for name in ("float32", "float16", "bfloat16")}
    assert exact == same | {("float16", "float32"), ("bfloat16", "float32")}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_damaged_tensor_is_named(value):
    with pytest.raises(CheckpointError, match=r"'w\.x' holds NaN or infinity"):
        cast(np.array([1.0, value], dtype=np.float32), "float32", "float32", "w.x")


def test_a_value_too_large_for_float16_is_refused_not_made_infinite():
    with pytest.raises(CheckpointError, match=r"'w' holds 70000, too large for float16"):
        cast(np.array([1.0, 70000.0], dtype=np.float32), "float32", "float16", "w")
    assert cast(np.array([65504.0], dtype=np.float32), "float32", "float16", "w").tolist() == [65504.0]


def test_integers_are_no_weights():
    with pytest.raises(CheckpointError, match="int8"):
        cast(np.array([1], dtype=np.int8), "int8", "float32", "w")


def test_widen_reads_bfloat16_bits():
    assert widen(np.array([0x4049], dtype=np.uint16), "bfloat16").tolist() == [3.140625]


def test_an_unknown_target_is_a_usage_error():
    with pytest.raises(UsageError, match="float32, float16, bfloat16"):
        check_target("int4")
