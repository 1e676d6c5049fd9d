"""Makes MonotonicAligner directories, and asks FunASR when the words of texts are said. In a process of its own.

    python make_monotonic_aligner.py REQUEST.json

REQUEST: {"folder", "configs": {name: config.yaml}, "trained": a BiCifParaformer's directory or null, "made": [names of
folders that are there], "cases": [[recording, text]], "dump": whether to keep alphas}. Writes folder/NAME of each
configuration, with random weights, and folder/trained of the trained one's encoder and predictor; and
folder/answers.json: {name: [{"text", "timestamp", "tokens"} or {"error"} per case]}. With "dump" also folder/NAME.npz:
each case's alphas of the second head, not scaled.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

TOKENS = [
    "<blank>", "<s>", "</s>", *(chr(code) for code in range(97, 123)), *"0123456789'", "he@@", "llo",
    *"一二三四五六七八九十百零你好世界今天气很设定度", "<unk>",
]  # fmt: skip
SEG_DICT = {"hello": "he@@ llo", **{token: token for token in TOKENS[3:-1] if len(token) == 1}}


def build(config: dict[str, Any], directory: Path, seed: int) -> None:
    """Write config.yaml, model.pt and tokens.json of one architecture; with `seg_dict` in it, a dictionary as well."""
    import torch
    import yaml
    from funasr.register import tables
    from funasr.utils.misc import deep_update

    directory.mkdir(parents=True)
    spelt = config.pop("seg_dict", False)
    width = config["frontend_conf"]["n_mels"] * config["frontend_conf"]["lfr_m"]
    options: dict[str, Any] = {}
    deep_update(options, config["model_conf"])
    deep_update(options, {**config, "vocab_size": len(TOKENS), "input_size": width})
    torch.manual_seed(seed)
    model = tables.model_classes[config["model"]](**options).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_((0.15 if parameter.ndim == 1 else 0.02) * torch.randn_like(parameter))
            if name.endswith("cif_output2.weight"):
                parameter.mul_(5.0)
            elif "predictor.blstm" in name:
                parameter.mul_(2.0)
        model.predictor.cif_output2.bias.fill_(0.1)
    torch.save(model.state_dict(), directory / "model.pt")
    (directory / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    (directory / "tokens.json").write_text(json.dumps(TOKENS, ensure_ascii=False), "utf-8")
    metas: dict[str, Any] = {"init_param": "model.pt", "config": "config.yaml"}
    metas["tokenizer_conf"] = {"token_list": "tokens.json"}
    if spelt:
        lines = "".join(f"{word}\t{pieces}\n" for word, pieces in SEG_DICT.items())
        (directory / "seg_dict").write_text(lines, "utf-8")
        metas["tokenizer_conf"]["seg_dict_file"] = "seg_dict"
    (directory / "configuration.json").write_text(json.dumps({"file_path_metas": metas}), "utf-8")


def from_trained(source: Path, directory: Path) -> None:
    """Write the MonotonicAligner that a trained BiCifParaformer's encoder and predictor are."""
    import torch
    import yaml

    directory.mkdir(parents=True)
    config = yaml.safe_load((source / "config.yaml").read_text("utf-8"))
    kept = ("encoder", "encoder_conf", "predictor", "predictor_conf", "frontend", "frontend_conf", "tokenizer",
            "tokenizer_conf")  # fmt: skip
    config = {"model": "MonotonicAligner", "model_conf": {"length_normalized_loss": False, "predictor_bias": 1}} | {
        key: config[key] for key in kept
    }
    state = torch.load(source / "model.pt", map_location="cpu", weights_only=True)
    state = {name: value for name, value in state.items() if name.startswith(("encoder.", "predictor."))}
    torch.save(state, directory / "model.pt")
    (directory / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    for name in ("tokens.json", "am.mvn", "configuration.json"):
        shutil.copy(source / name, directory / name)


def answers(directory: Path, cases: list[list[str]], dump: bool) -> list[dict[str, Any]]:
    """Return what FunASR makes of each case; an exception is {"error": its class}."""
    import numpy as np
    from funasr import AutoModel

    model = AutoModel(
        model=str(directory), device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR",
        frontend_conf={"dither": 0.0},
    )  # fmt: skip
    tokenizer = model.kwargs["tokenizer"]
    rows: list[dict[str, Any]] = []
    alphas: dict[str, Any] = {}
    predictor = model.model.predictor
    plain = predictor.get_upsample_timestamp

    def watched(hidden: Any, mask: Any = None, token_num: Any = None) -> Any:
        alphas[str(len(rows))] = plain(hidden, mask, None)[2][0].numpy().copy()
        return plain(hidden, mask, token_num)

    if dump:
        predictor.get_upsample_timestamp = watched
    for recording, text in cases:
        try:
            found = model.generate(input=(recording, text), data_type=("sound", "text"))[0]
            tokens = tokenizer.ids2tokens(tokenizer.encode(text))
            rows.append({"text": found["text"], "timestamp": found["timestamp"], "tokens": tokens})
        except Exception as error:
            rows.append({"error": type(error).__name__})
    if dump:
        np.savez(directory.with_name(f"{directory.name}.npz"), **alphas)
    return rows


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    folder = Path(request["folder"])
    with contextlib.redirect_stdout(io.StringIO()):
        import funasr  # noqa: F401  registers the classes

        names = [*request["configs"], *request.get("made", ())]
        for number, (name, config) in enumerate(request["configs"].items()):
            build(config, folder / name, number)
        if request.get("trained"):
            from_trained(Path(request["trained"]), folder / "trained")
            names.append("trained")
        found = {name: answers(folder / name, request["cases"], request.get("dump", False)) for name in names}
    (folder / "answers.json").write_text(json.dumps(found, ensure_ascii=False), "utf-8")
