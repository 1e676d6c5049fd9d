"""SAN-M in windows: where they are the same thing as the whole, they give the same. Oracle: sanm.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlx_model import engines
from mlx_model.config.chunking import Chunking
from mlx_model.config.parts import ParaformerSANMDecoderConfig, SANMEncoderConfig
from mlx_model.machine.blas import mx, tree_flatten
from mlx_model.parts.basic import sinusoidal_positions
from mlx_model.parts.positions import positions_from
from mlx_model.parts.sanm import ParaformerSANMDecoder, SANMEncoder
from mlx_model.parts.sanm_chunk import ParaformerSANMDecoderChunk, SANMEncoderChunkOpt, last_of

ENCODER = SANMEncoderConfig(output_size=16, linear_units=32, num_blocks=2, kernel_size=5)
EPS = 1e-12


def alike(*models: Any) -> list[Any]:
    """Give models of the same parameters the same random ones, and this machine's engines."""
    mx.random.seed(1)
    leaves: Any = tree_flatten(models[0].parameters())
    weights = [(name, 0.3 * mx.random.normal(value.shape)) for name, value in leaves]
    for model in models:
        model.load_weights(weights)
        model.eval()
        engines.fit(model)
    return [*models]


@pytest.mark.parametrize("plain", [True, False])
def test_one_window_of_everything_is_the_offline_encoder(plain: bool):
    whole, window = alike(SANMEncoder(24, ENCODER, EPS), SANMEncoderChunkOpt(24, ENCODER, EPS))
    feats = mx.random.normal((2, 31, 24))
    scaled = feats * whole.scale + sinusoidal_positions(31, 24)
    with engines.plain() if plain else engines.only("CPU engine"):
        offline, (online, keys) = whole(feats), window(scaled, None, Chunking())
    assert keys is None
    np.testing.assert_array_equal(np.array(online), np.array(offline))  # not one bit


def test_keys_are_kept_as_funasr_keeps_them():
    """Oracle: FunASR's lengths: [5,10,5] with a look-back of 4 gives 15, 30, 40, 40; of -1 all there were."""
    (encoder,) = alike(SANMEncoderChunkOpt(24, ENCODER, EPS))
    lengths: dict[int, list[int]] = {4: [], -1: []}
    for look_back, found in lengths.items():
        chunking, past = Chunking(chunk_size=(5, 10, 5), encoder_chunk_look_back=look_back), None
        for _ in range(4):
            _, past = encoder(mx.random.normal((1, 20, 24)), past, chunking)
            assert past is not None
            found.append(past.k.shape[2])
    assert lengths == {4: [15, 30, 40, 40], -1: [15, 30, 45, 60]}


@pytest.mark.parametrize("extra", [0, 2])
def test_tokens_in_three_calls_are_those_of_one_where_memories_are_causal(extra: int):
    """Oracle: one call. `decoders2` looks ahead, in its first call alone: with it the values are others."""
    config = ParaformerSANMDecoderConfig(
        linear_units=32, num_blocks=2 + extra, att_layer_num=2, kernel_size=5, sanm_shfit=2
    )  # fmt: skip
    whole, pieces = alike(ParaformerSANMDecoder(9, 16, config, EPS), ParaformerSANMDecoderChunk(9, 16, config, EPS))
    embeds, memory = mx.random.normal((1, 7, 16)), mx.random.normal((1, 12, 16))
    logits, past, found = whole(embeds, None, memory, None), None, []
    for start, stop in ((0, 3), (3, 4), (4, 7)):
        part, past = pieces(embeds[:, start:stop], memory, past, Chunking(), [stop - start])
        found.append(np.array(part))
        assert past.inputs.shape == (1, 2 + extra, 4, 16)
    same = np.allclose(np.concatenate(found, axis=1), np.array(logits), atol=1e-5)
    assert same == (extra == 0)


def test_a_batch_of_other_numbers_of_tokens_is_each_by_itself():
    config = ParaformerSANMDecoderConfig(linear_units=32, num_blocks=4, att_layer_num=2, kernel_size=5, sanm_shfit=2)
    (decoder,) = alike(ParaformerSANMDecoderChunk(9, 16, config, EPS))
    chunking, counts = Chunking(decoder_chunk_look_back=1), [3, 1, 2]
    embeds, memory = mx.random.normal((3, 3, 16)), mx.random.normal((3, 15, 16))
    together, past = decoder(embeds, memory, None, chunking, counts)
    again, later = decoder(embeds, memory, past, chunking, counts)
    assert later.keys is not None
    assert later.keys.k.shape == (3, 2, 10, 16)
    for row, count in enumerate(counts):
        own = embeds[row : row + 1, :count], memory[row : row + 1]
        alone, before = decoder(*own, None, chunking, [count])
        second, _ = decoder(*own, before, chunking, [count])
        np.testing.assert_allclose(np.array(together)[row, :count], np.array(alone)[0], atol=1e-5)
        np.testing.assert_allclose(np.array(again)[row, :count], np.array(second)[0], atol=1e-5)
        np.testing.assert_allclose(np.array(past.inputs)[row], np.array(before.inputs)[0], atol=1e-5)


def test_a_single_layer_of_decoders2_is_funasrs_to_leave_out():
    for extra, left_out in ((1, True), (2, False)):
        config = ParaformerSANMDecoderConfig(linear_units=8, num_blocks=1 + extra, att_layer_num=1, kernel_size=5)
        decoder = ParaformerSANMDecoderChunk(9, 8, config, EPS)
        assert len(decoder.streamed(False)) == 2 + extra
        assert len(decoder.streamed(True)) == 2 + extra - left_out


def test_last_of_takes_each_streams_own():
    padded = mx.arange(12).reshape(2, 6, 1)
    assert last_of(padded, [3, 1], 2)[:, :, 0].tolist() == [[3, 4], [7, 8]]
    assert last_of(padded, [2, 2], 2)[:, :, 0].tolist() == [[2, 3], [8, 9]]


def test_positions_go_on():
    """Oracles: the offline codes, and, far out, sines in float64 of the same float32 products."""
    np.testing.assert_allclose(positions_from(3, 4, 16), np.array(sinusoidal_positions(7, 16))[3:], atol=2e-6)
    far = positions_from(600_000, 2, 560)
    scales = np.exp(np.arange(280, dtype=np.float32) * -(np.log(np.float32(10000)) / np.float32(279)))
    exact = np.sin((np.float32(600_001) * scales).astype(np.float64))
    np.testing.assert_allclose(far[0, :280], exact, atol=1e-6)
