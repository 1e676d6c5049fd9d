"""An engineer changes eps (heads, a residual, padding) of a loaded model, and the text and every number stay the same.

The CPU engine had copied them when it was made. Oracle: the plain modules, which read them at every call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_model import engines
from mlx_model.engines import cpu_engine
from mlx_model.machine.blas import mx
from mlx_model.parts.basic import LayerNorm
from parity.demo import MODEL
from tests.conftest import speech_like

pytestmark = pytest.mark.skipif(not cpu_engine.available(), reason="needs x86-64 with AVX2, and a C compiler")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("torch", reason="opening model.pt needs torch")
    import mlx_funasr

    folder: Path = tmp_path_factory.mktemp("stale") / "model"
    mlx_funasr.convert(MODEL, folder)
    return mlx_funasr.load(folder)


def norms(model: Any) -> Iterator[tuple[Any, str, Any]]:
    for module in model.encoder.modules():
        if isinstance(module, LayerNorm):
            yield module, "eps", 1.0


def heads(model: Any) -> Iterator[tuple[Any, str, Any]]:
    for layer in model.encoder.layers:
        yield layer.self_attn, "heads", 1


def residuals(model: Any) -> Iterator[tuple[Any, str, Any]]:
    yield model.encoder.encoders[0], "residual", False


def padding(model: Any) -> Iterator[tuple[Any, str, Any]]:
    for block in (layer.self_attn.fsmn_block for layer in model.encoder.layers):
        yield block, "left", block.left + 1
        yield block, "right", block.right - 1


def weights(model: Any) -> Iterator[tuple[Any, str, Any]]:
    norm = model.encoder.encoders[0].norm1
    yield norm, "weight", norm.weight * mx.linspace(0.5, 2.0, norm.weight.size)


@pytest.mark.parametrize("changes", [norms, heads, residuals, padding, weights])
def test_a_change_moves_the_output_as_plain_mlx_moves(loaded: Any, changes: Callable[[Any], Iterator[Any]]):
    feats, lengths = loaded.features([speech_like(2.0)])

    def encoded() -> np.ndarray:
        return np.array(loaded(feats, lengths).encoder_out)

    assert engines.in_force(loaded)[0] == "CPU engine"
    before = encoded()
    kept = [(module, name, getattr(module, name), value) for module, name, value in changes(loaded)]
    for module, name, _, value in kept:
        setattr(module, name, value)
    try:
        assert engines.in_force(loaded)[0] == "CPU engine"  # it follows; it need not step aside
        after = encoded()
        with engines.plain():
            plain = encoded()
    finally:
        for module, name, value, _ in kept:
            setattr(module, name, value)
    assert np.abs(after - before).max() > 1e-2
    np.testing.assert_allclose(after, plain, atol=2e-4)  # float32 rounding over the demo's layers
    np.testing.assert_array_equal(encoded(), before)


def test_weights_that_are_written_into_are_read_again(loaded: Any):
    """`w *= 2` leaves the Python object where it was; the weight had been mapped from the file and never read."""
    feats, lengths = loaded.features([speech_like(2.0)])
    linear = loaded.encoder.encoders[0].feed_forward.w_1
    before = np.array(loaded(feats, lengths).encoder_out)
    kept = mx.array(linear.weight)
    linear.weight *= 2
    after = np.array(loaded(feats, lengths).encoder_out)
    with engines.plain():
        plain = np.array(loaded(feats, lengths).encoder_out)
    linear.weight = kept
    assert np.abs(after - before).max() > 1e-2
    np.testing.assert_allclose(after, plain, atol=2e-4)
