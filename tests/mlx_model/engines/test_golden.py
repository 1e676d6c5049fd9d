"""What each engine computed before engines became rows, recorded then with the demo model, and what it computes now.

Oracle: data/golden_logits.json: ids, and a sample of logits and encoder_out, float32, of two bundled recordings.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_model import engines
from mlx_model.audio.files import load_audio
from tests.conftest import ROOT
from tests.mlx_model.engines.ways import WAYS, needs_engine

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "data/golden_logits.json").read_text("utf-8"))
SPEECH = ROOT / "parity/demo/speech/wav/test"
NAMES = {"CPU engine": "engine", "lanes": "lanes", "GPU path": "gpu"}
# The plain modules do what they did; another processor's BLAS may add in another order, which moves logits of up to 9
# by 3e-6 (measured between engines), so ten times that is allowed. A wrong eps of 1e-5 moves them by 1e-3.
ROUNDING = 3e-5


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("torch", reason="opening model.pt needs torch")
    import mlx_funasr

    folder = tmp_path_factory.mktemp("golden") / "model"
    mlx_funasr.convert(ROOT / "parity/demo/model", folder)
    return mlx_funasr.load(folder)


@pytest.mark.parametrize("name", ["plain", pytest.param("CPU engine", marks=needs_engine), "lanes", "GPU path"])
def test_each_engine_computes_what_it_did(model: Any, name: str):
    golden, waveforms = GOLDEN["engines"][name], [load_audio(SPEECH / file, 16000) for file in GOLDEN["files"]]
    feats, lengths = model.features(waveforms)
    with engines.plain() if name == "plain" else WAYS[NAMES[name]]():
        output = model(feats, lengths)
        logits, encoder_out = np.array(output.logits), np.array(output.encoder_out)
    ids = [row[: len(best)].argmax(-1).tolist() for row, best in zip(logits, golden["ids"], strict=True)]
    assert ids == golden["ids"]
    assert np.array(output.token_num).tolist() == list(map(len, golden["ids"]))
    for found, sample in ((logits, golden["logits"]), (encoder_out, golden["encoder_out"])):
        at, expected = tuple(np.array([row[:3] for row in sample]).T), [row[3] for row in sample]
        np.testing.assert_allclose(found[at], np.array(expected, np.float32), atol=ROUNDING)
        assert len(expected) >= 100
