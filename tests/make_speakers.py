"""Makes speaker models with random weights, and asks FunASR what it makes of recordings, embeddings and turns.

    python make_speakers.py REQUEST.json

In a process of its own. REQUEST: {"folder", "configs": {name: config.yaml}, "waveforms": a .npz of recordings, or null,
"clusters": a .npz of embeddings, or null, "sentences": [[start, end], ...], "plain": names whose weights are written as
3D-Speaker's file}. Writes folder/NAME; folder/answers.npz with "NAME/i/0", "/1" and "/2", what FunASR makes of
recording i: features, embedding, embedding in float64; folder/turns.json with labels, turns and speakers of sentences
for every array of `clusters`, taken for windows 0.75 s apart.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def settled(model: Any, forward: Any, generator: Any) -> None:
    """Give every BatchNorm the statistics of its own input, disturbed, and a gain and bias, front to back."""
    import torch

    def settle(module: Any, inputs: Any) -> None:
        (x,) = inputs
        axes = [axis for axis in range(x.dim()) if axis != 1]
        mean, var = x.mean(axes), x.var(axes)
        noise = lambda: torch.randn(mean.shape, generator=generator)  # noqa: E731
        with torch.no_grad():
            var = var.clamp_min(1e-3 * float(var.mean()) + 1e-8)
            module.running_mean.copy_(mean + 0.3 * noise() * var.sqrt())
            module.running_var.copy_(var * (0.35 * noise()).exp())
            if module.affine:  # some gains so large that the ReLU that ends at 20 ends something
                large = 9.0 if torch.rand(1, generator=generator) < 0.2 else 1.0
                module.weight.copy_((1 + 0.25 * noise()) * large)
                module.bias.copy_(0.2 * noise())

    norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    hooks = [norm.register_forward_pre_hook(settle) for norm in norms]
    with torch.no_grad():
        forward()
    for hook in hooks:
        hook.remove()


def write(config: dict[str, Any], directory: Path, number: int, speech: list[Any], plain: bool) -> Any:
    """Write a random model's directory, and return the model."""
    import funasr  # noqa: F401  registers the classes
    import torch
    import yaml
    from funasr.models.campplus.utils import extract_feature
    from funasr.register import tables

    torch.manual_seed(number)
    generator = torch.Generator().manual_seed(number)
    model = tables.model_classes[config["model"]](**config["model_conf"]).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1 and "batchnorm" not in name and "bn" not in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.15)
    feats = torch.cat([extract_feature([torch.from_numpy(np.resize(part, 24000))])[0] for part in speech])
    settled(model, lambda: model(feats), generator)
    directory.mkdir(parents=True)
    state = model.model.state_dict() if plain else model.state_dict()
    torch.save(state, directory / ("pretrained_eres2netv2.ckpt" if plain else "model.pt"))
    (directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return model


def embeddings(model: Any, speech: list[Any]) -> list[Any]:
    """Return features, embedding and the embedding in float64 of each recording, as the class's `inference` does it."""
    import torch
    from funasr.models.campplus.utils import extract_feature

    feats = [extract_feature([torch.from_numpy(part)])[0] for part in speech]
    with torch.no_grad():
        found = [model(part.clone()).numpy()[0] for part in feats]
        model.double()
        exact = [model(part.double()).numpy()[0] for part in feats]
    return [(part.numpy()[0], *rest) for part, *rest in zip(feats, found, exact, strict=True)]


def turns(rows: Any, speakers: int | None, sentences: list[list[int]]) -> dict[str, Any]:
    """Return what FunASR makes of windows with these embeddings."""
    import torch
    from funasr.models.campplus.cluster_backend import ClusterBackend
    from funasr.models.campplus.utils import distribute_spk, postprocess

    np.random.seed(0)
    labels = ClusterBackend()(torch.from_numpy(rows), oracle_num=speakers)
    windows = [[0.75 * number, 0.75 * number + 1.5] for number in range(len(rows))]
    found = postprocess([[*window] for window in windows], None, np.array(labels), rows)
    said = distribute_spk([{"start": start, "end": end} for start, end in sentences], found)
    return {"labels": [int(label) for label in labels], "turns": [[a, b, int(c)] for a, b, c in found],
            "speakers": [item["spk"] for item in said]}  # fmt: skip


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    folder = Path(request["folder"])
    with contextlib.redirect_stdout(io.StringIO()):
        if request["waveforms"]:
            with np.load(request["waveforms"]) as stored:
                speech = [stored[name] for name in stored.files]
            answers = {}
            for number, (name, config) in enumerate(request["configs"].items()):
                model = write(config, folder / name, number, speech, name in request["plain"])
                for row, found in enumerate(embeddings(model, speech)):
                    answers |= {f"{name}/{row}/{part}": value for part, value in enumerate(found)}
            np.savez(folder / "answers.npz", **answers)
        if request["clusters"]:
            with np.load(request["clusters"]) as stored:
                found = {
                    name: turns(stored[name], request["speakers"].get(name), request["sentences"])
                    for name in stored.files
                }
            (folder / "turns.json").write_text(json.dumps(found), "utf-8")
