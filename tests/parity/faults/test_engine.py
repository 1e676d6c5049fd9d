"""Faults in the engine's source: one place each, compiled, and taken back. Oracle: the formula of LayerNorm."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from mlx_model.engines import cpu_engine
from mlx_model.machine.blas import mx
from mlx_model.parts.basic import LayerNorm
from parity.faults import engine, engine_fsmn

pytestmark = pytest.mark.skipif(not cpu_engine.available(), reason="the CPU engine needs x86-64 and a C compiler")
NOBODY: Any = None  # no candidate is looked at


def normed(x: np.ndarray) -> np.ndarray:
    norm = LayerNorm(64, eps=1e-12)
    norm.weight = mx.full((64,), 2.0)
    return cpu_engine.Norm(norm)(x, 1e-12)


def test_a_changed_kernel_computes_what_was_written_and_goes_again():
    x = np.random.default_rng(0).standard_normal((5, 64)).astype(np.float32)
    right = 2.0 * (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    np.testing.assert_allclose(normed(x), right, atol=2e-6)  # a few units in the last place of numbers up to 6
    with ExitStack() as stack:
        next(fault for fault in engine.faults("encoder") if fault.name == "engine_gain").seed(NOBODY, stack)
        np.testing.assert_allclose(normed(x), 1.0001 * right, atol=2e-6)
    np.testing.assert_allclose(normed(x), right, atol=2e-6)


FSMN = [engine_fsmn.TAP, engine_fsmn.PAST, engine_fsmn.SOFTMAX, engine_fsmn.TAIL]


@pytest.mark.parametrize("old", [engine.SCALE, engine.EPS, engine.GAIN, engine.TAP, engine.PANEL, *FSMN])
def test_every_fault_changes_one_place_of_the_source(old: str):
    assert engine.SOURCE.read_text("utf-8").count(old) == 1


def test_a_place_that_is_not_there_is_our_own_mistake():
    with ExitStack() as stack, pytest.raises(AssertionError, match="0 times"):
        engine.changed("no such text", "")(NOBODY, stack)


def test_an_address_must_be_one_of_the_faults_operations():
    fault = next(fault for fault in engine.faults("encoder") if fault.name == "engine_scale_1.002")
    assert fault.is_at("encoder.encoders0.0.self_attn.context")
    assert not fault.is_at("encoder.encoders0.0.self_attn")
    assert not fault.is_at("decoder.decoders.0.src_attn.context")
    assert not fault.is_at(None)
