"""Makes CTTransformer directories, and asks FunASR for the punctuation of texts. In a process of its own.

    python make_ct_transformer.py REQUEST.json

REQUEST: {"folder", "configs": {name: config.yaml}, "made": {name: a directory that is there}, "texts": [...],
"streams": [[pieces], ...]}. Writes folder/NAME of each configuration, with random weights of which every label comes,
and folder/answers.json: {name: {"texts": [ANSWER], "streams": [[ANSWER]]}}, ANSWER being {"text", "punctuation"} or
{"error": the exception's class}; a piece that failed is left out of its stream. Streams are asked of streaming models
alone. A configuration with "words" has a dictionary of them, as the released model of words has.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

WORDS = ["今天", "天气", "很好", "我们", "公园"]
TOKENS = [
    "<blank>", "<s>", "</s>", "hello", "world", "it's", "ok", *"abc", *"今天气很好我们去公园吧你吗不知道是的了在有人",
    *WORDS, "<unk>",
]  # fmt: skip


def build(config: dict[str, Any], directory: Path, seed: int) -> None:
    """Write config.yaml, model.pt and tokens.json of one architecture; with `words` in it, a dictionary as well."""
    import torch
    import yaml
    from funasr.register import tables
    from funasr.utils.misc import deep_update

    directory.mkdir(parents=True)
    words = config.pop("words", False)
    options: dict[str, Any] = {}
    deep_update(options, config["model_conf"])
    deep_update(options, {**config, "vocab_size": len(TOKENS)})
    torch.manual_seed(seed)
    model = tables.model_classes[config["model"]](**options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_((0.15 if parameter.ndim == 1 else 0.03) * torch.randn_like(parameter))
        ids, lengths = torch.randint(3, len(TOKENS), (40, 30)), torch.full((40,), 30, dtype=torch.int32)
        pauses = {"vad_indexes": torch.full((40,), 9)} if model.with_vad() else {}
        logits = model.punc_forward(ids, lengths, **pauses)[0].flatten(0, 1)
        spread = logits.std(0).clamp_min(1e-3)
        model.decoder.weight.div_(spread[:, None])
        prior = torch.tensor([-0.8, 2.0, 0.3, -0.2, 0.0, 0.0])  # label 0 comes, too: random models say anything
        model.decoder.bias.copy_((model.decoder.bias - logits.mean(0)) / spread + prior)
    torch.save(model.state_dict(), directory / "model.pt")
    (directory / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), "utf-8")
    (directory / "tokens.json").write_text(json.dumps(TOKENS, ensure_ascii=False), "utf-8")
    metas: dict[str, Any] = {"init_param": "model.pt", "config": "config.yaml"}
    metas["tokenizer_conf"] = {"token_list": "tokens.json"}
    if words:
        (directory / "jieba_usr_dict").write_text("".join(f"{word} 9000 n\n" for word in [*WORDS, "天气很"]), "utf-8")
        metas["jieba_usr_dict"] = "jieba_usr_dict"
    (directory / "configuration.json").write_text(json.dumps({"file_path_metas": metas}), "utf-8")


def opened(directory: Path) -> Any:
    """Return FunASR's model; jieba's dictionary, which all models of a process share, as it came."""
    import jieba
    from funasr import AutoModel

    jieba.setLogLevel(60)
    jieba.dt.FREQ, jieba.dt.total, jieba.dt.initialized = {}, 0, False
    return AutoModel(model=str(directory), device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR")


def answer(model: Any, text: str, **options: Any) -> dict[str, Any]:
    """Return what FunASR makes of one text; an exception is {"error": its class}."""
    try:
        found = model.generate(input=text, **options)[0]
    except Exception as error:
        return {"error": type(error).__name__, "said": str(error)}
    labels = found["punc_array"]
    return {"text": found["text"], "punctuation": [] if labels is None else labels.reshape(-1).tolist()}


def answers(directory: Path, texts: list[str], streams: list[list[str]]) -> dict[str, Any]:
    """Return FunASR's answers to all texts, and to the pieces of all streams where it takes them."""
    model = opened(directory)
    found: dict[str, Any] = {"texts": [answer(model, text) for text in texts], "streams": []}
    for pieces in streams if model.model.with_vad() else ():
        cache: dict[str, Any] = {}
        found["streams"].append([answer(model, piece, cache=cache) for piece in pieces])
    return found


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    folder = Path(request["folder"])
    with contextlib.redirect_stdout(io.StringIO()):
        import funasr  # noqa: F401  registers the classes

        places = {name: Path(path) for name, path in request.get("made", {}).items()}
        for number, (name, config) in enumerate(request.get("configs", {}).items()):
            build(config, folder / name, number)
            places[name] = folder / name
        asked = (request["texts"], request.get("streams", []))
        found = {name: answers(place, *asked) for name, place in places.items()}
    (folder / "answers.json").write_text(json.dumps(found, ensure_ascii=False), "utf-8")
