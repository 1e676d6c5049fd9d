"""A Paraformer small enough to convert in milliseconds, built from numpy alone: a directory, its tensors, its config.

The tensor names and torch-side shapes are written out by hand from FunASR's classes, independent of the converter;
test_released.py checks them against real FunASR checkpoints.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file

TOKENS = ["<blank>", "<s>", "</s>", "一", "二", "三", "@@x", "<unk>"]
WIDTH, UNITS, KERNEL, MELS, LFR = 8, 12, 5, 4, 3
FEATS = MELS * LFR

CONFIG: dict[str, Any] = {
    "model": "Paraformer",
    "model_conf": {"ctc_weight": 0.0, "lsm_weight": 0.1, "predictor_bias": 1, "sampling_ratio": 0.75},
    "encoder": "SANMEncoder",
    "encoder_conf": {
        "output_size": WIDTH, "attention_heads": 2, "linear_units": UNITS, "num_blocks": 3, "dropout_rate": 0.1,
        "input_layer": "pe", "kernel_size": KERNEL, "sanm_shfit": 0, "selfattention_layer_type": "sanm",
        "normalize_before": True, "pos_enc_class": "SinusoidalPositionEncoder",
    },
    "decoder": "ParaformerSANMDecoder",
    "decoder_conf": {
        "attention_heads": 2, "linear_units": UNITS, "num_blocks": 2, "att_layer_num": 2, "kernel_size": KERNEL,
        "sanm_shfit": 0,
    },
    "predictor": "CifPredictorV2",
    "predictor_conf": {"idim": WIDTH, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45},
    "frontend": "WavFrontend",
    "frontend_conf": {"fs": 16000, "window": "hamming", "n_mels": MELS, "lfr_m": LFR, "lfr_n": 2, "dither": 0.0},
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
    "specaug": "SpecAugLFR",
    "normalize": None,
}  # fmt: skip


def linear(name: str, rows: int, columns: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns)} | ({f"{name}.bias": (rows,)} if bias else {})


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def encoder_layer(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {
        **linear(f"{name}.self_attn.linear_q_k_v", 3 * WIDTH, width),
        **linear(f"{name}.self_attn.linear_out", WIDTH, WIDTH),
        f"{name}.self_attn.fsmn_block.weight": (WIDTH, 1, KERNEL),
        **linear(f"{name}.feed_forward.w_1", UNITS, WIDTH),
        **linear(f"{name}.feed_forward.w_2", WIDTH, UNITS),
        **norm(f"{name}.norm1", width),
        **norm(f"{name}.norm2", WIDTH),
    }


def decoder_feed_forward(name: str) -> dict[str, tuple[int, ...]]:
    return {
        **linear(f"{name}.feed_forward.w_1", UNITS, WIDTH),
        **linear(f"{name}.feed_forward.w_2", WIDTH, UNITS, bias=False),
        **norm(f"{name}.feed_forward.norm", UNITS),
        **norm(f"{name}.norm1", WIDTH),
    }


def torch_shapes(vocab: int = len(TOKENS), predictor: str = "CifPredictorV2") -> dict[str, tuple[int, ...]]:
    """Names and torch-side shapes of the tiny model, as FunASR's classes would save them."""
    shapes: dict[str, tuple[int, ...]] = encoder_layer("encoder.encoders0.0", FEATS)
    for index in range(2):
        shapes |= encoder_layer(f"encoder.encoders.{index}", WIDTH)
    shapes |= norm("encoder.after_norm", WIDTH)
    shapes |= {"decoder.embed.0.weight": (vocab, WIDTH)}
    for index in range(2):
        name = f"decoder.decoders.{index}"
        shapes |= {
            f"{name}.self_attn.fsmn_block.weight": (WIDTH, 1, KERNEL),
            **linear(f"{name}.src_attn.linear_q", WIDTH, WIDTH),
            **linear(f"{name}.src_attn.linear_k_v", 2 * WIDTH, WIDTH),
            **linear(f"{name}.src_attn.linear_out", WIDTH, WIDTH),
            **decoder_feed_forward(name),
            **norm(f"{name}.norm2", WIDTH),
            **norm(f"{name}.norm3", WIDTH),
        }
    shapes |= decoder_feed_forward("decoder.decoders3.0")
    shapes |= norm("decoder.after_norm", WIDTH) | linear("decoder.output_layer", vocab, WIDTH)
    inner = 1 if predictor == "CifPredictor" else WIDTH
    return shapes | {
        "predictor.cif_conv1d.weight": (WIDTH, inner, 3),
        "predictor.cif_conv1d.bias": (WIDTH,),
        **linear("predictor.cif_output", 1, WIDTH),
    }


def random_tensors(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


def mvn_text(shift: list[str], scale: list[str]) -> str:
    width = len(shift)
    return (
        f"<Nnet> \n<Splice> {width} {width}\n[ 0 ]\n<AddShift> {width} {width} \n"
        f"<LearnRateCoef> 0 [ {' '.join(shift)} ]\n"
        f"<Rescale> {width} {width}\n<LearnRateCoef> 0 [ {' '.join(scale)} ]\n</Nnet> \n"
    )


def write_model(
    directory: Path,
    *,
    config: dict[str, Any] | None = None,
    tensors: dict[str, np.ndarray] | None = None,
    tokens: list[str] | None = None,
) -> Path:
    """Write a FunASR directory whose weights are model.safetensors (so that no torch is needed) and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    config = CONFIG if config is None else config
    (directory / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), "utf-8")
    (directory / "tokens.json").write_text(json.dumps(TOKENS if tokens is None else tokens), "utf-8")
    shift = [f"{-8 - index / 7:.6f}" for index in range(FEATS)]
    scale = [f"{0.1 + index / 90:.6f}" for index in range(FEATS)]
    (directory / "am.mvn").write_text(mvn_text(shift, scale), "utf-8")
    save_file(random_tensors(torch_shapes()) if tensors is None else tensors, directory / "model.safetensors")
    return directory
