"""CTTransformer with random weights against FunASR: texts and labels; batches; what is right instead; bad input.

Oracle: FunASR's AutoModel.generate, in a process of its own (tests/make_ct_transformer.py).
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import convert
import mlx_model
from mlx_model import engines
from mlx_model.errors import CheckpointError, DependencyError, UsageError
from mlx_model.loading import load_as
from mlx_model.models.ct_transformer import PunctuationOptions
from mlx_model.roles import Punctuator, StreamingPunctuator
from tests import forked
from tests.conftest import ROOT

CHINESE = "今天气很好我们去公园吧你吗不知道是的了在有人龘"
ENGLISH = ("hello", "USA", "iPhone", "it's", "10.5%", "A1", "ok")
BASE: dict[str, Any] = {
    "model": "CTTransformer",
    "model_conf": {
        "ignore_id": 0, "embed_unit": 32, "att_unit": 32, "dropout_rate": 0.1, "sentence_end_id": 3,
        "punc_list": ["<unk>", "_", "，", "。", "？", "、"], "punc_weight": [1.0] * 6,
    },
    "encoder": "SANMEncoder",
    "encoder_conf": {
        "input_size": 32, "output_size": 32, "attention_heads": 4, "linear_units": 48, "num_blocks": 2,
        "dropout_rate": 0.1, "input_layer": "pe", "normalize_before": True, "kernel_size": 11, "sanm_shfit": 0,
        "selfattention_layer_type": "sanm", "padding_idx": 0,
    },
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>"},
}  # fmt: skip
ASCII = ["<unk>", "_", ",", "。", "?", "、"]
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ascii": {"model_conf": {"punc_list": ASCII, "embed_unit": 20},
              "encoder_conf": {"input_size": 20, "kernel_size": 5, "sanm_shfit": 2}},
    "words": {"words": True},
}  # fmt: skip


def made_text(rng: random.Random, count: int) -> str:
    """Return a text of so many words, one in nine English."""
    return "".join(f" {rng.choice(ENGLISH)} " if rng.random() < 0.11 else rng.choice(CHINESE) for _ in range(count))


RANDOM = random.Random(1)
TEXTS = [
    *(made_text(RANDOM, count) for count in (1, 2, 3, 19, 20, 21, 41, 67, 130, 330, 501)), "hello", "好。", "", " ",
    "你好，", "，。", "café au lait", "今天 天气 很好", "A1 我们 B2 3 hello 今天天气很好", "好a", "你好!",
    "😀好👨‍👩", "a" * 60,
]  # fmt: skip


def configuration(name: str, base: dict[str, Any] = BASE, configs: dict[str, Any] = CONFIGS) -> dict[str, Any]:
    """Return a configuration: the base, and what the name changes of it."""
    merged = json.loads(json.dumps(base))
    for key, value in configs[name].items():
        merged[key] = {**merged[key], **value} if isinstance(value, dict) else value
    return merged


def asked(folder: Path, configs: dict[str, Any], **request: Any) -> dict[str, Any]:
    """Return FunASR's answers; the models lie in the folder, and our conversions of them beside."""
    (folder / "request.json").write_text(json.dumps({"folder": str(folder), "configs": configs, **request}), "utf-8")
    maker = str(ROOT / "tests/make_ct_transformer.py")
    command = [forked.python("funasr"), maker, str(folder / "request.json")]
    subprocess.run(command, check=True, capture_output=True)
    for name in configs:
        convert.convert(folder / name, folder / f"{name}-mlx")
    return json.loads((folder / "answers.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ct_transformer")


@pytest.fixture(scope="module")
def answers(work: Path) -> dict[str, Any]:
    return asked(work, {name: configuration(name) for name in CONFIGS}, texts=TEXTS)


@pytest.fixture(scope="module")
def model(work: Path, answers: dict[str, Any]) -> Any:
    return mlx_model.load(work / "plain-mlx")


def different(found: list[Any], theirs: list[dict[str, Any]]) -> list[Any]:
    """Return what is not FunASR's of results, where FunASR has any."""
    pairs = zip(found, theirs, strict=True)
    return [
        (ours, answer) for ours, answer in pairs
        if "error" not in answer and [ours.text, ours.punctuation] != [answer["text"], answer["punctuation"]]
    ]  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_texts_and_labels_are_funasrs(work: Path, answers: dict[str, Any], name: str):
    model = mlx_model.load(work / f"{name}-mlx")
    theirs = answers[name]["texts"]
    assert sum("error" in answer for answer in theirs) == 0
    assert len({label for answer in theirs for label in answer["punctuation"]}) >= 3
    assert different(model.punctuate(TEXTS, as_funasr=True), theirs) == []
    with engines.plain():
        assert different(model.punctuate(TEXTS[:8], as_funasr=True), theirs[:8]) == []


def test_a_texts_result_is_the_same_alone_and_among_others(model: Any):
    for as_funasr in (False, True):
        together = model.punctuate(TEXTS, as_funasr=as_funasr)
        assert together == [model.punctuate([text], as_funasr=as_funasr)[0] for text in TEXTS]
        assert together[::-1] == model.punctuate(TEXTS[::-1], as_funasr=as_funasr)


def test_words_marks_and_labels_make_the_text(model: Any):
    """By hand: words and what stands behind them are the text, but for spaces and capitals; a label is its mark's."""
    spelt = [*model.config.marks.punc_list]
    narrow = {"，": ",", "。": ".", "？": "?", "、": ",", "_": ""}
    for found in model.punctuate(TEXTS):
        together = "".join(word + mark for word, mark in zip(found.words, found.marks, strict=True))
        assert not found.words or found.text.replace(" ", "").lower().endswith(together.lower().replace(" ", ""))
        for word, mark, label in zip(found.words, found.marks, found.punctuation, strict=True):
            if found.text not in ("好。", "你好，", "你好!"):  # those that were there
                assert mark == (narrow if word[-1].isascii() else narrow | {m: m for m in "，。？、"}).get(
                    spelt[label], spelt[label]
                )
        assert not found.words or 0 not in found.punctuation


def test_marks_that_are_there_stay_and_none_is_added(model: Any):
    for text in ("你好，我们去公园吧。", "“好！”我们走", "。", "hello, world?"):
        found = model.punctuate([text])[0]
        again = model.punctuate([found.text])[0]
        assert again.text == found.text
        assert not any(pair in found.text for pair in ("，，", "。。", "，。", "！。", ".?", "?."))
    assert model.words_of("你好，iPhone 15。") == ["你", "好", "iPhone", "15"]
    assert model.words_of("你好，iPhone 15。", as_funasr=True) == ["你", "好", "，", "iPhone", "15", "。"]


def test_capitals_spaces_and_the_end(model: Any):
    first = model.punctuate(["USA hello"])[0].text
    assert (first[:3], first[-1] in ".?") == ("USA", True)
    assert model.punctuate(["USA hello"], as_funasr=True)[0].text.startswith(" Usa")
    assert model.punctuate(["hello"])[0].text[:5] == "Hello"


def test_a_line_without_an_end_is_read_in_windows_that_have_one(model: Any, monkeypatch: pytest.MonkeyPatch):
    """A network that never says anything: 3,000 words come back, in windows of at most 400 words."""
    sizes: list[int] = []
    plain = model._labelled

    def silent(windows: Any) -> Any:
        found = plain(windows)
        sizes.extend(len(window) for window in windows)
        for logits in found:
            logits[:, 1] += 1000.0
        return found

    object.__setattr__(model, "_labelled", silent)
    monkeypatch.setattr("mlx_model.models.ct_transformer.MOST_WORDS", 500)
    try:
        found = model.punctuate(["好" * 3000])[0]
        with pytest.raises(UsageError, match=r"50\d|51\d|520 words without a sentence end"):
            model.punctuate(["好" * 3000], as_funasr=True)
    finally:
        object.__delattr__(model, "_labelled")
    assert found.text == "好" * 3000 + "。"
    assert max(sizes) <= 520
    assert len(found.punctuation) == 3000


@pytest.mark.parametrize("text", ["\ud800", "好\udfff"])
def test_what_is_no_text_is_refused(model: Any, text: Any):
    with pytest.raises(UsageError, match="text"):
        model.punctuate([text])


def test_one_text_instead_of_a_list_and_odd_sizes_are_refused(model: Any):
    with pytest.raises(UsageError, match="a list of texts"):
        model.punctuate("你好")
    for size in (1, 0, 20_001):
        with pytest.raises(UsageError, match="split_size"):
            PunctuationOptions(split_size=size)


def test_a_dictionary_without_jieba_names_the_extra(work: Path, answers: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "jieba", None)
    model = mlx_model.load(work / "words-mlx")
    with pytest.raises(DependencyError, match=r"needs jieba: pip install 'mlx-funasr\[punctuation\]'"):
        model.punctuate(["今天"])


def test_roles(work: Path, answers: Any):
    load_as(work / "plain-mlx", Punctuator)
    with pytest.raises(UsageError, match=r"is a ct_transformer, expected a model .* as it comes; try mlx-funasr punct"):
        load_as(work / "plain-mlx", StreamingPunctuator)


def test_tensors_by_hand_and_a_relatives_refused(work: Path, answers: Any, tmp_path: Path):
    report = convert.inspect(work / "plain")
    rows = {row.source: row for row in report.tensors}
    assert len(rows) == 2 * 13 + 2 + 1 + 2
    assert (rows["embed.weight"].target, rows["embed.weight"].op) == ("embed.weight", "copy")
    assert rows["encoder.encoders0.0.self_attn.fsmn_block.weight"].op == "conv1d"
    for name in ("config.yaml", "configuration.json", "tokens.json"):
        (tmp_path / name).write_bytes((work / "plain" / name).read_bytes())
    from safetensors.numpy import load_file, save_file

    tensors = {name: value.copy() for name, value in load_file(work / "plain-mlx" / "model.safetensors").items()}
    save_file({**tensors, "predictor.cif_output.weight": tensors["decoder.bias"]}, tmp_path / "model.safetensors")
    (tmp_path / "configuration.json").unlink()
    with pytest.raises(CheckpointError, match="it is a Paraformer"):
        convert.inspect(tmp_path)


@pytest.mark.shared
def test_the_trained_checkpoints_recorded_answers(shared: Path, tmp_path: Path):
    source = shared / "checkpoints" / "ct_punc_real_small"
    convert.convert(source, tmp_path / "model")
    rows = [json.loads(line) for line in (source / "funasr_punctuation.jsonl").read_text("utf-8").splitlines()]
    found = mlx_model.load(tmp_path / "model").punctuate([row["input"] for row in rows], as_funasr=True)
    assert [(each.text, each.punctuation) for each in found] == [
        (row["funasr_text"], row["punc_array"]) for row in rows
    ]
