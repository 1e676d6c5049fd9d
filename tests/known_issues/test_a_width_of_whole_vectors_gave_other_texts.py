"""A model 72 wide transcribed well module by module, and wrote other texts under the CPU engine.

72 columns are whole vectors of 8 and no whole panels of 16, so a product has room behind each row; the memory was added
to it as if it had none. The kind: rows that lie apart. Every small width is tried, of every kind of rest. Oracle: the
plain modules.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mlx_model import engines, ops
from mlx_model.machine.blas import mx
from mlx_model.parts.sanm import SANMEncoder
from tests.mlx_model.engines.test_cpu_rows import CONFIG
from tests.mlx_model.engines.ways import needs_engine

pytestmark = needs_engine


@pytest.mark.parametrize("width", range(8, 121, 8))
def test_every_width_is_computed_alike(width: int):
    config = dataclasses.replace(
        CONFIG.encoder, output_size=width, attention_heads=1 if width % 24 else 3, linear_units=width + 8, num_blocks=3
    )
    mx.random.seed(width)
    encoder = SANMEncoder(40, config, 1e-12)
    encoder.eval()
    feats = mx.random.normal((2, 21, 40))
    with engines.plain():
        plain = np.array(encoder(feats))
    engines.fit(encoder)
    assert "CPU engine" in ops.in_words(encoder)
    # Two ways to sum in float32, of values of about 1, through three blocks.
    np.testing.assert_allclose(np.array(encoder(feats)), plain, rtol=0, atol=2e-5)
