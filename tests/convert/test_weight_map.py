"""Patterns, layout changes and total accounting. Oracles: values placed by hand, and the definition of an inverse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from convert.weight_map import CONV1D, CONV_TRANSPOSE1D, COPY, OPS, Rule, WeightMap, matches
from mlx_model.errors import CheckpointError


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("a.*.weight", "a.0.weight", True),
        ("a.*.weight", "a.0.1.weight", False),
        ("a.*.weight", "a.weight", False),
        ("a.**", "a.b.c", True),
        ("a.**", "a", True),
        ("a.**", "ab.c", False),
        ("**.weight", "weight", True),
        ("**.weight", "x.y.weight", True),
        ("**.weight", "x.yweight", False),
        ("a.**.z", "a.z", True),
        ("a.**.z", "a.b.c.z", True),
        ("a.**.z", "a.bz", False),
        ("criterion*.**", "criterion_att.weight", True),
        ("criterion*.**", "x.criterion.weight", False),
        ("encoder.encoders.*.w", "encoder.encoders0.0.w", False),
        ("a.b", "a+b", False),
    ],
)
def test_star_is_one_segment_and_two_stars_any_number(pattern, name, expected):
    assert matches(pattern, name) is expected


def test_depthwise_kernel_moves_its_taps_to_the_middle():
    kernel = np.array([[[1, 2, 3]], [[4, 5, 6]]], dtype=np.float32)  # (D=2, 1, K=3)
    expected = np.array([[[1], [2], [3]], [[4], [5], [6]]], dtype=np.float32)  # (D, K, 1), by hand
    np.testing.assert_array_equal(CONV1D.apply(kernel), expected)


def test_dense_kernel_with_as_many_inputs_as_taps_is_not_left_as_it_is():
    # Every shape check passes on a (3, 3, 3) kernel whatever is done to it: only values tell.
    kernel = np.arange(27, dtype=np.float32).reshape(3, 3, 3)  # value = 9 out + 3 in + tap
    moved = CONV1D.apply(kernel)
    assert [moved[2, tap, 1] for tap in range(3)] == [9 * 2 + 3 * 1 + tap for tap in range(3)]
    assert moved[0, 2, 1] == 3 * 1 + 2


def test_a_transposed_kernel_with_as_many_inputs_as_outputs_and_taps_goes_where_it_should():
    kernel = np.arange(27, dtype=np.float32).reshape(3, 3, 3)  # value = 9 in + 3 out + tap
    moved = CONV_TRANSPOSE1D.apply(kernel)
    assert [moved[out, tap, 2] for out, tap in ((0, 1), (2, 0))] == [9 * 2 + 1, 9 * 2 + 3 * 2]
    assert moved[1, 2, 0] == 3 + 2
    np.testing.assert_array_equal(CONV_TRANSPOSE1D.invert(moved), kernel)


def test_the_moved_kernel_convolves_in_mlx_as_numpy_says():
    """Oracle: the sum that defines a cross-correlation, on C_in == K, where a wrong layout has the right shape."""
    mx = pytest.importorskip("mlx.core")
    generator = np.random.default_rng(1)
    kernel = generator.standard_normal((4, 3, 3))  # torch: (O, I, K)
    signal = generator.standard_normal((7, 3))  # (T, I)
    expected = np.array([[(kernel[o] * signal[t : t + 3].T).sum() for o in range(4)] for t in range(5)])
    found = mx.conv1d(mx.array(signal.astype(np.float32))[None], mx.array(CONV1D.apply(kernel.astype(np.float32))))
    # 9 float32 products of size one: rounding stays below 1e-6 by far.
    np.testing.assert_allclose(np.array(found[0]), expected, atol=5e-6)


@given(op=st.sampled_from([op for op in OPS.values() if op.axes is not None]), data=st.data())
def test_invert_undoes_apply_bit_for_bit(op, data):
    dims = len(op.axes)
    array = data.draw(hnp.arrays(np.uint32, hnp.array_shapes(min_dims=dims, max_dims=dims, max_side=5)))
    array = array[..., :1] if op.flat else array
    assert op.apply(array).shape == op.shape(array.shape)
    assert op.source_shape(op.shape(array.shape)) == array.shape
    np.testing.assert_array_equal(op.invert(op.apply(array)), array)
    assert COPY.apply(array) is array


def rules(*extra: Rule) -> WeightMap:
    return WeightMap(family="toy", rules=(Rule(pattern="conv.weight", op="conv1d"), *extra))


SOURCE = {"conv.weight": (4, 1, 3), "lin.weight": (2, 4)}
TARGET = {"conv.weight": (4, 3, 1), "lin.weight": (2, 4)}


def test_every_tensor_gets_exactly_one_fate():
    plan = rules(Rule(pattern="extra.**", reason="unused")).plan({**SOURCE, "extra.a.b": (1,)}, TARGET)
    assert [(item.source, item.target, item.op.name, item.reason) for item in plan] == [
        ("conv.weight", "conv.weight", "conv1d", CONV1D.why),
        ("lin.weight", "lin.weight", "copy", COPY.why),
        ("extra.a.b", None, "copy", "unused"),
    ]


@pytest.mark.parametrize(
    ("source", "target", "extra", "names"),
    [
        ({**SOURCE, "stray.bias": (2,)}, TARGET, (), ["stray.bias", "no rule drops"]),
        (SOURCE, {**TARGET, "lin.bias": (2,)}, (), ["lin.bias", "missing"]),
        ({**SOURCE, "lin.weight": (4, 2)}, TARGET, (), ["lin.weight", "(4, 2)", "(2, 4)"]),
        ({**SOURCE, "conv.weight": (4, 3, 1)}, TARGET, (), ["conv.weight", "(4, 3, 1)", "(4, 1, 3)"]),
        ({**SOURCE, "conv.weight": (4, 3)}, TARGET, (), ["conv.weight", "(4, 3)", "(4, 1, 3)"]),
        (SOURCE, TARGET, (Rule(pattern="lin.*", op="conv1d"), Rule(pattern="**.weight", reason="no")), ["two rules"]),
        (SOURCE, TARGET, (Rule(pattern="gone.*", reason="no"),), ["'gone.*'", "no tensor"]),
        (SOURCE, TARGET, (Rule(pattern="lin.**", reason="no"),), ["lin.weight", "missing"]),
    ],
)
def test_whatever_does_not_add_up_is_an_error_that_names_it(source, target, extra, names):
    with pytest.raises(CheckpointError) as caught:
        rules(*extra).plan(source, target)
    for name in names:
        assert name in str(caught.value)


def test_an_optional_rule_may_match_nothing():
    assert len(rules(Rule(pattern="gone.*", reason="no", optional=True)).plan(SOURCE, TARGET)) == 2
