"""Makes SenseVoiceSmall directories with random weights, and asks FunASR what it hears. In a process of its own.

    python make_sense_voice.py REQUEST.json

REQUEST: {"folder", "configs": {name: config.yaml}, "recordings": [path], "options": [{of generate}]}. Writes
folder/NAME, and folder/answers.json: {name: [[answer or {"error"} per recording] per option]}. The rows of four tags
are turned towards the four query frames, and the blank towards half of the others, so that there is something to hear.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

TAGS = [
    "<|zh|>", "<|NEUTRAL|>", "<|Speech|>", "<|woitn|>", "<|withitn|>", "<|EMO_UNKNOWN|>", "<|HAPPY|>", "<|en|>",
    "<|nospeech|>", "<|BGM|>", "<|Event_UNK|>",
]  # fmt: skip
SENTENCES = (
    "今天天气很好我们一起去公园", "他在北京大学学习数学和物理", "hello world this is a test", "it's a good day",
    "三百二十五年前的故事", "speech recognition is fun today",
)  # fmt: skip


def vocabulary(directory: Path) -> Any:
    """Train a SentencePiece model, tags among its pieces, and return its processor."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 8), model_prefix=str(directory / "bpe"), vocab_size=120,
        hard_vocab_limit=False, model_type="unigram", user_defined_symbols=TAGS, unk_id=0, bos_id=1, eos_id=2,
        minloglevel=2,
        add_dummy_prefix=False,  # as the released model's: a character by itself is one piece
    )  # fmt: skip
    (directory / "bpe.vocab").unlink()
    processor = sentencepiece.SentencePieceProcessor()
    processor.load(str(directory / "bpe.model"))
    return processor


def build(config: dict[str, Any], directory: Path, seed: int) -> None:
    """Write config.yaml, model.pt and bpe.model of one architecture."""
    import torch
    import yaml
    from funasr.register import tables
    from funasr.utils.misc import deep_update

    directory.mkdir(parents=True)
    pieces = vocabulary(directory)
    width = config["frontend_conf"]["n_mels"] * config["frontend_conf"]["lfr_m"]
    options: dict[str, Any] = {}
    deep_update(options, config["model_conf"])
    deep_update(options, {**config, "vocab_size": pieces.GetPieceSize(), "input_size": width})
    torch.manual_seed(seed)
    model = tables.model_classes[config["model"]](**options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_((0.1 if parameter.ndim == 1 else 0.02) * torch.randn_like(parameter))
        model.ctc.ctc_lo.weight.mul_(6.0)
        x = torch.cat([model.embed(torch.tensor([[0, 1, 2, 15]])), torch.randn(1, 120, width)], dim=1)
        heard = model.encoder(x, torch.tensor([x.shape[1]]))[0][0]
        for frame, tag in enumerate(TAGS[:4]):
            direction = heard[frame] - heard[4:].mean(0)
            model.ctc.ctc_lo.weight[pieces.PieceToId(tag)] += 12 * direction / direction.norm()
        others = model.ctc.ctc_lo(heard[4:])
        tags = [*map(pieces.PieceToId, TAGS)]
        rare = torch.quantile(others[:, tags], 0.97, dim=0)
        others[:, [0, *tags]] = -torch.inf
        model.ctc.ctc_lo.weight[0].zero_()
        model.ctc.ctc_lo.bias[0] = others.max(-1).values.median()
        model.ctc.ctc_lo.bias[tags] += model.ctc.ctc_lo.bias[0] - rare
    torch.save(model.state_dict(), directory / "model.pt")
    (directory / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")


def answers(directory: Path, recordings: list[str], options: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return what FunASR makes of each recording with each set of options; an exception is {"error": its class}."""
    from funasr import AutoModel

    model = AutoModel(model=str(directory), device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR")
    found: list[list[dict[str, Any]]] = []
    for asked in options:
        rows: list[dict[str, Any]] = []
        for recording in recordings:
            try:
                rows += model.generate(input=recording, cache={}, **asked)
            except Exception as error:
                rows.append({"error": type(error).__name__})
        found.append(rows)
    return found


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    folder = Path(request["folder"])
    with contextlib.redirect_stdout(io.StringIO()):
        import funasr  # noqa: F401  registers the classes

        heard = {}
        for number, (name, config) in enumerate(request["configs"].items()):
            build(config, folder / name, number)
            heard[name] = answers(folder / name, request["recordings"], request["options"])
    (folder / "answers.json").write_text(json.dumps(heard, ensure_ascii=False), "utf-8")
