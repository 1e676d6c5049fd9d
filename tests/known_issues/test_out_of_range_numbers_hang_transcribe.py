"""convert takes `frame_length: 0`, and transcribe then never ends (or ends in a traceback, or always says nothing).

Every field of every section is given what no model has; each is refused in one line, or the model is used.
"""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import convert
from mlx_model.config.fsmn_vad_streaming import FsmnVADStreamingConfig
from mlx_model.config.paraformer import ParaformerConfig
from mlx_model.config.sections import ModelConfig
from mlx_model.errors import ConfigError, MlxFunasrError
from mlx_model.loading import load
from parity.demo import MODEL

ODD: tuple[Any, ...] = (
    float("nan"), float("inf"), float("-inf"), -1, 0, 0.5, 1, 2, 1e300, 10**30, "x", "1", None, [], {}, True, [0],
    1e-300,
)  # fmt: skip
REPORTED = [
    ("frontend_conf", "frame_length", 0), ("frontend_conf", "frame_length", 0.01), ("frontend_conf", "fs", 1_000_000),
    ("frontend_conf", "frame_shift", 0), ("frontend_conf", "frame_shift", -10), ("frontend_conf", "fs", 1),
    ("frontend_conf", "frame_length", float("nan")), ("frontend_conf", "frame_length", float("inf")),
    ("predictor_conf", "smooth_factor", 0), ("encoder_conf", "dropout_rate", 7), ("frontend_conf", "n_mels", 600),
    ("frontend_conf", "lfr_n", 0), ("encoder_conf", "attention_heads", 3), ("encoder_conf", "sanm_shfit", -1),
    ("predictor_conf", "tail_threshold", float("nan")), ("predictor_conf", "noise_threshold", 1),
]  # fmt: skip


@pytest.mark.parametrize(("section", "key", "value"), REPORTED)
def test_config_yaml_is_refused_by_file_key_and_value(tmp_path: Path, section: str, key: str, value: Any):
    source = tmp_path / "source"
    shutil.copytree(MODEL, source, symlinks=True)
    document = yaml.safe_load((source / "config.yaml").read_text("utf-8"))
    document[section][key] = value
    (source / "config.yaml").write_text(yaml.safe_dump(document, allow_unicode=True), "utf-8")
    with pytest.raises(ConfigError) as caught:
        convert.convert(source, tmp_path / "out")
    message = str(caught.value)
    assert message.startswith("config.yaml: ")
    assert key in message or "width" in message  # heads are refused by the width that they do not divide
    assert "\n" not in message
    assert not (tmp_path / "out").exists()


VAD = {
    "model_type": "fsmn_vad_streaming",
    "frontend": {"lfr_m": 5, "lfr_n": 1, "n_mels": 4, "cmvn": False},
    "encoder": {
        "input_dim": 20, "input_affine_dim": 6, "fsmn_layers": 2, "linear_dim": 8, "proj_dim": 4, "lorder": 5,
        "rorder": 0, "lstride": 1, "rstride": 0, "output_affine_dim": 6, "output_dim": 5,
    },
    "vad_opts": {},
}  # fmt: skip
ASR = {
    "model_type": "paraformer", "vocab_size": 8, "predictor_class": "CifPredictorV2",
    "frontend": {"lfr_m": 3, "lfr_n": 2, "n_mels": 4, "cmvn": False},
    "encoder": {"output_size": 8, "attention_heads": 2, "linear_units": 12, "num_blocks": 2, "kernel_size": 5},
    "decoder": {"attention_heads": 2, "linear_units": 12, "num_blocks": 2, "att_layer_num": 2, "kernel_size": 5},
    "predictor": {"idim": 8, "l_order": 1, "r_order": 1, "tail_threshold": 0.45}, "tokenizer": {},
}  # fmt: skip


def variants(config: type[ModelConfig], document: dict[str, Any]) -> list[tuple[str, str | None, Any]]:
    own = [(None, item.name) for item in dataclasses.fields(config) if item.name not in config.SECTIONS]
    inner = [(name, item.name) for name, cls in config.SECTIONS.items() for item in dataclasses.fields(cls)]
    return [(key, section, value) for section, key in [*own, *inner] for value in ODD]


@pytest.mark.parametrize(("config", "document"), [(ParaformerConfig, ASR), (FsmnVADStreamingConfig, VAD)])
def test_any_field_is_refused_in_one_line_or_usable(config: type[ModelConfig], document: dict[str, Any]):
    from mlx_model.loading import unfilled

    config.from_dict(document)  # healthy as it stands
    waveform = (0.1 * np.random.default_rng(0).standard_normal(4000)).astype(np.float32)
    used, messages = 0, []
    for key, section, value in variants(config, document):
        changed = json.loads(json.dumps(document))
        (changed if section is None else changed[section])[key] = value
        try:
            model = unfilled(config.from_dict(changed))
            model.eval()
            use(model, waveform)
            used += 1
        except MlxFunasrError as error:
            messages.append(str(error))
    assert all("\n" not in message and len(message) < 400 for message in messages)
    assert len(messages) > used
    assert used > 50


def use(model: Any, waveform: np.ndarray) -> None:
    """Run what a command would, on a quarter of a second."""
    if hasattr(model, "set_tokens"):
        model.set_tokens(["<blank>", "<s>", "</s>", "a", "b", "c", "d", "<unk>"])
        results = model.transcribe([waveform])
        assert results[0].text is not None
    else:
        model.segments(waveform)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("frontend", {"fs": 1}, "fs = 1 must be at least 1000"),
        ("predictor", {"idim": 8, "l_order": 1, "r_order": 1, "smooth_factor": float("nan")}, "smooth_factor = nan"),
        ("quantization", {"bits": 3, "group_size": 64, "modules": ["encoder"]}, "bits = 3"),
        ("quantization", {"bits": 8, "group_size": 0, "modules": ["encoder"]}, "group_size = 0"),
        ("quantization", {"bits": 8, "group_size": 64, "modules": []}, "modules"),
        ("quantization", {"bits": 8, "group_size": 64, "modules": ["encoder.after_norm"]}, "no linear layer"),
        ("quantization", [], "quantization = []"),
        ("dtype", "float64", "only float32 or float16 or bfloat16"),
        ("vocab_size", "8", "must be of type int"),
        ("eos", 8, "no token of 8"),
        ("model_type", ["paraformer"], "is not one of"),
    ],
)
def test_config_json_edited_by_hand_is_refused_by_load(tmp_path: Path, key: str, value: Any, says: str):
    (tmp_path / "config.json").write_text(json.dumps({**ASR, key: value}), "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert says in str(caught.value)
    assert "config.json" in str(caught.value)


def test_an_integer_of_thousands_of_digits_is_one_line(tmp_path: Path):
    text = json.dumps({**ASR, "vocab_size": 1}).replace('"vocab_size": 1', f'"vocab_size": {"9" * 5000}')
    (tmp_path / "config.json").write_text(text, "utf-8")
    with pytest.raises(ConfigError, match="is not JSON"):
        load(tmp_path)
