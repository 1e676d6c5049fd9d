"""Makes ContextualParaformer directories with random weights, and asks FunASR what it hears. In a process of its own.

    python make_contextual_paraformer.py REQUEST.json

REQUEST: {"folder", "configs": {name: config.yaml}, "recordings": [path], "asked": [{of generate}]}. Writes folder/NAME,
and folder/answers.json: {name: [[text per recording] per set of options]}. The bias branch is made to matter.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

CHARACTERS = [chr(0x4E00 + number) for number in range(40)]
TOKENS = ["<blank>", "<s>", "</s>", "hello", *CHARACTERS, "<unk>"]
MVN = (
    "<Nnet>\n<Splice> 560 560\n[ 0 ]\n<AddShift> 560 560\n<LearnRateCoef> 0 [ {shift} ]\n"
    "<Rescale> 560 560\n<LearnRateCoef> 0 [ {scale} ]\n</Nnet>\n"
)


def build(config: dict[str, Any], directory: Path, seed: int) -> None:
    """Write config.yaml, model.pt, tokens.json, seg_dict and am.mvn of one architecture."""
    import torch
    import yaml
    from funasr.register import tables
    from funasr.utils.misc import deep_update

    directory.mkdir(parents=True)
    options: dict[str, Any] = {}
    deep_update(options, config["model_conf"])
    deep_update(options, {**config, "vocab_size": len(TOKENS), "input_size": 560})
    torch.manual_seed(seed)
    model = tables.model_classes[config["model"]](**options).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_((0.15 if parameter.ndim == 1 else 0.02) * torch.randn_like(parameter))
            if name.endswith(("output_layer.weight", "cif_output.weight")):
                parameter.mul_(2.5)
            elif "bias_encoder" in name or "bias_output" in name:
                parameter.mul_(2.0)
        model.predictor.cif_output.bias.fill_(-0.8)
    torch.save(model.state_dict(), directory / "model.pt")
    (directory / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    (directory / "tokens.json").write_text(json.dumps(TOKENS), "utf-8")
    (directory / "seg_dict").write_text("".join(f"{sign} {sign}\n" for sign in CHARACTERS), "utf-8")
    mvn = MVN.format(shift=" ".join(["-10"] * 560), scale=" ".join(["0.2"] * 560))
    (directory / "am.mvn").write_text(mvn, "utf-8")


def answers(directory: Path, recordings: list[str], asked: list[dict[str, Any]]) -> list[list[str]]:
    """Return FunASR's text of each recording with each set of options."""
    from funasr import AutoModel

    model = AutoModel(model=str(directory), device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR")
    found = []
    for options in asked:
        rows = [model.generate(input=recording, **options) for recording in recordings]
        found.append([row[0]["text"] if row else "" for row in rows])
    return found


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    folder = Path(request["folder"])
    with contextlib.redirect_stdout(io.StringIO()):
        import funasr  # noqa: F401  registers the classes

        heard = {}
        for number, (name, config) in enumerate(request["configs"].items()):
            build(config, folder / name, number)
            heard[name] = answers(folder / name, request["recordings"], request["asked"])
    (folder / "answers.json").write_text(json.dumps(heard, ensure_ascii=False), "utf-8")
