"""SeACo's own arithmetic. Oracles: by hand; hotwords one at a time; the definition of attention in float64 numpy."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlx_model import engines
from mlx_model.config.parts import ParaformerSANMDecoderConfig
from mlx_model.machine.blas import mx, tree_flatten
from mlx_model.parts.sanm import ParaformerSANMDecoder
from mlx_model.parts.seaco import (
    KEPT,
    EmbeddingDecoder,
    SeacoDecoder,
    best_entries,
    hotword_scores,
    merge,
)

CONFIG = ParaformerSANMDecoderConfig(attention_heads=2, linear_units=32, num_blocks=4, kernel_size=7)
WIDTH = 16


def filled(module: Any, seed: int = 0) -> Any:
    rng, known = np.random.default_rng(seed), dict[str, Any](tree_flatten(module.parameters()))
    leaves = [
        (name, mx.array(0.4 * rng.standard_normal(value.shape).astype(np.float32))) for name, value in known.items()
    ]
    module.load_weights(leaves)
    return module


def normal(*shape: int, seed: int = 1) -> mx.array:
    return mx.array(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def test_the_best_fifty_and_the_last_one():
    scores = np.random.default_rng(0).permutation(60).astype(np.float32)[None]
    scores[0, 59] = 99.0  # [sos] is ranked, too, and then stands there twice
    found = np.array(best_entries(mx.array(scores)))[0].tolist()
    ranked = sorted(range(60), key=lambda entry: -scores[0, entry])
    assert found == [*ranked[:KEPT], 59]
    assert found.count(59) == 2
    assert len(found) == 51


def test_scores_are_summed_over_heads_and_a_recordings_own_tokens():
    attention = np.zeros((2, 2, 3, 4), np.float32)
    attention[0, :, :, 1], attention[1, :, :, 2] = 0.5, 0.25
    mask = mx.array([[True, True, True], [True, False, False]])
    found = np.array(hotword_scores(mx.array(attention), mask))
    assert found.tolist() == [[0, 3.0, 0, 0], [0, 0, 0.5, 0]]
    assert np.array(hotword_scores(mx.array(attention[:1]), None)).tolist() == [[0, 3.0, 0, 0]]


def test_the_branch_abstains_by_its_best_token():
    logits = mx.array([[[5.0, 1.0, 0.0], [5.0, 1.0, 0.0], [0.0, 0.0, 9.0]]])
    biased = mx.array([[[0.0, 3.0, 2.0], [0.0, 2.0, 3.0], [7.0, 8.0, 1.0]]])
    assert merge(logits, biased, 1).argmax(axis=-1).tolist() == [[0, 2, 2]]
    assert merge(logits, biased, 2).argmax(axis=-1).tolist() == [[1, 0, 1]]


def test_the_filter_reads_the_attention_of_the_sixth_layer():
    """Layer by layer through the decoder's own modules, and softmax as it is defined, in float64."""
    decoder = filled(SeacoDecoder(WIDTH, CONFIG, 1e-12))
    hidden, memory = normal(1, 5, WIDTH), normal(1, 8, WIDTH, seed=2)
    x = hidden
    for layer in decoder.decoders[:5]:
        x = layer(x, None, memory, None)
    sixth = decoder.decoders[5]
    x = x + sixth.self_attn(sixth.norm2(sixth.feed_forward(sixth.norm1(x))))
    q = np.array(sixth.src_attn.linear_q(sixth.norm3(x)), np.float64).reshape(5, 2, 8).transpose(1, 0, 2)
    k = np.array(sixth.src_attn.linear_k_v(memory), np.float64)[0, :, :WIDTH].reshape(8, 2, 8).transpose(1, 0, 2)
    powers = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(8))
    found = np.array(decoder.forward_asf6(hidden, None, memory))
    np.testing.assert_allclose(found[0], powers / powers.sum(-1, keepdims=True), atol=1e-5)


def test_states_are_what_the_output_layer_reads():
    made, plain = (filled(kind(11, WIDTH, CONFIG, 1e-12)) for kind in (EmbeddingDecoder, ParaformerSANMDecoder))
    known = dict[str, Any](tree_flatten(made.parameters()))
    plain.load_weights([(name, value) for name, value in known.items() if "embed" not in name])
    given = (normal(2, 5, WIDTH), None, normal(2, 9, WIDTH, seed=3), None)
    logits, states = made.both(*given)
    np.testing.assert_array_equal(np.array(logits), np.array(plain(*given)))
    np.testing.assert_allclose(np.array(made.output_layer(states)), np.array(logits), atol=1e-5)


def test_the_token_table_keeps_no_engine_from_the_decoder():
    decoder = EmbeddingDecoder(11, WIDTH, CONFIG, 1e-12)
    assert dict(tree_flatten(decoder.parameters()))["embed.0.weight"].shape == (11, WIDTH)
    plain = ParaformerSANMDecoder(11, WIDTH, CONFIG, 1e-12)
    for module in (decoder, plain):
        engines.fit(module)
    assert engines.in_force(decoder) == engines.in_force(plain)
