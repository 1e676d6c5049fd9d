"""Makes FunASR model directories with random weights. Runs in a process of its own, beside torch and funasr.

LayerNorms and biases are randomised too: at their initial 1 and 0 a swapped or forgotten one would go unseen.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np


def build(config: dict, directory: Path, seed: int) -> None:
    """Write config.yaml, model.pt, tokens.json and am.mvn of one architecture."""
    import funasr  # noqa: F401  registers the classes
    import torch
    import yaml
    from funasr.register import tables
    from funasr.utils.misc import deep_update

    directory.mkdir(parents=True)
    tokens = config.pop("tokens", None)  # another vocabulary than that of most tests
    tokens = tokens or ["<blank>", "<s>", "</s>", *[chr(0x4E00 + i) for i in range(40)], "he@@", "llo", "<unk>"]
    width = config["frontend_conf"]["n_mels"] * config["frontend_conf"]["lfr_m"]
    options: dict = {}
    deep_update(options, config["model_conf"])
    deep_update(options, {**config, "vocab_size": len(tokens), "input_size": width})
    torch.manual_seed(seed)
    model = tables.model_classes[config["model"]](**options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    torch.save(model.state_dict(), directory / "model.pt")
    rng = np.random.default_rng(seed)
    shift, scale = -10 + rng.standard_normal(width), 0.2 + 0.02 * rng.random(width)
    lines = [
        "<Nnet>",
        f"<Splice> {width} {width}",
        "[ 0 ]",
        f"<AddShift> {width} {width}",
        _vector(shift),
        f"<Rescale> {width} {width}",
        _vector(scale),
        "</Nnet>",
    ]
    (directory / "am.mvn").write_text("\n".join(lines) + "\n", "utf-8")
    (directory / "tokens.json").write_text(json.dumps(tokens, ensure_ascii=False), "utf-8")
    (directory / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), "utf-8")


def _vector(values: np.ndarray) -> str:
    return "<LearnRateCoef> 0 [ " + " ".join(f"{value:.7g}" for value in values) + " ]"


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    for number, (name, config) in enumerate(request["configs"].items()):
        build(config, Path(request["folder"]) / name, number)
