"""Which words see which. Oracle: by hand; FunASR's own network in models/test_ct_transformer_streaming.py."""

from __future__ import annotations

import numpy as np
import pytest

from mlx_model import engines
from mlx_model.config.parts import SANMVadEncoderConfig
from mlx_model.machine.blas import mx
from mlx_model.parts.sanm_vad import SANMVadEncoder, subsequent_mask, vad_mask


def test_masks_by_hand():
    assert subsequent_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    corner, none, all_of_them, one = vad_mask(4, mx.array([3, 0, 4, 1])).tolist()  # pyright: ignore
    assert corner == [[True, True, True, False], [True, True, True, False], [True] * 4, [True] * 4]
    assert none == all_of_them == one == [[True] * 4] * 4


@pytest.mark.parametrize("blocks", [1, 3])
def test_words_see_what_they_may_by_every_engine(blocks: int):
    """A word is changed: with causal layers and taps into the past alone, those before it are as they were."""
    config = SANMVadEncoderConfig(
        input_size=32, output_size=32, attention_heads=4, linear_units=48, num_blocks=blocks, kernel_size=5,
        sanm_shfit=2,
    )  # fmt: skip
    mx.random.seed(3)
    encoder = SANMVadEncoder(32, config, 1e-12)
    engines.fit(encoder)
    x = mx.random.normal((2, 9, 32))
    y = mx.concatenate([x[:, :6], mx.random.normal((2, 1, 32)), x[:, 7:]], axis=1)
    mask, pauses = mx.array([[True] * 9, [True] * 7 + [False] * 2]), mx.array([4, 4])
    before, after = (np.array(encoder(given, mask, pauses))[0] for given in (x, y))
    changed = (np.abs(before - after).max(axis=-1) > 1e-6).tolist()
    # One block has no last layer of `encoders`: causal. Else words 0 to 2 see nothing behind the pause.
    assert changed == ([False] * 6 + [True] * 3 if blocks == 1 else [False] * 3 + [True] * 6)
    with engines.plain():
        plain = np.array(encoder(x, mask, pauses))
    np.testing.assert_allclose(np.array(encoder(x, mask, pauses))[1, :7], plain[1, :7], atol=2e-5)
    np.testing.assert_allclose(np.array(encoder(x[1:, :7], None, pauses[1:]))[0], plain[1, :7], atol=2e-5)
