"""Arrays and classes that are no longer what they were: layers, norms, products and functions exchanged in a model.

Oracle: the plain modules, which call whatever stands there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlx_model import engines, ops
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import Kept, as_written, kind_of, watching
from mlx_model.models.paraformer import Model
from mlx_model.parts.basic import LayerNorm, Linear, PositionwiseFeedForward
from mlx_model.parts.sanm import EncoderLayerSANM, MultiHeadedAttentionSANM
from tests.mlx_model.engines.test_changed_models import CONFIG, agree, differ, made
from tests.mlx_model.engines.ways import NAMES, WAYS, needs_engine, ways


def test_an_array_that_is_written_into_is_another(tmp_path: Any):
    """Read or not, of whatever type, its rows together or apart; what was made of it is not written over meanwhile."""
    for dtype in (mx.float32, mx.float16, mx.bfloat16, mx.uint32):
        for array in (mx.ones((4, 6)).astype(dtype), mx.ones((6, 4)).astype(dtype).T, mx.zeros((0, 3), dtype)):
            kept = Kept(array)
            assert kept.is_still(array)
            assert not kept.is_still(mx.array(array))
            assert not kept.is_still(None)
            if array.size:
                array += 1
                assert not kept.is_still(array)
                assert Kept(array).is_still(array)


def test_an_array_that_was_never_read_is_not_read_to_tell(tmp_path: Any):
    mx.save_safetensors(str(tmp_path / "t.safetensors"), {"a": mx.ones((512, 512)), "b": mx.ones((512, 512))})
    weights: Any = mx.load(str(tmp_path / "t.safetensors"))
    before = mx.get_active_memory()
    kept = {name: Kept(array, unread=True) for name, array in weights.items()}
    assert all(kept[name].is_still(array) for name, array in weights.items())
    assert mx.get_active_memory() - before < 512 * 512 * 4
    weights["a"][0] = 2
    mx.eval(weights["b"])  # once read there is nothing to tell by
    assert not any(kept[name].is_still(array) for name, array in weights.items())


def test_a_module_is_of_its_kind_until_its_functions_are_others(monkeypatch: pytest.MonkeyPatch):
    linear = Linear(4, 4)
    assert kind_of(linear) == "Linear"
    assert [kind_of(other) for other in (nn.Linear(4, 4), type("Mine", (Linear,), {})(4, 4), None)] == ["", "", ""]
    linear.to_quantized = lambda *_: linear  # type: ignore[method-assign]
    assert kind_of(linear) == ""
    monkeypatch.setattr(Linear, "__call__", lambda self, x: x)
    assert kind_of(Linear(4, 4)) == ""


class Louder(EncoderLayerSANM):
    def __call__(self, x: mx.array, mask: Any = None) -> mx.array:
        made = super().__call__(x, mask)
        return made + 0.5 * mx.roll(made, 1, axis=-1)


class Rolled(nn.Module):
    def __init__(self, inside: nn.Module):
        super().__init__()
        self.inside = inside

    def __call__(self, x: mx.array) -> mx.array:
        made = self.inside(x)
        return made + 0.5 * mx.roll(made, 1, axis=-1)


def subclass_of_a_layer(model: Model, _: pytest.MonkeyPatch) -> None:
    model.encoder.encoders[0].__class__ = Louder


def another_layer(model: Model, _: pytest.MonkeyPatch) -> None:
    louder = Louder(64, CONFIG.encoder, 1e-12)
    louder.update(model.encoder.encoders[0].parameters())
    model.encoder.encoders = [louder]


def other_leaves(model: Model, _: pytest.MonkeyPatch) -> None:
    layer = model.decoder.decoders[0]
    layer.feed_forward.w_1, layer.norm1 = Rolled(layer.feed_forward.w_1), Rolled(layer.norm1)  # type: ignore[assignment]
    model.encoder.after_norm = Rolled(model.encoder.after_norm)  # type: ignore[assignment]
    model.decoder.output_layer = Rolled(model.decoder.output_layer)  # type: ignore[assignment]


def other_feed_forward(model: Model, _: pytest.MonkeyPatch) -> None:
    for layer in (*model.encoder.layers, *model.decoder.layers):
        layer.feed_forward = Rolled(layer.feed_forward)  # type: ignore[assignment]


def a_class_with_another_function(_: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PositionwiseFeedForward, "__call__", lambda self, x: self.w_2(self.w_1(x)))


def another_attention(_: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    call = MultiHeadedAttentionSANM.__call__
    monkeypatch.setattr(MultiHeadedAttentionSANM, "__call__", lambda self, x, mask=None: call(self, x, mask) * 0.5)


def another_norm(_: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LayerNorm, "__call__", lambda self, x: x * 0.1)


def another_product(_: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Linear, "__call__", lambda self, x: (x @ self.weight.T) * 0.5)


def a_function_of_its_own(model: Model, _: pytest.MonkeyPatch) -> None:
    block = model.encoder.encoders[0].self_attn.fsmn_block
    pad = block.pad
    block.pad = lambda x: pad(x) * 0.5  # type: ignore[method-assign]


def a_layer_more(model: Model, _: pytest.MonkeyPatch) -> None:
    model.encoder.encoders.append(model.encoder.encoders[0])
    model.decoder.decoders.append(model.decoder.decoders[0])


def a_layer_less(model: Model, _: pytest.MonkeyPatch) -> None:
    model.encoder.encoders.pop()
    model.decoder.decoders.pop()


def no_cross_attention(model: Model, _: pytest.MonkeyPatch) -> None:
    model.decoder.decoders[0].src_attn = None


def no_memory(model: Model, _: pytest.MonkeyPatch) -> None:
    model.decoder.decoders[0].self_attn = None


def a_bias_more(model: Model, _: pytest.MonkeyPatch) -> None:
    w_2 = model.decoder.decoders[0].feed_forward.w_2
    w_2.bias = mx.linspace(0, 1, w_2.weight.shape[0])


def a_bias_less(model: Model, _: pytest.MonkeyPatch) -> None:
    del model.encoder.encoders[0].feed_forward.w_1.bias


def a_narrower_inside(model: Model, _: pytest.MonkeyPatch) -> None:
    forward = model.encoder.encoders[0].feed_forward
    forward.w_1.weight, forward.w_1.bias = forward.w_1.weight[:24], forward.w_1.bias[:24]
    forward.w_2.weight = forward.w_2.weight[:, :24]


def shapes_that_do_not_fit(model: Model, _: pytest.MonkeyPatch) -> None:
    linear = model.encoder.encoders[0].self_attn.linear_out
    linear.weight = mx.concatenate([linear.weight, linear.weight], axis=1)


def one_layer_in_half_precision(model: Model, _: pytest.MonkeyPatch) -> None:
    model.encoder.encoders[0].norm1.set_dtype(mx.float16)


def quantised(model: Model, _: pytest.MonkeyPatch) -> None:
    nn.quantize(model.encoder, group_size=32, bits=4, class_predicate=lambda path, _: path.endswith("w_1"))


def shared_weights(model: Model, _: pytest.MonkeyPatch) -> None:
    """One linear layer in two places, one of them before a ReLU."""
    layer = model.decoder.decoders[0]
    layer.src_attn.linear_q = layer.src_attn.linear_out  # type: ignore[union-attr]


def in_training(model: Model, _: pytest.MonkeyPatch) -> None:
    model.train()
    model.encoder.encoders[0].norm1.eps = 0.5


SWAPS = [
    subclass_of_a_layer, another_layer, other_leaves, other_feed_forward, a_class_with_another_function,
    another_attention, another_norm, another_product, a_function_of_its_own, a_layer_more, a_layer_less,
    no_cross_attention, no_memory, a_bias_more, a_bias_less, a_narrower_inside, shapes_that_do_not_fit,
    one_layer_in_half_precision, quantised, shared_weights, in_training,
]  # fmt: skip


@pytest.mark.parametrize("swap", SWAPS)
@ways
def test_what_was_exchanged_is_computed_with(
    swap: Callable[[Model, pytest.MonkeyPatch], None], way: str, monkeypatch: pytest.MonkeyPatch
):
    model = made()
    before = agree(model, way)
    with monkeypatch.context() as patch:
        swap(model, patch)
        after = agree(model, way)
    assert not isinstance(before, str)
    assert swap is one_layer_in_half_precision or differ(before, after)


@needs_engine
def test_what_it_does_not_know_it_leaves_to_the_modules():
    """And takes back when it is as it was."""
    model = made()
    layer = model.encoder.encoders[0]
    assert engines.in_force(model)[0] == "CPU engine"
    layer.__class__ = Louder
    assert engines.in_force(model) == []
    layer.__class__ = EncoderLayerSANM
    layer.norm1.eps = 3.0
    assert engines.in_force(model)[0] == "CPU engine"
    x, _ = ops.enter(mx.zeros((1, 40, 560)), None, model.encoder)
    assert isinstance(x, ops.Rows)
    assert isinstance(ops.enter(mx.zeros((1, 40, 560), mx.float16), None, model.encoder)[0], ops.Rows)
    assert isinstance(ops.enter(mx.zeros((1, 40, 560), mx.int32), None, model.encoder)[0], mx.array)
    with engines.plain():
        assert engines.in_force(model) == []
        assert isinstance(ops.enter(mx.zeros((1, 40, 560)), None, model.encoder)[0], mx.array)


def watched(module: nn.Module, seen: list[Any]) -> None:
    """Give a module a class that notes what it returns and puts it back, as a tap does."""

    class Watched(type(module)):  # type: ignore[misc]
        def __call__(self, *given: Any) -> Any:
            made = super().__call__(*given)
            seen.append(ops.leave(made))
            return made if isinstance(made, mx.array) else made.like(seen[-1])

    module.__class__ = watching(Watched)


@ways
def test_whoever_only_watches_sees_what_an_engine_computes(way: str):
    """Layers, norms, products before their ReLU, and results put back as rows. First plain, then the engine."""
    model, seen = made(), []
    expected = agree(model, way)
    for module in (model.encoder.encoders[0], model.encoder.encoders[0].feed_forward.w_1, model.decoder.after_norm):
        watched(module, seen)
        assert kind_of(module) == type(module).__mro__[1].__name__
    assert not differ(expected, agree(model, way))
    by_mlx, by_engine = seen[:3], seen[3:]
    assert len(by_engine) == 3
    for one, other in zip(by_mlx, by_engine, strict=True):
        shape = [min(sizes) for sizes in zip(one.shape, other.shape, strict=True)]  # a GPU pads to few shapes
        # Values reach 15; the engine and MLX sum in other orders.
        np.testing.assert_allclose(np.array(other)[0, : shape[1]], np.array(one)[0, : shape[1]], atol=1e-4, rtol=1e-5)
    assert float(by_engine[0].min()) < 0  # w_1: before the ReLU


def test_a_fault_that_is_written_against_ops_is_computed_by_every_engine():
    @as_written
    class Doubled(LayerNorm):
        def __call__(self, x: Any) -> Any:
            y = super().__call__(x)
            return y + y

    model = made()
    before = agree(model, "engine")
    model.encoder.encoders[0].norm1.__class__ = Doubled
    for engine, way in NAMES.items():
        with WAYS[way]():
            assert engine in engines.in_force(model) or engine == "CPU engine"  # which needs a kernel for every leaf
        assert differ(before, agree(model, way))
