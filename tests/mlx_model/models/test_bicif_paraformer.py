"""BiCifParaformer: texts and times against FunASR, random models and the trained one; and batch independence.

Oracle: FunASR's AutoModel.generate, in a process of its own (tests/make_bicif.py), or as recorded in ../shared.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

import convert
import mlx_model
from mlx_model.audio.files import load_audio
from mlx_model.errors import CheckpointError, ConfigError
from mlx_model.machine.blas import mx
from mlx_model.text.results import Hypothesis
from tests.conftest import BASE, ROOT, speech_like

SECONDS = (1.37, 3.1, 2.22)
V3 = {"upsample_times": 3, "smooth_factor2": 0.5, "noise_threshold2": 0.02, "upsample_type": "cnn_blstm"}
SMALL: dict[str, Any] = {
    **BASE,
    "model": "BiCifParaformer",
    "encoder_conf": BASE["encoder_conf"] | {"output_size": 32, "linear_units": 48, "num_blocks": 2},
    "decoder_conf": BASE["decoder_conf"] | {"linear_units": 48},
    "predictor": "CifPredictorV3",
    "predictor_conf": BASE["predictor_conf"] | {"idim": 32, "use_cif1_cnn": False, **V3},
}
CONFIGS: dict[str, dict[str, Any]] = {
    "released": {},
    "from_cif1": {"predictor_conf": {"use_cif1_cnn": True, "tail_threshold": 0.0, "smooth_factor2": 1.0}},
    "no_blstm": {"predictor_conf": {"upsample_type": "cnn", "l_order": 2, "smooth_factor": 0.8}},
}  # fmt: skip


def configuration(name: str) -> dict[str, Any]:
    return SMALL | {key: SMALL[key] | value for key, value in CONFIGS[name].items()}


def made_by_funasr(folder: Path, configs: dict[str, Any], recordings: list[Path]) -> None:
    """Let FunASR write a random model of each configuration into `folder`, and what it hears into answers.json."""
    request = {"folder": str(folder), "configs": configs, "recordings": [*map(str, recordings)]}
    (folder / "request.json").write_text(json.dumps(request), "utf-8")
    command = [sys.executable, str(ROOT / "tests/make_bicif.py"), str(folder / "request.json")]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return the folder of FunASR's models and their conversions (`NAME.mlx`), and what FunASR hears."""
    folder = tmp_path_factory.mktemp("bicif")
    paths = [folder / f"{number}.wav" for number in range(len(SECONDS))]
    for number, path in enumerate(paths):
        soundfile.write(path, speech_like(SECONDS[number], seed=number), 16000, subtype="PCM_16")
    made_by_funasr(folder, {name: configuration(name) for name in CONFIGS}, paths)
    for name in CONFIGS:
        convert.convert(folder / name, folder / f"{name}.mlx")
    return folder, json.loads((folder / "answers.json").read_text("utf-8"))


def waveforms(folder: Path) -> list[np.ndarray]:
    return [load_audio(folder / f"{number}.wav", 16000) for number in range(len(SECONDS))]


def heard(model: Any, given: list[np.ndarray], **options: Any) -> list[Hypothesis]:
    asked = model.Options(**options)
    return model.hypotheses(model.best(model(*model.features(given), asked)), asked)


def times(one: Hypothesis) -> list[list[int]] | None:
    return None if one.words is None else [[word.start_ms, word.end_ms] for word in one.words]


@pytest.mark.reference
@pytest.mark.parametrize("name", CONFIGS)
def test_text_and_times_are_funasrs(name: str, answers: tuple[Path, dict[str, Any]]):
    folder, theirs = answers
    compared = 0
    found = heard(mlx_model.load(folder / f"{name}.mlx"), waveforms(folder), as_funasr=True)
    for ours, answer in zip(found, theirs[name], strict=True):
        if "error" in answer:
            assert times(ours) is None
            continue
        assert (ours.text, times(ours) or []) == (answer["text"], answer["timestamp"])
        compared += len(answer["timestamp"])
    assert compared > 5


@pytest.mark.reference
@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_changes_neither_text_nor_times(name: str, answers: tuple[Path, dict[str, Any]]):
    """Nor second alphas, beyond float32's rounding; FunASR's BLSTM reads the padding of a batch."""
    folder, _ = answers
    model = mlx_model.load(folder / f"{name}.mlx")
    together = model(*model.features(waveforms(folder)))
    found = model.hypotheses(model.best(together))
    for row, waveform in enumerate(waveforms(folder)):
        alone = model(*model.features([waveform]))
        (one,) = model.hypotheses(model.best(alone))
        assert (one.token_ids, one.words) == (found[row].token_ids, found[row].words)
        size = alone.more.us_alphas.shape[1]
        np.testing.assert_allclose(together.more.us_alphas[row, :size], alone.more.us_alphas[0], atol=1e-4)
        assert (np.array(together.more.us_alphas[row, size:]) == 0).all()


@pytest.mark.reference
def test_words_are_in_order_within_the_recording_and_make_up_the_text(answers: tuple[Path, dict[str, Any]]):
    folder, _ = answers
    for one, seconds in zip(heard(mlx_model.load(folder / "released.mlx"), waveforms(folder)), SECONDS, strict=True):
        assert one.words
        assert "".join(f"{' ' * word.spaced}{word.text}" for word in one.words) == one.text
        edges = [edge for word in one.words for edge in (word.start_ms, word.end_ms)]
        assert edges == sorted(edges)
        assert 0 <= edges[0] < edges[-1] <= seconds * 1000 + 60


@pytest.mark.reference
def test_times_that_nobody_asks_for_are_not_computed(answers: tuple[Path, dict[str, Any]]):
    folder, _ = answers
    model, given = mlx_model.load(folder / "released.mlx"), waveforms(folder)
    assert all(one.words is None for one in heard(model, given, output_timestamp=False))
    asked = model.Options(output_timestamp=False)
    late = model.hypotheses(model.best(model(*model.features(given), asked)), asked, times=True)
    assert [one.words for one in late] == [one.words for one in heard(model, given)]


@pytest.mark.reference
def test_silence_and_a_head_without_weight_have_no_times(answers: tuple[Path, dict[str, Any]]):
    folder, _ = answers
    model = mlx_model.load(folder / "released.mlx")
    model.predictor.noise_threshold2 = 2.0
    for as_funasr in (False, True):
        for one in heard(model, waveforms(folder), as_funasr=as_funasr):
            assert one.text
            assert one.words is None
    model.predictor.noise_threshold = 2.0
    model.predictor.tail_threshold = 0.0
    nothing = heard(model, [np.zeros(8000, np.float32)])
    assert [(one.text, one.token_ids, one.words) for one in nothing] == [("", [], [])]
    assert model(*model.features([np.zeros(8000, np.float32)])).logits.dtype == mx.float32


@pytest.mark.reference
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"predictor_conf": {"upsample_type": "cnn_attn"}}, "cnn_attn"),
        ({"predictor_conf": {"upsample_times": 5}}, "upsample_times = 5"),
        ({"predictor_conf": {"upsample_times": None}}, "upsample_times = 5"),  # left out: FunASR's default
        ({"predictor": "CifPredictorV2"}, "CifPredictorV2"),
        ({"tokenizer": "SentencepiecesTokenizer"}, "Sentencepieces"),
        ({"model": "Paraformer", "predictor": "CifPredictorV2", "predictor_conf": dict.fromkeys([*V3, "use_cif1_cnn"])},
         "BiCifParaformer"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_by_name(
    changed: dict[str, Any], words: str, answers: tuple[Path, dict[str, Any]], tmp_path: Path
):
    folder, _ = answers
    config = configuration("released")
    for key, value in changed.items():
        config[key] = config[key] | value if isinstance(value, dict) else value
    conf = config["predictor_conf"]
    config["predictor_conf"] = {key: value for key, value in conf.items() if value is not None}
    source = tmp_path / "source"
    source.mkdir()
    for file in (folder / "released").iterdir():
        (source / file.name).symlink_to(file)
    (source / "config.yaml").unlink()
    (source / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    with pytest.raises((ConfigError, CheckpointError), match=words):
        convert.convert(source, tmp_path / "out")


@pytest.mark.shared
def test_the_trained_models_recorded_texts_and_times(shared: Path, tmp_path: Path):
    """Eight of FunASR's recorded 99; benchmarks/times_identity.py takes all 500 utterances."""
    source = shared / "checkpoints/bicif_real_small"
    lines = (source / "funasr_hypotheses_s0150.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines[::13]]
    files = [next((shared / "data/aishell_s0150/wav").rglob(f"{row['key']}.wav")) for row in rows]
    convert.convert(source, tmp_path / "model")
    model = mlx_model.load(tmp_path / "model")
    for as_funasr, text in ((True, "funasr_text"), (False, "funasr_hyp")):
        for row, one in zip(rows, model.transcribe(files, as_funasr=as_funasr), strict=True):
            assert (one.text, times(one)) == (row[text], row["timestamp"])
