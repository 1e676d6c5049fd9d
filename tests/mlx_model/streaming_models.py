"""A streaming recogniser with random weights, written by hand, and samples for it: needs neither torch nor convert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx_model
from mlx_model.config.paraformer_streaming import ParaformerStreamingConfig
from mlx_model.machine.blas import mx, tree_flatten
from mlx_model.models.paraformer_streaming import Model

CONFIG = ParaformerStreamingConfig.from_dict(
    {
        "vocab_size": 12,
        "predictor_class": "CifPredictorV2",
        "tokenizer": {},
        "frontend": {"lfr_m": 7, "lfr_n": 6, "cmvn": False},
        "encoder": {"output_size": 16, "linear_units": 32, "num_blocks": 2, "kernel_size": 5},
        "decoder": {"linear_units": 32, "num_blocks": 2, "att_layer_num": 1, "kernel_size": 5, "sanm_shfit": 2},
        "predictor": {"idim": 16, "l_order": 1, "r_order": 1, "tail_threshold": 0.45},
    }
)
TOKENS = ["<blank>", "<s>", "</s>", "一", "二", "三", "he@@", "llo", "a", "b", "四", "<unk>"]
LOOK_BACK = {"encoder_chunk_look_back": 2, "decoder_chunk_look_back": 1}


def load_streaming(folder: Path) -> Any:
    """Return a model that was written into `folder`."""
    return mlx_model.load(write_streaming(folder))


def write_streaming(folder: Path) -> Path:
    """Write a model directory and return it."""
    folder.mkdir(exist_ok=True)
    mx.random.seed(5)
    leaves: Any = tree_flatten(Model(CONFIG).parameters())
    weights = {name: mx.random.normal(value.shape) * 0.5 if value.ndim > 1 else value for name, value in leaves}
    weights["predictor.cif_output.bias"] = mx.array([-0.7])
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    (folder / "config.json").write_text(json.dumps(CONFIG.to_dict()), "utf-8")
    (folder / "tokens.json").write_text(json.dumps(TOKENS, ensure_ascii=False), "utf-8")
    return folder
