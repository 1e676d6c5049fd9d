"""A punctuation and a speaker model with random weights, written by hand: they need neither torch nor convert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlx_model.config.campplus import CAMPPlusConfig
from mlx_model.config.ct_transformer import CTTransformerConfig
from mlx_model.config.speaker_networks import CAMPPlusArguments, SpeakerFrontendConfig
from mlx_model.machine.blas import mx, tree_flatten
from mlx_model.models import campplus, ct_transformer

MARKS = CTTransformerConfig.from_dict(
    {
        "vocab_size": 6,
        "encoder": {"input_size": 16, "output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 2},
        "marks": {"embed_unit": 16, "att_unit": 16, "punc_list": ["<unk>", "_", "，", "。", "？", "、"]},
        "tokenizer": {},
    }
)
WORDS = ["<blank>", "今", "天", "气", "hello", "<unk>"]
VOICES = CAMPPlusConfig(
    frontend=SpeakerFrontendConfig(),
    network=CAMPPlusArguments(embedding_size=8, growth_rate=2, bn_size=2, init_channels=8),
)


def _write(folder: Path, model: Any, config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    mx.random.seed(5)
    weights = {
        name: mx.random.normal(value.shape) * 0.1 if value.ndim > 1 else value
        for name, value in tree_flatten(model.parameters())
    }
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    (folder / "config.json").write_text(json.dumps(config.to_dict()), "utf-8")
    return folder


def write_punctuator(folder: Path) -> Path:
    """Write a CTTransformer's directory and return it."""
    _write(folder, ct_transformer.Model(MARKS), MARKS)
    (folder / "tokens.json").write_text(json.dumps(WORDS, ensure_ascii=False), "utf-8")
    return folder


def write_embedder(folder: Path) -> Path:
    """Write a CAM++'s directory and return it."""
    return _write(folder, campplus.Model(VOICES), VOICES)
