"""The network against FunASR's own class with random weights (every supported option), and batch independence.

Oracle: `parity.layers.run`, i.e. the real FunASR in a process of its own, in float64 and float32.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlx_model.machine.blas import mx
from tests.conftest import ARCHITECTURES, speech_like


@pytest.fixture(scope="session")
def converted(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import convert

    folder = tmp_path_factory.mktemp("converted")
    for name, source in checkpoints.items():
        convert.convert(source, folder / name)
    return {name: folder / name for name in checkpoints}


@pytest.mark.reference
@pytest.mark.slow
@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_every_tap_equals_funasr(
    name: str, checkpoints: dict[str, Path], converted: dict[str, Path], recordings: list[Path]
):
    from parity.layers.run import run

    report = run(checkpoints[name], converted[name], recordings)
    failures = [f"{row.name}: {row.reason}" for row in report.taps if row.status != "pass"]
    assert (report.verdict, report.first_failure) == ("pass", None), failures
    assert len([row for row in report.taps if row.ratio is not None]) > 30
    assert report.outcomes["firing"].differ == report.outcomes["token"].differ == 0
    assert report.outcomes["token"].compared > 10  # silence on both sides would agree about nothing
    assert [row.reference_text for row in report.utterances] == [row.candidate_text for row in report.utterances]
    names = [row.name for row in report.taps]
    assert names.index("fbank") < names.index("encoder.encoders0.0") < names.index("predictor.alphas")
    assert names.index("predictor.alphas") < names.index("decoder.decoders.0") < names.index("decoder.output_layer")
    assert ("decoder.decoders2.1" in names) == (name in ("extra_decoders", "one_head"))


@pytest.mark.reference
@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_a_batch_changes_nothing(name: str, converted: dict[str, Path]):
    """Bars of the project: token ids identical, logits within 1e-4, in any batch."""
    import mlx_model

    model = mlx_model.load(converted[name])
    waveforms = [speech_like(seconds, seed) for seed, seconds in enumerate((0.4, 2.9, 1.3, 2.1))]
    samples = mx.array([len(w) for w in waveforms])
    padded = np.zeros((4, max(map(len, waveforms))), np.float32)
    for row, waveform in zip(padded, waveforms, strict=True):
        row[: len(waveform)] = waveform
    together = model(*model.frontend(mx.array(padded), samples))
    for row, waveform in enumerate(waveforms):
        alone = model(*model.frontend(mx.array(waveform[None]), mx.array([len(waveform)])))
        count = int(alone.token_num[0])
        assert int(together.token_num[row]) == count
        logits, expected = np.array(together.logits[row, :count]), np.array(alone.logits[0])
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        np.testing.assert_array_equal(logits.argmax(-1), expected.argmax(-1))
    assert model.recognize(waveforms) == [model.recognize([w])[0] for w in waveforms]


@pytest.mark.reference
def test_silence_transcribes_to_nothing(converted: dict[str, Path]):
    """A batch in which nothing fires must not crash (FunASR's does, known since its PR 3028)."""
    import mlx_model

    model = mlx_model.load(converted["plain"])
    model.predictor.cif_output.bias = mx.array([-60.0])
    assert model.recognize([np.zeros(8000, np.float32), np.zeros(16000, np.float32)]) == [[], []]
    assert model.transcribe(np.zeros(8000, np.float32))[0].text == ""
