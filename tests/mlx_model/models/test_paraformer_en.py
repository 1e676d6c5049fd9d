"""Paraformer-en: an English vocabulary in another order than bpe.model's, and vocabularies of other sizes.

Oracles: FunASR's own token ids, in a process of its own; tokens.json by hand; of what goes wrong in FunASR, FunASR.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convert
import mlx_model
from mlx_model.config.parts import TokenizerConfig
from mlx_model.errors import AssetError, ConfigError
from mlx_model.text.tokenizer import Tokenizer, join_words
from parity.layers.run import run
from parity.sides import reference
from tests import forked
from tests.conftest import ROOT, configuration
from tests.convert.tiny_model import CONFIG, random_tensors, torch_shapes, write_model

PIECES = TokenizerConfig(kind="SentencepiecesTokenizer")
SPECIAL: dict[str, Any] = {"blank_id": 0, "sos": 1, "eos": 2}
WORDS = ["i", "i'm", "you", "the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "speech", "recognition"]


@pytest.fixture(scope="module")
def bpe() -> bytes:
    """A bpe.model of 60 pieces."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed: pip install .[bpe]")
    chance, model = random.Random(3), io.BytesIO()
    sentences = (" ".join(chance.choices(WORDS, k=8)) for _ in range(300))
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=sentences, model_writer=model, vocab_size=60, model_type="bpe", minloglevel=2,
        hard_vocab_limit=False,
    )  # fmt: skip
    return model.getvalue()


@pytest.fixture(scope="module")
def source(bpe: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model by FunASR whose tokens.json has the pieces of bpe.model in another order, and 12 more."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=bpe)
    pieces = [processor.IdToPiece(number) for number in range(processor.GetPieceSize())]
    mixed = [piece for piece in pieces if not piece.startswith("<")] + [f"▁word{number}" for number in range(12)]
    random.Random(7).shuffle(mixed)
    config = {**configuration("plain"), "tokenizer": "SentencepiecesTokenizer", "tokenizer_conf": {}}
    config["tokens"] = ["<blank>", "<s>", "</s>", *mixed, "<unk>"]
    folder = tmp_path_factory.mktemp("english")
    request = {"folder": str(folder), "configs": {"en": config}}
    (folder / "request.json").write_text(json.dumps(request), "utf-8")
    command = [forked.python("funasr"), str(ROOT / "tests/make_checkpoints.py"), str(folder / "request.json")]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    (folder / "en/bpe.model").write_bytes(bpe)
    return folder / "en"


@pytest.mark.reference
@pytest.mark.slow
def test_funasrs_ids_are_read_by_tokens_json(source: Path, recordings: list[Path], tmp_path: Path):
    convert.convert(source, tmp_path / "en")
    report = run(source, tmp_path / "en", recordings[:2], invariants=False)
    assert (report.verdict, report.first_failure) == ("pass", None), report.sentence
    assert report.outcomes["token"].compared > 10
    tokens = json.loads((source / "tokens.json").read_text("utf-8"))
    model = mlx_model.load(tmp_path / "en")
    found = model.transcribe(recordings[:2])
    for row, utterance in zip(found, report.utterances, strict=True):
        words = "".join(tokens[number] for number in row.token_ids).replace("<unk>", "").replace("▁", " ").split()
        assert utterance.reference_text.split() == utterance.candidate_text.split() == words
        assert row.text == " ".join("I" + word[1:] if word in ("i", "i'm") else word for word in words)
    [theirs] = reference.transcribe(source, [recordings[:2]])
    for row, other in zip(found, theirs, strict=True):  # the published failures, in FunASR itself
        assert (other["error"] or "").endswith("piece id is out of range.") or other["text"] != row.text


def test_words_by_hand():
    assert join_words(["▁i", "▁thin", "k", "▁i'm", "▁he", "re"]) == "I think I'm here"
    assert join_words(["▁i", "'ll", "▁i'", "ve", "▁in"]) == "I'll I've in"
    assert join_words(["lo", "w", "▁", "▁a", "<unk>", "▁</s>"]) == "low a </s>"
    assert join_words([]) == join_words([], as_funasr=True) == ""
    assert join_words(["▁i", "▁", "▁a"], as_funasr=True) == "i  a"
    tokenizer = Tokenizer(["<unk>", "<s>", "</s>", "▁i", "▁am"], PIECES, **SPECIAL, words=True)
    assert (tokenizer.decode([3, 4]), tokenizer.decode([3, 4], as_funasr=True)) == ("I am", "i am")


FUNASR = """
import contextlib, io, json, sys
with contextlib.redirect_stdout(io.StringIO()):
    from funasr.utils.postprocess_utils import sentence_postprocess_sentencepiece as join
json.dump([join(pieces)[0] for pieces in json.load(sys.stdin)], sys.stdout)
"""


@pytest.mark.reference
def test_as_funasr_is_its_function_for_such_pieces():
    chance = random.Random(5)
    pool = ["▁i", "▁", "▁i'm", "▁the", "s", "▁a", "'ve", "<unk>", "<s>", "▁x▁y", "b"]
    sentences = [chance.choices(pool, k=chance.randint(0, 6)) for _ in range(2000)]
    done = subprocess.run(
        [forked.python("funasr"), "-c", FUNASR], input=json.dumps(sentences), capture_output=True, text=True, check=True
    )
    assert [join_words(pieces, as_funasr=True) for pieces in sentences] == json.loads(done.stdout)


@pytest.mark.parametrize("size", [544, 4234, 5212])
def test_vocabularies_of_the_other_released_models(tmp_path: Path, size: int):
    """paraformer-tiny, aishell1, aishell2: conversion, the output layer, text."""
    tokens = ["<blank>", "<s>", "</s>", *[chr(0x4E00 + number) for number in range(size - 4)], "<unk>"]
    tensors = random_tensors(torch_shapes(vocab=size))
    source = write_model(tmp_path / "source", tensors=tensors, tokens=tokens)
    report = convert.convert(source, tmp_path / "model")
    assert report.converted_parameters > size * 8
    model = mlx_model.load(tmp_path / "model")
    np.testing.assert_array_equal(
        np.array(model.decoder.output_layer.weight), tensors["decoder.output_layer.weight"]
    )
    assert model.tokenizer.decode([3, size - 2, 1]) == chr(0x4E00) + chr(0x4E00 + size - 5)


@pytest.mark.parametrize("change", ["tokens.json is one short", "tokens.json is one longer", "bpe.model alone"])
def test_a_vocabulary_of_another_size_is_one_clear_error(tmp_path: Path, change: str, bpe: bytes):
    tokens = ["<blank>", "<s>", "</s>", *[chr(0x4E00 + number) for number in range(60)], "<unk>"]
    given = {"tokens.json is one short": [*tokens[:-2], "<unk>"], "tokens.json is one longer": [*tokens, "x"]}
    config = {**CONFIG, "tokenizer": "SentencepiecesTokenizer", "tokenizer_conf": {}}
    tensors = random_tensors(torch_shapes(vocab=len(tokens)))
    source = write_model(tmp_path / "source", config=config, tensors=tensors, tokens=given.get(change, tokens))
    (source / "bpe.model").write_bytes(bpe)
    name, count = "tokens.json", len(given.get(change, tokens))
    if change == "bpe.model alone":
        (source / "tokens.json").unlink()
        name, count = "bpe.model", 60
    with pytest.raises(AssetError, match=rf"{name} has {count} tokens, but the output layer .* has 64 rows"):
        convert.convert(source, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("part", "name"), [("encoder", "ConformerEncoder"), ("decoder", "ParaformerSANDecoder"), ("encoder", "SANEncoder")]
)
def test_other_encoders_and_decoders_are_refused_by_name(tmp_path: Path, part: str, name: str):
    """As ParaformerBert's and aishell's older checkpoints may have."""
    source = write_model(tmp_path / "source", config={**CONFIG, part: name})
    with pytest.raises(ConfigError, match=f"{part} '{name}' is not supported"):
        convert.inspect(source)
    shutil.rmtree(source)
