"""A float16 or bfloat16 conversion took 50 times float32's time on a CPU: the CPU engine knew float32 weights alone.

So did what is quantised from them. Now 16-bit weights are rows of the engine; that they are is asked here (time is the
benchmark's matter: benchmarks/half_precision.py), and that what comes out is what float32 arithmetic makes of the same
weights. Oracle: the float32 conversion of the same checkpoint, within the rounding of 16-bit (8-bit) weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import convert
import mlx_model
from mlx_model import engines
from parity.demo import MODEL
from tests.conftest import speech_like
from tests.mlx_model.engines.ways import needs_engine


def logits(directory: Path) -> np.ndarray:
    model = mlx_model.load(directory)
    assert "CPU engine" in engines.in_force(model)
    assert model.engine.startswith("CPU engine")
    return model.logits_of(model(*model.features([speech_like(2.0)])))[0]


@needs_engine
@pytest.mark.parametrize(("how", "error"), [
    ({"dtype": "float16"}, 3e-3), ({"dtype": "bfloat16"}, 3e-2), ({"dtype": "float16", "bits": 8}, 1e-1),
])  # fmt: skip
def test_it_enters_the_engine(tmp_path: Path, how: dict[str, object], error: float):
    convert.convert(MODEL, tmp_path / "float32")
    convert.convert(MODEL, tmp_path / "half", **how)
    whole, half = logits(tmp_path / "float32"), logits(tmp_path / "half")
    assert 0 < np.linalg.norm(half - whole) / np.linalg.norm(whole) < error
