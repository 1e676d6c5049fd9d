"""ContextualParaformers with random weights against FunASR: texts with hotwords; batches; what is refused.

Oracle: FunASR's AutoModel.generate, in a process of its own (tests/make_contextual_paraformer.py), one recording at a
time. Names, shapes and what is left out: by hand.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import convert
import mlx_funasr
import mlx_model
from mlx_model.config.contextual_paraformer import ContextualParaformerConfig
from mlx_model.errors import CheckpointError, ConfigError, UsageError
from tests import forked
from tests.conftest import BASE as PARAFORMER
from tests.conftest import ROOT, speech_like
from tests.make_contextual_paraformer import CHARACTERS
from tests.model_folders import change_config

SECONDS = (1.37, 2.6, 1.9)
WIDTH = PARAFORMER["encoder_conf"]["output_size"]
BASE: dict[str, Any] = {
    **PARAFORMER,
    "model": "ContextualParaformer",
    "model_conf": {**PARAFORMER["model_conf"], "inner_dim": WIDTH, "bias_encoder_type": "lstm",
                   "crit_attn_weight": 0.0, "target_buffer_length": 100},
    "encoder_conf": {**PARAFORMER["encoder_conf"], "num_blocks": 2},
    "decoder": "ContextualParaformerDecoder",
    "decoder_conf": {**PARAFORMER["decoder_conf"], "num_blocks": 3, "att_layer_num": 2},
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "released": BASE,
    "own_table": {
        **BASE,
        "model_conf": {**BASE["model_conf"], "use_decoder_embedding": True},
        "decoder_conf": {**BASE["decoder_conf"], "num_blocks": 1, "att_layer_num": 2, "sanm_shfit": 5},
        "predictor": "CifPredictor",
    },
}
MANY = " ".join(a + b for a, b in itertools.pairwise(CHARACTERS))
WORDS = f"{CHARACTERS[1]}{CHARACTERS[7]} hello {CHARACTERS[2]}龘"
ASKED: list[dict[str, Any]] = [
    {},
    {"hotword": ""},
    {"hotword": WORDS},
    {"hotword": WORDS, "clas_scale": 2.0},
    {"hotword": MANY, "clas_scale": 0.5},
]


def made_by_funasr(folder: Path, configs: dict[str, Any], recordings: list[Path], asked: list[dict[str, Any]]) -> None:
    """Let FunASR write a random model of each configuration into `folder`, and what it hears into answers.json."""
    request = {"folder": str(folder), "configs": configs, "recordings": [*map(str, recordings)], "asked": asked}
    (folder / "request.json").write_text(json.dumps(request), "utf-8")
    command = [forked.python("funasr"), str(ROOT / "tests/make_contextual_paraformer.py"), str(folder / "request.json")]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return the folder of FunASR's models and their conversions (`NAME.mlx`), and what FunASR hears."""
    import soundfile

    folder = tmp_path_factory.mktemp("contextual")
    for number, path in enumerate(recordings(folder)):
        soundfile.write(path, speech_like(SECONDS[number], seed=number), 16000, subtype="PCM_16")
    made_by_funasr(folder, CONFIGS, recordings(folder), ASKED)
    for name in CONFIGS:
        convert.convert(folder / name, folder / f"{name}.mlx")
    return folder, json.loads((folder / "answers.json").read_text("utf-8"))


def recordings(folder: Path) -> list[Path]:
    return [folder / f"{number}.wav" for number in range(len(SECONDS))]


@pytest.mark.reference
@pytest.mark.parametrize("name", CONFIGS)
def test_texts_are_funasrs(name: str, answers: tuple[Path, dict[str, Any]]):
    """All recordings in one batch; FunASR one at a time."""
    folder, theirs = answers
    model = mlx_model.load(folder / f"{name}.mlx")
    found = []
    for asked in ASKED:
        options = {("hotwords" if key == "hotword" else key): value for key, value in asked.items()}
        results = model.transcribe(recordings(folder), as_funasr=True, **options)
        found.append([each.text for each in results])
    assert found == theirs[name]
    assert found[0] == found[1]  # no list is a list of none
    assert len({tuple(texts) for texts in found}) >= 3  # lists and scales change something


@pytest.mark.reference
def test_what_is_converted_and_what_is_not(answers: tuple[Path, dict[str, Any]]):
    folder, _ = answers
    dropped = {
        name: {row.source: row.reason for row in convert.inspect(folder / name).tensors if row.target is None}
        for name in CONFIGS
    }
    assert dropped["released"] == {"decoder.embed.0.weight": "used by the training sampler only"}
    assert dropped["own_table"] == {"bias_embed.weight": "hotwords are looked up in decoder.embed"}
    (row,) = [row for row in convert.inspect(folder / "released").tensors if row.source == "decoder.bias_output.weight"]
    assert (row.op, row.shape) == ("pointwise", [WIDTH, 2 * WIDTH, 1])
    model = mlx_model.load(folder / "released.mlx")
    assert model.decoder.bias_output.weight.shape == (WIDTH, 2 * WIDTH)
    assert (folder / "released.mlx/seg_dict").read_bytes() == (folder / "released/seg_dict").read_bytes()
    assert model.seg_dict.words[CHARACTERS[3]] == (CHARACTERS[3],)


@pytest.mark.reference
def test_an_utterance_does_not_depend_on_its_batch(answers: tuple[Path, dict[str, Any]]):
    folder, _ = answers
    model = mlx_model.load(folder / "released.mlx")
    options = model.Options(hotwords=WORDS)
    waves = [speech_like(seconds, seed=number) for number, seconds in enumerate(SECONDS)]
    together = model.logits_of(model(*model.features(waves), options))
    for wave, beside in zip(waves, together, strict=True):
        (alone,) = model.logits_of(model(*model.features([wave]), options))
        assert np.abs(alone - beside).max() < 1e-4  # float32 rounding over a few layers; logits are of size 10


@pytest.mark.reference
def test_a_list_is_read_and_encoded_once(answers: tuple[Path, dict[str, Any]], tmp_path: Path):
    folder, _ = answers
    model = mlx_model.load(folder / "released.mlx")
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(CHARACTERS), "utf-8")
    options = model.Options(hotwords=str(listed))
    listed.unlink()
    hotwords = model.hotwords(options)
    assert len(hotwords.ids) == len(CHARACTERS) + 1
    first = model.hotword_vectors(hotwords.ids)
    assert model.hotword_vectors(hotwords.ids) is first
    model.bias_encoder.bias_ih_l0 = model.bias_encoder.bias_ih_l0 + 1  # what is changed is computed with at once
    assert np.abs(np.array(model.hotword_vectors(hotwords.ids)) - np.array(first)).max() > 1e-3


@pytest.mark.reference
def test_the_command_says_what_the_model_cannot_spell(answers: tuple[Path, dict[str, Any]]):
    folder, _ = answers
    command = ["transcribe", str(folder / "released.mlx"), str(recordings(folder)[0])]
    done = CliRunner().invoke(mlx_funasr.app, [*command, "--hotwords", WORDS])
    assert done.exit_code == 0, done.output
    assert f"1 of 3 left out, for the model has no token for parts of them: {CHARACTERS[2]}龘" in done.stderr
    for wrong, said in (("missing.txt", "is no file"), ("http://nowhere/list", "only when asked for")):
        refused = CliRunner().invoke(mlx_funasr.app, [*command, "--hotwords", wrong])
        assert isinstance(refused.exception, UsageError)
        assert said in str(refused.exception)


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_scale_that_is_no_number(scale: float):
    options = mlx_model.loading.model_class("contextual_paraformer").Options
    with pytest.raises(UsageError, match="clas_scale"):
        options(clas_scale=scale)


@pytest.mark.reference
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_conf": {"bias_encoder_type": "mean"}}, "bias_encoder_type = 'mean' is not supported"),
        ({"model_conf": {"inner_dim": WIDTH // 2}}, f"inner_dim = {WIDTH // 2} but the encoder's output_size is"),
        ({"model_conf": {"inner_dims": 3}}, "unknown key 'inner_dims'; did you mean 'inner_dim'"),
        ({"decoder_conf": {"att_layer_num": 1}}, "att_layer_num = 1 must be at least 2"),
        ({"decoder": "ParaformerSANMDecoder"}, "decoder 'ParaformerSANMDecoder' is not supported"),
        ({"decoder_conf": {"chunk_multiply_factor": 2}}, "unknown key 'chunk_multiply_factor'"),
    ],
)
def test_what_is_refused_is_named(change: dict[str, Any], said: str, answers: tuple[Path, dict[str, Any]], tmp_path):
    folder, _ = answers
    shutil.copytree(folder / "released", tmp_path / "changed")
    change_config(tmp_path / "changed", **change)
    with pytest.raises(ConfigError, match=said):
        convert.inspect(tmp_path / "changed")


@pytest.mark.reference
@pytest.mark.parametrize(
    ("model", "decoder"), [("Paraformer", "ParaformerSANMDecoder"), ("SeacoParaformer", "ParaformerSANMDecoder")]
)
def test_a_relatives_name_over_its_tensors_is_refused(model, decoder, answers: tuple[Path, dict[str, Any]], tmp_path):
    folder, _ = answers
    shutil.copytree(folder / "released", tmp_path / "changed")
    change_config(tmp_path / "changed", model=model, decoder=decoder)
    with pytest.raises((CheckpointError, ConfigError)):
        convert.inspect(tmp_path / "changed")


def test_configuration_of_a_stored_model():
    config = ContextualParaformerConfig
    assert "use_decoder_embedding" in config.__dataclass_fields__
    assert "wo_input_layer" not in config.SECTIONS["decoder"].FIXED
