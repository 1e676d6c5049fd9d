"""Small random FSMN-VADs for the tests: a configuration, an MLX model of it, and the same as a FunASR directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

CONFIG: dict[str, Any] = {
    "model": "FsmnVADStreaming",
    "model_conf": {"max_end_silence_time": 300, "sil_to_speech_time_thres": 60, "speech_to_sil_time_thres": 60,
                   "window_size_ms": 100, "speech_noise_thres": 0.2, "snr_mode": 0},
    "encoder": "FSMN",
    "encoder_conf": {"input_dim": 100, "input_affine_dim": 14, "fsmn_layers": 2, "linear_dim": 24, "proj_dim": 12,
                     "lorder": 5, "rorder": 0, "lstride": 1, "rstride": 0, "output_affine_dim": 14, "output_dim": 3},
    "frontend": "WavFrontendOnline",
    "frontend_conf": {"fs": 16000, "window": "hamming", "n_mels": 20, "frame_length": 25, "frame_shift": 10,
                      "dither": 0.0, "lfr_m": 5, "lfr_n": 1},
}  # fmt: skip
# What the random networks differ in: taps further apart, taps into the future, another stacking, several silence pdfs.
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "plain": {},
    "strided": {"encoder_conf": {"lorder": 4, "lstride": 3}},
    "future": {"encoder_conf": {"rorder": 3, "rstride": 2}, "model_conf": {"silence_pdf_num": 2,
                                                                                 "sil_pdf_ids": [0, 2]}},
    "wide": {"encoder_conf": {"proj_dim": 16}},  # the memory is whole vectors: the CPU engine computes it
    "stacked": {"encoder_conf": {"input_dim": 60, "lorder": 1}, "frontend_conf": {"lfr_m": 3, "window": "povey"}},
}  # fmt: skip
# Seed and gain of a layer, looked for so that the random network finds several segments in `speech_like(4.0)` and never
# gives a probability of 0 or 1, where FunASR raises.
RANDOM = {"plain": (16, 1.2), "strided": (18, 1.2), "future": (31, 1.0), "stacked": (2, 1.2), "wide": (8, 1.2)}


def configuration(variant: str) -> dict[str, Any]:
    """Return the config.yaml of one variant."""
    config = json.loads(json.dumps(CONFIG))
    for section, values in VARIANTS[variant].items():
        config[section] |= values
    return config


def torch_shapes(encoder: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Names and torch-side shapes, written by hand from FunASR's class."""

    def affine(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
        return {f"encoder.{name}.linear.weight": (rows, columns), f"encoder.{name}.linear.bias": (rows,)}

    c = encoder
    shapes = affine("in_linear1", c["input_affine_dim"], c["input_dim"])
    shapes |= affine("in_linear2", c["linear_dim"], c["input_affine_dim"])
    for layer in range(c["fsmn_layers"]):
        shapes[f"encoder.fsmn.{layer}.linear.linear.weight"] = (c["proj_dim"], c["linear_dim"])
        shapes[f"encoder.fsmn.{layer}.fsmn_block.conv_left.weight"] = (c["proj_dim"], 1, c["lorder"], 1)
        if c["rorder"]:
            shapes[f"encoder.fsmn.{layer}.fsmn_block.conv_right.weight"] = (c["proj_dim"], 1, c["rorder"], 1)
        shapes |= affine(f"fsmn.{layer}.affine", c["linear_dim"], c["proj_dim"])
    shapes |= affine("out_linear1", c["output_affine_dim"], c["linear_dim"])
    return shapes | affine("out_linear2", c["output_dim"], c["output_affine_dim"])


def write_vad(directory: Path, variant: str = "plain", *, tensors: str = "model.safetensors") -> Path:
    """Write a FunASR directory with random weights, as model.safetensors (needs no torch) or model.pt."""
    import yaml
    from safetensors.numpy import save_file

    directory.mkdir(parents=True, exist_ok=True)
    config = configuration(variant)
    seed, gain = RANDOM[variant]
    rng = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}
    for name, shape in torch_shapes(config["encoder_conf"]).items():
        spread = 0.3 if len(shape) == 1 else gain / float(np.prod(shape[1:])) ** 0.5
        weights[name] = (rng.standard_normal(shape) * spread).astype(np.float32)
    (directory / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    width = config["encoder_conf"]["input_dim"]
    values = " ".join(["-9.0"] * width), " ".join(["0.3"] * width)
    (directory / "am.mvn").write_text(
        f"<Nnet>\n<Splice> {width} {width}\n[ 0 ]\n<AddShift> {width} {width}\n<LearnRateCoef> 0 [ {values[0]} ]\n"
        f"<Rescale> {width} {width}\n<LearnRateCoef> 0 [ {values[1]} ]\n</Nnet>\n"
    )
    if tensors == "model.pt":
        import torch

        torch.save({name: torch.from_numpy(value) for name, value in weights.items()}, directory / tensors)
    else:
        save_file(weights, directory / tensors)
    return directory
