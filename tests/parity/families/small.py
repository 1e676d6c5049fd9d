"""Small random punctuation and speaker models for the tests of their parity, made by FunASR and converted."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import convert
from tests import forked
from tests.conftest import ROOT

CHARACTERS = [chr(0x4E00 + 7 * number) for number in range(240)]
ENGLISH = ["a", "i", "is", "the", "of", "hello", "world", "ok", "yes", "no", "speech", "model", "test", "open", "word"]
TOKENS = ["<blank>", "<s>", "</s>", *ENGLISH, *CHARACTERS, "<unk>"]
MARKS = ["<unk>", "_", "，", "。", "？", "、"]


def marks_config(*, stream: bool, embed: int = 32) -> dict[str, Any]:
    """Return a punctuation model's configuration: 32 wide, 3 blocks."""
    return {
        "model": "CTTransformerStreaming" if stream else "CTTransformer",
        "model_conf": {"ignore_id": 0, "embed_unit": embed, "att_unit": 32, "dropout_rate": 0.1, "punc_list": MARKS,
                       "punc_weight": [1.0] * 6, "sentence_end_id": 3},
        "encoder": "SANMVadEncoder" if stream else "SANMEncoder",
        "encoder_conf": {
            "input_size": embed, "output_size": 32, "attention_heads": 4, "linear_units": 48, "num_blocks": 3,
            "dropout_rate": 0.1, "positional_dropout_rate": 0.1, "attention_dropout_rate": 0.0, "input_layer": "pe",
            "pos_enc_class": "SinusoidalPositionEncoder", "normalize_before": True, "kernel_size": 7,
            "sanm_shfit": 3 if stream else 0, "selfattention_layer_type": "sanm", "padding_idx": 0,
        },
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>"},
    }  # fmt: skip


def speaker_config(name: str) -> dict[str, Any]:
    """Return a speaker model's configuration, of FunASR's class of that name."""
    of = {
        "CAMPPlus": {"embedding_size": 24, "growth_rate": 4, "bn_size": 2, "init_channels": 16,
                     "config_str": "batchnorm-relu", "output_level": "segment"},
        "ERes2NetV2": {"embedding_size": 24, "m_channels": 8, "baseWidth": 24, "scale": 2, "expansion": 2,
                       "num_blocks": [1, 1, 1, 1], "pooling_func": "TSTP", "two_emb_layer": False},
    }  # fmt: skip
    conf = {"feat_dim": 80, **of[name]}
    return {"model": name, "model_conf": conf, "frontend": "WavFrontend", "frontend_conf": {"fs": 16000}}


def made(folder: Path, models: Mapping[str, dict[str, Any]]) -> None:
    """Let FunASR write random models into `folder`, and convert each into `NAME.mlx`."""
    request = {"folder": str(folder), "models": dict(models), "tokens": TOKENS}
    (folder / "request.json").write_text(json.dumps(request), "utf-8")
    command = [forked.python("funasr"), str(ROOT / "tests/make_small.py"), str(folder / "request.json")]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    for name in models:
        convert.convert(folder / name, folder / f"{name}.mlx")


def words(count: int, seed: int) -> str:
    """Return a text of so many characters of the vocabulary."""
    return "".join(random.Random(seed).choices(CHARACTERS, k=count))


def parts(texts: Sequence[str]) -> str:
    """Return a stream's text, in calls."""
    return "|".join(texts)
