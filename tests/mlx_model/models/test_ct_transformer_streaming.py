"""CTTransformerStreaming with random weights against FunASR: pieces of texts, labels; caches; what is right instead.

Oracle: FunASR's AutoModel.generate with a cache, in a process of its own (tests/make_ct_transformer.py).
"""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import convert
import mlx_model
from mlx_model import engines
from mlx_model.errors import ConfigError
from mlx_model.models.ct_transformer_streaming import PunctuationCache
from tests.mlx_model.models.test_ct_transformer import ASCII, BASE, asked, configuration, different, made_text

STREAMING: dict[str, Any] = {
    **BASE, "model": "CTTransformerStreaming", "encoder": "SANMVadEncoder",
    "encoder_conf": {**BASE["encoder_conf"], "num_blocks": 3, "sanm_shfit": 5},
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ascii": {"model_conf": {"punc_list": ASCII}, "encoder_conf": {"num_blocks": 1, "kernel_size": 5, "sanm_shfit": 2}},
}
RANDOM = random.Random(2)
TEXTS = [made_text(RANDOM, count) for count in (2, 3, 20, 45, 230)]


def pieces_of(text: str) -> list[str]:
    """Return a text in pieces of 2 to 30 characters."""
    pieces: list[str] = []
    while text:
        count = RANDOM.randint(2, 30)
        pieces.append(text[:count])
        text = text[count:]
    return [piece for piece in pieces if piece.strip()]


STREAMS = [*(pieces_of(made_text(RANDOM, 160)) for _ in range(4)), ["你好", "好", "hello", "world", "我们"],
           ["你", "好"]]  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("streaming")


@pytest.fixture(scope="module")
def answers(work: Path) -> dict[str, Any]:
    configs = {name: configuration(name, STREAMING, CONFIGS) for name in CONFIGS}
    return asked(work, configs, texts=TEXTS, streams=STREAMS)


@pytest.fixture(scope="module")
def model(work: Path, answers: dict[str, Any]) -> Any:
    return mlx_model.load(work / "plain-mlx")


def said_as_funasr(model: Any, pieces: list[str], theirs: list[dict[str, Any]]) -> list[Any]:
    """Return our results; FunASR raises on one word with NumPy 2.4: its cache stays as it was, and so does ours."""
    cache, found = model.new_cache(), []
    for piece, answer in zip(pieces, theirs, strict=True):
        result, after = model.punctuate_next(piece, cache, as_funasr=True)
        cache = cache if "error" in answer else after
        found.append(result)
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_pieces_and_texts_are_funasrs(work: Path, answers: dict[str, Any], name: str):
    model = mlx_model.load(work / f"{name}-mlx")
    for pieces, theirs in zip(STREAMS, answers[name]["streams"], strict=True):
        failed = [answer for answer in theirs if "error" in answer]
        assert [answer["error"] for answer in failed] == ["TypeError"] * (2 if len(theirs) == 2 else 0), failed
        assert different(said_as_funasr(model, pieces, theirs), theirs) == []
    assert different(model.punctuate(TEXTS, as_funasr=True), answers[name]["texts"]) == []
    with engines.plain():
        assert different(model.punctuate(TEXTS[:4], as_funasr=True), answers[name]["texts"][:4]) == []


def test_a_cache_is_a_value(model: Any):
    _, cache = model.punctuate_next(STREAMS[0][0], model.new_cache())
    first = model.punctuate_next(STREAMS[0][1], cache)
    model.punctuate_next("我们去", cache)
    assert model.punctuate_next(STREAMS[0][1], cache) == first


def test_words_come_in_order_and_each_mark_once(model: Any):
    """By hand: pieces together are the words, a mark that leads a piece is the one its last word was left without."""
    for pieces in STREAMS:
        cache, words, text = model.new_cache(), [], ""
        for number, piece in enumerate(pieces):
            result, cache = model.punctuate_next(piece, cache, is_final=number == len(pieces) - 1)
            assert result.text.startswith(result.lead)
            words += result.words
            text += result.text
        assert words == [word for piece in pieces for word in model.words_of(piece)]
        assert text[-1] in "。？.?"
        assert text.lower().split()[0][0] == words[0][0].lower()
        assert cache == PunctuationCache()
        assert not any(a in "，。？、" and b in "，。？、" for a, b in pairwise(text))


def test_a_text_without_ends_keeps_a_cache_that_has_one(model: Any):
    plain = model._labelled

    def silent(*arguments: Any) -> Any:
        found = plain(*arguments)
        for logits in found:
            logits[:, 1] += 1000.0
        return found

    object.__setattr__(model, "_labelled", silent)
    try:
        cache = model.new_cache()
        for _ in range(30):
            _, cache = model.punctuate_next("好" * 37, cache)
            assert len(cache.words) <= 201
    finally:
        object.__delattr__(model, "_labelled")


def test_nothing_changes_nothing(model: Any):
    for as_funasr in (False, True):
        _, cache = model.punctuate_next("我们去公园", model.new_cache(), as_funasr=as_funasr)
        result, after = model.punctuate_next("", cache, as_funasr=as_funasr)
        assert (result.words, after.words) == ([], cache.words)


def test_a_whole_texts_encoder_under_this_name_is_refused(work: Path, answers: Any, tmp_path: Path):
    for file in (work / "plain").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    text = (tmp_path / "config.yaml").read_text("utf-8").replace("SANMVadEncoder", "SANMEncoder")
    (tmp_path / "config.yaml").write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"encoder 'SANMEncoder' is not supported \(only SANMVadEncoder\)"):
        convert.inspect(tmp_path)


@pytest.mark.shared
def test_the_trained_checkpoints_recorded_answers(shared: Path, tmp_path: Path):
    source = shared / "checkpoints" / "ct_punc_real_realtime"
    convert.convert(source, tmp_path / "model")
    model = mlx_model.load(tmp_path / "model")
    for line in (source / "funasr_punctuation.jsonl").read_text("utf-8").splitlines():
        row, cache = json.loads(line), model.new_cache()
        for piece, theirs in zip(row["pieces"], row["funasr_pieces"], strict=True):
            result, cache = model.punctuate_next(piece, cache, as_funasr=True)
            assert result.text == theirs
