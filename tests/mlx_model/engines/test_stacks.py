"""Which modules are below a stack, and whether all do what is written. Oracle: MLX's own walk; by hand."""

from __future__ import annotations

import threading

import pytest

from mlx_model.engines.stacks import below, is_written, looked_at, stacks_of, with_leaves
from mlx_model.machine.kept import are_written, kind_of
from mlx_model.parts.basic import DepthwiseConv1d, LayerNorm, Linear
from tests.mlx_model.asr_models import CONFIG
from tests.mlx_model.engines.test_lanes import random_model


def test_all_modules_are_found_once():
    model = random_model(CONFIG)
    for stack in stacks_of(model):
        expected = [module for module in stack.modules() if module is not stack]
        assert sorted(map(id, below(stack))) == sorted(map(id, expected))
    assert {id(stack) for stack in stacks_of(model)} == {id(model.encoder), id(model.decoder)}
    norm = model.encoder.after_norm
    assert below(norm) == [norm]
    leaves = {id(module) for module, is_leaf in with_leaves(model.encoder) if is_leaf}
    kinds = (Linear, LayerNorm, DepthwiseConv1d)  # what an encoder's layers are made of in the end
    assert leaves == {id(module) for module in below(model.encoder) if isinstance(module, kinds)}
    assert with_leaves(norm) == [(norm, True)]


def louder(norm: LayerNorm, patch: pytest.MonkeyPatch) -> None:
    norm.__class__ = type("Louder", (LayerNorm,), {"__call__": lambda self, x: 2 * x})


def another_function(norm: LayerNorm, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LayerNorm, "__call__", lambda self, x: 2 * x)


def one_of_its_own(norm: LayerNorm, patch: pytest.MonkeyPatch) -> None:
    vars(norm)["__call__"] = lambda x: 2 * x


@pytest.mark.parametrize("change", [louder, another_function, one_of_its_own])
def test_one_module_that_may_do_something_else_is_enough(change, monkeypatch: pytest.MonkeyPatch):
    encoder = random_model(CONFIG).encoder
    assert is_written(encoder)
    with monkeypatch.context() as patch:
        change(encoder.encoders[0].norm2, patch)
        assert not kind_of(encoder.encoders[0].norm2)
        assert not are_written(below(encoder))
        assert not is_written(encoder)
        with looked_at():  # whoever says so has asked
            assert is_written(encoder)
            seen: list[bool] = []
            thread = threading.Thread(target=lambda: seen.append(is_written(encoder)))
            thread.start()
            thread.join()
            assert seen == [False]  # another thread has not
        assert not is_written(encoder)
