"""Taps, on MLX modules and (beside torch) on torch modules. Oracle: the modules' own outputs."""

from __future__ import annotations

import numpy as np
import pytest

from mlx_model.machine.blas import mx, nn
from parity.taps.tap import matches, record
from parity.taps.tapset import load_tapset


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = [nn.Linear(3, 3), nn.Linear(3, 3)]
        self.norm = nn.LayerNorm(3)

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x), None, x


def test_records_every_match_and_leaves_no_trace():
    model, x = Pair(), mx.ones((2, 3))
    classes = [type(block) for block in model.blocks]
    with record(model, ["blocks.*", "norm"]) as seen:
        output = model(x)
    assert sorted(seen) == ["blocks.0", "blocks.1", "norm"]
    np.testing.assert_array_equal(seen["blocks.1"][0], np.array(output[2]))
    assert [type(block) for block in model.blocks] == classes
    with record(model, ["norm"]) as later:
        pass
    model(x)
    assert later == {}  # nothing stays hooked


def test_a_module_may_be_called_by_another_and_its_own_call_is_recorded():
    model, x = Pair(), mx.ones((2, 3))
    plain = np.array(model.blocks[1](model.blocks[0](x)))
    with record(model, ["blocks.*"], {"blocks.1": lambda call, x: call(mx.concatenate([x, x]))[:2]}) as seen:
        output = model(x)
    assert seen["blocks.0"][0].shape == (2, 3)
    assert seen["blocks.1"][0].shape == (4, 3)
    np.testing.assert_array_equal(np.array(output[2]), plain)


def test_tuples_keep_their_arrays_in_order():
    model = Pair()
    with record(model, [""]) as seen:
        output = model(mx.ones((1, 3)))
    assert len(seen[""]) == 2
    np.testing.assert_array_equal(seen[""][1], np.array(output[2]))


def test_the_copy_is_taken_at_capture_time():
    """FunASR adds to a tensor in place after returning it; a kept reference would show the sum."""
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(3, 3)
    with record(layer, [""]) as seen, torch.inference_mode():
        output = layer(torch.ones(1, 3))
        before = output.clone().numpy()
        output += 1.0
    np.testing.assert_array_equal(seen[""][0], before)


def test_an_unknown_name_is_an_error():
    with pytest.raises(LookupError, match="nothing_like_it"), record(Pair(), ["nothing_like_it"]):
        pass


def double(x):
    return x * 2


class Calling(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def shifted(self, x):
        return x + 1

    def __call__(self, x, scale=1.0):
        return self.linear(self.shifted(double(x)) * scale)


def test_inputs_arguments_and_functions_inside_a_module():
    """A method of the module and a function of its file are found by the same kind of probe, and restored."""
    model, x = Calling(), mx.ones((2, 3))
    before = double
    with record(model, ["linear@input", "@args", "@double", "@shifted"]) as seen:
        model(x, scale=2.0)
    np.testing.assert_array_equal(seen["linear@input"][0], np.full((2, 3), 6.0))
    np.testing.assert_array_equal(seen["@args"][0][0], np.ones((2, 3)))
    assert seen["@args"][1] == {"scale": 2.0}
    np.testing.assert_array_equal(seen["@double"][0], np.full((2, 3), 2.0))
    np.testing.assert_array_equal(seen["@shifted"][0], np.full((2, 3), 3.0))
    assert double is before
    assert type(model) is Calling
    with pytest.raises(LookupError, match="halved"), record(model, ["@halved"]):
        pass


def test_mlx_arrays_rewritten_in_place_keep_their_recorded_value():
    class Rewriting(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Identity()

        def __call__(self, x):
            y = self.inner(x * 1.0)
            y += 1.0
            return y

    with record(Rewriting(), [""]) as _, record(model := Rewriting(), ["inner"]) as seen:
        model(mx.ones((2,)))
    np.testing.assert_array_equal(seen["inner"][0], np.ones(2))


def test_the_class_comes_back_after_an_exception():
    model = Pair()
    with pytest.raises(ZeroDivisionError), record(model, ["norm"]):
        raise ZeroDivisionError
    assert type(model.norm) is nn.LayerNorm


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [("a.b.0", "a.b.*", True), ("a.b.0.c", "a.b.*", False), ("a.b", "a.b.*", False), ("a.bc.1", "a.b*.1", True)],
)
def test_patterns_do_not_cross_dots(name: str, pattern: str, fits: bool):
    assert matches(name, pattern) is fits


def test_network_order_and_names():
    tapset = load_tapset("paraformer")
    names = ["decoder.output_layer", *[f"encoder.encoders.{i}" for i in (10, 9, 0)], "encoder.encoders0.0", "predictor"]
    seen = {name: [np.zeros(1)] * (4 if name == "predictor" else 1) for name in [*names, "encoder.encoders0.0@input"]}
    assert list(tapset.collect(seen)) == [
        "encoder.embed", "encoder.encoders0.0", "encoder.encoders.0", "encoder.encoders.9", "encoder.encoders.10",
        "predictor.alphas", "predictor.fires", "predictor.token_num", "predictor.acoustic_embeds",
        "decoder.output_layer",
    ]  # fmt: skip
    assert tapset.spec("predictor.alphas").name == ("predictor",)
    assert tapset.spec("encoder.encoders0.0.self_attn.q").steps
    assert tapset.spec("encoder.embed").at == "input"
    assert tapset.spec("decoder.output_layer").ratio == 3.0
    assert all(tap.reason for tap in tapset.taps)
    assert {"float32", "float16", "bfloat16", "8bit", "6bit", "4bit"} <= tapset.precisions.keys()
    assert all(precision.reason for precision in tapset.precisions.values())
