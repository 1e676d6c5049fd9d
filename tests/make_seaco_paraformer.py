"""Makes SeacoParaformer directories with random weights, and asks FunASR what it hears. In a process of its own.

    python make_seaco_paraformer.py REQUEST.json

REQUEST: {"folder", "configs": {name: config.yaml}, "recordings": [path], "hotwords": [null or text]}.
Writes folder/NAME, and folder/answers.json: {name: [[[text, times] per recording] per list of hotwords]}. Scores are
spread so that neighbouring tokens differ, and NO_BIAS is set so that the bias branch takes about half of the tokens.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

CHARACTERS = [chr(0x4E00 + number) for number in range(60)]
TOKENS = ["<blank>", "<s>", "</s>", *CHARACTERS, "he@@", "llo", "<unk>"]
SEG_DICT = {**{character: character for character in CHARACTERS}, "hello": "he@@ llo"}


def build(config: dict[str, Any], directory: Path, seed: int) -> None:
    """Write config.yaml, model.pt, tokens.json, seg_dict and am.mvn of one architecture."""
    import torch
    import yaml
    from funasr.register import tables
    from funasr.utils.misc import deep_update

    from tests.make_checkpoints import _vector

    directory.mkdir(parents=True)
    width = config["frontend_conf"]["n_mels"] * config["frontend_conf"]["lfr_m"]
    options: dict[str, Any] = {}
    deep_update(options, config["model_conf"])
    deep_update(options, {**config, "vocab_size": len(TOKENS), "input_size": width})
    torch.manual_seed(seed)
    model = tables.model_classes[config["model"]](**options).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_((0.15 if parameter.ndim == 1 else 0.02) * torch.randn_like(parameter))
            if name.endswith(("output_layer.weight", "cif_output.weight")):
                parameter.mul_(2.5)
            elif "bias_encoder" in name or "blstm" in name:
                parameter.mul_(2.0)
            elif name.startswith("seaco_decoder") and "src_attn" in name and parameter.ndim > 1:
                parameter.mul_(2.5)
        model.predictor.cif_output.bias.fill_(-1.0)
        _calibrate(model, width)
    torch.save(model.state_dict(), directory / "model.pt")
    rng = np.random.default_rng(seed)
    shift, scale = -10 + rng.standard_normal(width), 0.2 + 0.02 * rng.random(width)
    head = f"<Nnet>\n<Splice> {width} {width}\n[ 0 ]\n<AddShift> {width} {width}\n{_vector(shift)}\n"
    tail = f"<Rescale> {width} {width}\n{_vector(scale)}\n</Nnet>\n"
    (directory / "am.mvn").write_text(head + tail, "utf-8")
    (directory / "tokens.json").write_text(json.dumps(TOKENS, ensure_ascii=False), "utf-8")
    (directory / "seg_dict").write_text("".join(f"{word}\t{as_}\n" for word, as_ in SEG_DICT.items()), "utf-8")
    (directory / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), "utf-8")


def _calibrate(model: Any, width: int) -> None:
    import torch

    feats = 2.5 * torch.randn(1, 68, width).unfold(1, 8, 1).mean(-1)
    hidden, lengths = model.encode(feats, torch.tensor([feats.shape[1]]))
    embeds, count = model.calc_predictor(hidden, lengths)[:2]
    count = count.round().long()
    _, states, _ = model.decoder(hidden, lengths, embeds, count, return_hidden=True, return_both=True)
    ids = torch.tensor([[5, 6], [7, 8], [1, 0]])
    words = model._hotword_representation(ids, torch.tensor([2, 2, 1]))[None]
    attended = [model.seaco_decoder(words, torch.tensor([3]), x, count)[0] for x in (embeds, states)]
    logits = model.hotword_output_layer(attended[0] + attended[1])[0]
    others = logits.clone()
    others[:, model.NO_BIAS] = -torch.inf
    model.hotword_output_layer.bias[model.NO_BIAS] += (others.max(-1).values - logits[:, model.NO_BIAS]).median()


def answers(directory: Path, recordings: list[str], hotwords: list[str | None]) -> list[list[list[Any]]]:
    """Return text and times that FunASR gives each recording with each list."""
    from funasr import AutoModel

    model = AutoModel(model=str(directory), device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR")
    found: list[list[list[Any]]] = []
    for given in hotwords:
        rows: list[list[Any]] = []
        for recording in recordings:
            heard = model.generate(input=recording, **({} if given is None else {"hotword": given}))
            rows.append([heard[0]["text"], heard[0].get("timestamp")] if heard else ["", None])
        found.append(rows)
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    request = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    folder = Path(request["folder"])
    with contextlib.redirect_stdout(io.StringIO()):
        import funasr  # noqa: F401  registers the classes

        heard = {}
        for number, (name, config) in enumerate(request["configs"].items()):
            build(config, folder / name, number)
            heard[name] = answers(folder / name, request["recordings"], request["hotwords"])
    (folder / "answers.json").write_text(json.dumps(heard, ensure_ascii=False), "utf-8")
