"""Rows side by side on a CPU. Oracle: the plain path, which parity holds against FunASR."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mlx_model import engines
from mlx_model.config.paraformer import ParaformerConfig
from mlx_model.engines import lanes
from mlx_model.machine import device
from mlx_model.machine.blas import BlasStatus, mx, tree_flatten
from mlx_model.models.paraformer import Model, ParaformerOutput
from tests.mlx_model.asr_models import CONFIG

EXTRA = dataclasses.replace(
    CONFIG.decoder, num_blocks=3, sanm_shfit=7
)  # `decoders2`, and a window cropped on the right


def random_model(config: ParaformerConfig) -> Model:
    """Return a model whose weights are all random, biases and norms too."""
    mx.random.seed(5)
    model = Model(config)
    flat = tree_flatten(model.parameters())
    model.load_weights([(name, mx.random.normal(value.shape) * 0.3) for name, value in flat])
    return model


def outputs(model: Model, lengths: list[int], count: int) -> ParaformerOutput:
    mx.random.seed(1)
    feats = mx.random.normal((len(lengths), max(lengths), 560))
    engines.fit(model)
    with lanes.exactly(count):
        return model(feats, mx.array(lengths))


@pytest.mark.parametrize("config", [CONFIG, dataclasses.replace(CONFIG, decoder=EXTRA)], ids=["plain", "extra"])
@pytest.mark.parametrize("lengths", [[50], [40, 7, 33], [2, 3], [1]])
@pytest.mark.parametrize("count", [2, 3])
def test_lanes_change_nothing(config: ParaformerConfig, lengths: list[int], count: int):
    """1e-5: attention sums its keys block by block, which rounds differently in the last bit."""
    model = random_model(config)
    plain, side = outputs(model, lengths, 1), outputs(model, lengths, count)
    np.testing.assert_array_equal(np.array(plain.token_num), np.array(side.token_num))
    np.testing.assert_array_equal(np.array(plain.fires), np.array(side.fires))
    np.testing.assert_allclose(np.array(side.encoder_out), np.array(plain.encoder_out), atol=1e-5)
    np.testing.assert_allclose(np.array(side.logits), np.array(plain.logits), atol=1e-5, rtol=1e-5)


def test_rows_reach_over_blocks_and_are_zero_outside():
    x = np.arange(1, 11, dtype=np.float32)[None, :, None]
    blocks = mx.split(mx.array(x), [2, 3, 7], axis=1)
    padded = np.pad(x[0, :, 0], 20)
    for start in range(-15, 15):
        for stop in range(start + 1, 18):
            got = np.array(lanes.reach(blocks, start, stop))[0, :, 0]
            np.testing.assert_array_equal(got, padded[20 + start : 20 + stop])


SHORT = 2 * lanes.LEAST_ROWS - 1


@pytest.mark.parametrize(("cores", "rows", "expected"), [(2, SHORT, 1), (1, 2000, 1), (64, 2000, 1), (2, 2000, 2)])
def test_short_sequences_and_other_machines_stay_whole(
    cores: int, rows: int, expected: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(device, "cores", lambda: cores)
    monkeypatch.setattr(lanes, "cores", lambda: cores)
    monkeypatch.setattr(device.blas, "status", lambda: BlasStatus(needed=True, library="some.so", reason=""))
    assert lanes.lanes_for(mx.zeros((1, rows, 4))) == expected
