"""Makes directories of punctuation and of speaker models with random weights, by FunASR's classes, for parity.

    python make_small.py REQUEST.json

REQUEST: {"folder", "models": {name: config.yaml}, "tokens": [word]}. In a process of its own. A decoder of marks is
centred on what it says of random words, so that every mark occurs; BatchNorms get the statistics of what reaches them,
disturbed, and all parameters are moved off where they begin.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

PRIOR = (-9.0, 2.0, 0.3, 0.0, -0.6, -0.6)  # of <unk>, _ and the four marks
SEED = 3


def build(config: dict[str, Any], directory: Path, tokens: list[str]) -> None:
    """Write config.yaml, model.pt and, for marks, tokens.json."""
    import torch
    import yaml
    from funasr.register import tables
    from funasr.utils.misc import deep_update

    directory.mkdir(parents=True)
    options: dict[str, Any] = {}
    deep_update(options, config["model_conf"])
    deep_update(options, {**config, "vocab_size": len(tokens)})
    torch.manual_seed(SEED)
    model = tables.model_classes[config["model"]](**options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_((0.15 if parameter.ndim == 1 else 0.03) * torch.randn_like(parameter))
        if "encoder" in config:
            centre(model, len(tokens))
            (directory / "tokens.json").write_text(json.dumps(tokens, ensure_ascii=False), "utf-8")
        else:
            settle(model)
    torch.save(model.state_dict(), directory / "model.pt")
    (directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), "utf-8")


def centre(model: Any, words: int) -> None:
    """Let marks of random words occur as PRIOR says."""
    import torch

    ids, lengths = torch.randint(3, words, (1, 400)), torch.tensor([400], dtype=torch.int32)
    more = (torch.tensor([9]),) if model.with_vad() else ()
    scores = model.punc_forward(ids, lengths, *more)[0][0]
    deviation = scores.std(0)
    model.decoder.weight.div_(deviation[:, None])
    model.decoder.bias.copy_((model.decoder.bias - scores.mean(0)) / deviation + torch.tensor(PRIOR))


def settle(model: Any) -> None:
    """Give every BatchNorm, front to back, the statistics of what reaches it, disturbed."""
    import torch

    def statistics(norm: Any, given: tuple[Any, ...]) -> None:
        axes = [axis for axis in range(given[0].dim()) if axis != 1]
        mean, variance = given[0].mean(axes), given[0].var(axes).clamp_min(1e-4)
        norm.running_mean.copy_(mean + 0.3 * torch.randn_like(mean) * variance.sqrt())
        norm.running_var.copy_(variance * (0.3 * torch.randn_like(mean)).exp())

    kinds = torch.nn.modules.batchnorm._BatchNorm
    hooks = [each.register_forward_pre_hook(statistics) for each in model.modules() if isinstance(each, kinds)]
    model(torch.randn(4, 90, 80) * 2.0)
    for hook in hooks:
        hook.remove()


def main(path: str) -> None:
    """Carry out one request."""
    request = json.loads(Path(path).read_text("utf-8"))
    with contextlib.redirect_stdout(io.StringIO()):
        import funasr  # noqa: F401  registers the classes
    for name, config in request["models"].items():
        build(config, Path(request["folder"]) / name, request["tokens"])


if __name__ == "__main__":
    main(sys.argv[1])
