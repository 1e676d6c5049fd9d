"""Builds a FunASR directory with a random Paraformer of the released size, by FunASR's own class, for the others.

    python benchmarks/full_size_checkpoint.py DIR

220,084,533 parameters, 881 MB: SANMEncoder of 50 blocks at width 512, 16 decoder blocks, CifPredictorV2, 8404 tokens
(as in speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-pytorch). The weights are torch's initialisation under
seed 0; the vocabulary and am.mvn are made up here, the same every time. Needs torch and funasr; takes some seconds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PARAMETERS, TENSORS = 220_084_533, 956
VOCABULARY, MELS, STACKED = 8404, 80, 7
DEFAULT = Path(tempfile.gettempdir()) / "mlx-funasr-full-size"

CONFIG = {
    "model": "Paraformer",
    "model_conf": {"ctc_weight": 0.0, "lsm_weight": 0.1, "length_normalized_loss": True, "predictor_weight": 1.0,
                   "predictor_bias": 1, "sampling_ratio": 0.75},
    "encoder": "SANMEncoder",
    "encoder_conf": {"output_size": 512, "attention_heads": 4, "linear_units": 2048, "num_blocks": 50,
                     "dropout_rate": 0.1, "positional_dropout_rate": 0.1, "attention_dropout_rate": 0.1,
                     "input_layer": "pe", "pos_enc_class": "SinusoidalPositionEncoder", "normalize_before": True,
                     "kernel_size": 11, "sanm_shfit": 0, "selfattention_layer_type": "sanm"},
    "decoder": "ParaformerSANMDecoder",
    "decoder_conf": {"attention_heads": 4, "linear_units": 2048, "num_blocks": 16, "dropout_rate": 0.1,
                     "positional_dropout_rate": 0.1, "self_attention_dropout_rate": 0.1,
                     "src_attention_dropout_rate": 0.1, "att_layer_num": 16, "kernel_size": 11, "sanm_shfit": 0},
    "predictor": "CifPredictorV2",
    "predictor_conf": {"idim": 512, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45},
    "frontend": "WavFrontend",
    "frontend_conf": {"fs": 16000, "window": "hamming", "n_mels": MELS, "frame_length": 25, "frame_shift": 10,
                      "lfr_m": STACKED, "lfr_n": 6, "dither": 0.0},
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
}  # fmt: skip


def vocabulary() -> list[str]:
    """Return 8404 tokens: the three special ones, Chinese characters in code point order, `<unk>` last."""
    return ["<blank>", "<s>", "</s>", *(chr(0x4E00 + index) for index in range(VOCABULARY - 4)), "<unk>"]


def am_mvn() -> str:
    """Return Kaldi nnet text with shifts and scales of the size real speech has (mean 12 nat, deviation 5)."""
    size = MELS * STACKED
    shift = " ".join(f"{-10.0 - 3.0 * (index % MELS) / MELS:.4f}" for index in range(size))
    scale = " ".join(f"{0.18 + 0.04 * (index % MELS) / MELS:.4f}" for index in range(size))
    return (
        f"<Nnet> \n<Splice> {size} {size}\n[ 0 ]\n<AddShift> {size} {size} \n<LearnRateCoef> 0 [ {shift} ]\n"
        f"<Rescale> {size} {size} \n<LearnRateCoef> 0 [ {scale} ]\n</Nnet> \n"
    )


def network(config: dict[str, Any] = CONFIG) -> Any:
    """Return FunASR's own model of a configuration, weights as torch initialises them under seed 0."""
    import funasr  # noqa: F401  registers the classes
    import torch
    from funasr.register import tables
    from funasr.utils.misc import deep_update

    settings: dict = {}
    deep_update(settings, config["model_conf"])
    deep_update(settings, {**config, "vocab_size": VOCABULARY, "input_size": MELS * STACKED})
    torch.manual_seed(0)
    return tables.model_classes[config["model"]](**settings)


def build(directory: Path, config: dict[str, Any] = CONFIG) -> Path:
    """Write config.yaml, tokens.json, am.mvn and, last, model.pt; return the directory. Imports torch and funasr."""
    import torch
    import yaml

    state = network(config).state_dict()
    size = (len(state), sum(tensor.numel() for tensor in state.values()))
    assert size == (TENSORS, PARAMETERS) or config is not CONFIG, size
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    (directory / "tokens.json").write_text(json.dumps(vocabulary(), ensure_ascii=False), "utf-8")
    (directory / "am.mvn").write_text(am_mvn(), "utf-8")
    torch.save(state, directory / "model.pt.partial")
    (directory / "model.pt.partial").rename(directory / "model.pt")
    return directory


def ensure(source: Path) -> Path:
    """Return `source`, built first in a process of its own where it holds no model.pt (torch stays out of this one)."""
    if not (source / "model.pt").is_file():
        print(f"building {source}", file=sys.stderr)
        subprocess.run([sys.executable, __file__, str(source)], check=True, stdout=sys.stderr)
    return source


def ensure_converted(source: Path, model: Path | None, scratch: Path) -> Path:
    """Return `model`, or a conversion of `source` made in `scratch`."""
    if model is not None:
        return model
    import convert

    convert.convert(source, scratch / "model")
    return scratch / "model"


def main() -> int:
    """Build into the folder given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, nargs="?", default=DEFAULT)
    directory = parser.parse_args().directory
    if (directory / "model.pt").exists():
        print(f"{directory}/model.pt exists; nothing to do", file=sys.stderr)
        return 0
    print(build(directory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
