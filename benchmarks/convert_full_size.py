"""Converts a full-size random Paraformer (220,084,533 parameters, 881 MB) in its own process: time, memory.

    python benchmarks/convert_full_size.py [--source DIR] [--dtype float32] [--runs 3]

The checkpoint is built once with FunASR's own class (needs torch and funasr) and kept in --source. Exit code 1 where a
run is slower than 10 s or its peak memory (ru_maxrss of the whole process, imports included) exceeds 1.3 x model.pt.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARAMETERS = 220_084_533
TIME_LIMIT_S = 10.0
MEMORY_LIMIT = 1.3  # times the size of model.pt
VOCABULARY, FEATURES = 8404, 560

CHILD = """
import json, resource, sys, time
start = time.perf_counter()
import convert
report = convert.convert(sys.argv[1], sys.argv[2], dtype=sys.argv[3])
wall_s = time.perf_counter() - start
unit = 1 if sys.platform == "darwin" else 1024
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
sizes = {"parameters": report.parameters, "tensors": len(report.tensors)}
print(json.dumps({"wall_s": wall_s, "peak_rss_mb": peak / 1e6, **sizes}))
"""

CONFIG = {
    "model": "Paraformer",
    "model_conf": {"ctc_weight": 0.0, "lsm_weight": 0.1, "length_normalized_loss": True, "predictor_weight": 1.0,
                   "predictor_bias": 1, "sampling_ratio": 0.75},
    "encoder": "SANMEncoder",
    "encoder_conf": {"output_size": 512, "attention_heads": 4, "linear_units": 2048, "num_blocks": 50,
                     "input_layer": "pe", "pos_enc_class": "SinusoidalPositionEncoder",
                     "normalize_before": True, "kernel_size": 11, "sanm_shfit": 0, "selfattention_layer_type": "sanm"},
    "decoder": "ParaformerSANMDecoder",
    "decoder_conf": {"attention_heads": 4, "linear_units": 2048, "num_blocks": 16, "att_layer_num": 16,
                     "kernel_size": 11, "sanm_shfit": 0},
    "predictor": "CifPredictorV2",
    "predictor_conf": {"idim": 512, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45},
    "frontend": "WavFrontend",
    "frontend_conf": {"fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10, "lfr_m": 7,
                      "lfr_n": 6, "dither": 0.0},
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
}  # fmt: skip


def build(directory: Path) -> None:
    """Write a FunASR directory with random weights of the released size."""
    import torch
    import yaml
    from funasr.register import tables
    from funasr.utils.misc import deep_update

    directory.mkdir(parents=True, exist_ok=True)
    settings: dict = {}
    deep_update(settings, CONFIG["model_conf"])
    deep_update(settings, {**CONFIG, "vocab_size": VOCABULARY, "input_size": FEATURES})
    torch.manual_seed(0)
    model = tables.model_classes["Paraformer"](**settings)
    (directory / "config.yaml").write_text(yaml.safe_dump(CONFIG), "utf-8")
    tokens = ["<blank>", "<s>", "</s>", *(chr(0x4E00 + index) for index in range(VOCABULARY - 4)), "<unk>"]
    (directory / "tokens.json").write_text(json.dumps(tokens), "utf-8")
    rows = [" ".join(["-8.0"] * FEATURES), " ".join(["0.2"] * FEATURES)]
    (directory / "am.mvn").write_text(
        f"<Nnet>\n<Splice> {FEATURES} {FEATURES}\n[ 0 ]\n"
        f"<AddShift> {FEATURES} {FEATURES}\n<LearnRateCoef> 0 [ {rows[0]} ]\n"
        f"<Rescale> {FEATURES} {FEATURES}\n<LearnRateCoef> 0 [ {rows[1]} ]\n</Nnet>\n", "utf-8",
    )  # fmt: skip
    torch.save(model.state_dict(), directory / "model.pt")


def measure(source: Path, dtype: str) -> dict:
    """Return wall time and peak memory of one conversion in a new process."""
    scratch = Path(tempfile.mkdtemp(prefix="convert-full-size-"))
    try:
        found = subprocess.run(
            [sys.executable, "-c", CHILD, str(source), str(scratch / "out"), dtype], cwd=ROOT, check=True,
            stdout=subprocess.PIPE, text=True, timeout=600,
        )  # fmt: skip
    finally:
        shutil.rmtree(scratch)
    return json.loads(found.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path(tempfile.gettempdir()) / "full")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if not (options.source / "model.pt").is_file():
        print(f"building {options.source} ...", file=sys.stderr)
        build(options.source)
    size_mb = (options.source / "model.pt").stat().st_size / 1e6
    runs = [measure(options.source, options.dtype) for _ in range(options.runs)]
    wall, peak = sorted(run["wall_s"] for run in runs), max(run["peak_rss_mb"] for run in runs)
    passed = wall[-1] <= TIME_LIMIT_S and peak <= MEMORY_LIMIT * size_mb and runs[0]["parameters"] == PARAMETERS
    print(json.dumps({"passed": passed, "model_mb": size_mb, "median_s": wall[len(wall) // 2], "worst_s": wall[-1],
                      "peak_rss_mb": peak, "peak_over_file": peak / size_mb, "runs": runs}, indent=1))  # fmt: skip
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
