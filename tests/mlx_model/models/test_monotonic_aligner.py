"""MonotonicAligner with random weights against FunASR: tokens, words, times to the ms; batches; what is right instead.

Oracle: FunASR's AutoModel.generate, in a process of its own (tests/make_monotonic_aligner.py).
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convert
import mlx_model
from mlx_model.errors import CheckpointError, UsageError
from mlx_model.loading import load_as
from mlx_model.roles import Aligner, Recognizer
from mlx_model.text.alignment import Alignment
from tests import forked
from tests.conftest import ROOT, speech_like

SECONDS = (1.37, 3.1, 2.22)
TEXTS = (
    "今天天气很好", "设定二十九度", "一，二。三", "hello你好", "hello a b", "A b你", "", "，", "龘好龘", "你" * 40,
    "5度 100", "你 好", "it's 你",
)  # fmt: skip
BASE: dict[str, Any] = {
    "model": "MonotonicAligner",
    "model_conf": {"length_normalized_loss": False, "predictor_bias": 1},
    "encoder": "SANMEncoder",
    "encoder_conf": {
        "output_size": 48, "attention_heads": 4, "linear_units": 96, "num_blocks": 2, "dropout_rate": 0.1,
        "input_layer": "pe", "normalize_before": True, "kernel_size": 11, "sanm_shfit": 0,
        "selfattention_layer_type": "sanm",
    },
    "predictor": "CifPredictorV3",
    "predictor_conf": {
        "idim": 48, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45, "smooth_factor2": 0.25,
        "noise_threshold2": 0.08, "upsample_times": 3, "use_cif1_cnn": False, "upsample_type": "cnn_blstm",
    },
    "frontend": "WavFrontend",
    "frontend_conf": {
        "fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10, "lfr_m": 7, "lfr_n": 6,
        "cmvn_file": None, "dither": 0.0,
    },
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "spelt": {"encoder_conf": {"output_size": 36, "attention_heads": 2, "kernel_size": 5},
              "predictor_conf": {"idim": 36, "use_cif1_cnn": True, "upsample_type": "cnn", "smooth_factor2": 1.0},
              "seg_dict": True},
}  # fmt: skip


def configuration(name: str) -> dict[str, Any]:
    changes = CONFIGS[name]
    return BASE | {key: BASE[key] | value if isinstance(value, dict) else value for key, value in changes.items()}


def made_by_funasr(folder: Path, configs: dict[str, Any], cases: list[list[str]], trained: str | None = None) -> None:
    """Let FunASR write a model of each configuration into `folder`, and its times of each case into answers.json."""
    request = {"folder": str(folder), "configs": configs, "cases": cases, "trained": trained}
    (folder / "request.json").write_text(json.dumps(request), "utf-8")
    command = [forked.python("funasr"), str(ROOT / "tests/make_monotonic_aligner.py"), str(folder / "request.json")]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[dict[str, Any]]]]:
    """Return the folder of FunASR's models and their conversions (`NAME.mlx`), and FunASR's times."""
    import soundfile

    folder = tmp_path_factory.mktemp("monotonic_aligner")
    for number, seconds in enumerate(SECONDS):
        soundfile.write(folder / f"{number}.wav", speech_like(seconds, seed=number), 16000, subtype="PCM_16")
    cases = [[str(folder / f"{number % len(SECONDS)}.wav"), text] for number, text in enumerate(TEXTS)]
    made_by_funasr(folder, {name: configuration(name) for name in CONFIGS}, cases)
    for name in CONFIGS:
        convert.convert(folder / name, folder / f"{name}.mlx")
    return folder, json.loads((folder / "answers.json").read_text("utf-8"))


def aligned(folder: Path, name: str, **options: Any) -> list[Alignment]:
    """Return our alignments of all cases, in batches."""
    model = mlx_model.load(folder / f"{name}.mlx")
    audio = [folder / f"{number % len(SECONDS)}.wav" for number in range(len(TEXTS))]
    return model.align(audio, TEXTS, **options)


@pytest.mark.reference
@pytest.mark.parametrize("name", CONFIGS)
def test_words_and_times_are_funasrs(name: str, answers: tuple[Path, dict[str, Any]]):
    folder, theirs = answers
    speller, compared = mlx_model.load(folder / f"{name}.mlx").speller, 0
    for ours, answer in zip(aligned(folder, name, as_funasr=True), theirs[name], strict=True):
        if "error" in answer:
            assert ours.error is not None
            continue
        assert speller.funasr_tokens(ours.text) == answer["tokens"]
        assert [[word.start_ms, word.end_ms] for word in ours.words] == answer["timestamp"], ours.text
        texts = answer["text"].split(" ") if answer["text"] else []
        assert [word.text for word in ours.words] == texts[: len(ours.words)]
        assert ours.words == ours.funasr_words
        compared += len(ours.words)
    assert compared > 40


@pytest.mark.reference
@pytest.mark.parametrize("name", CONFIGS)
def test_each_word_has_its_own_span_within_the_recording(name: str, answers: tuple[Path, dict[str, Any]]):
    folder, _ = answers
    found = aligned(folder, name)
    assert ["".join(word.text for word in item.words) for item in found[:6]] == [
        "今天天气很好", "设定二十九度", "一二三", "hello你好", "helloab", "Ab你",
    ]  # fmt: skip
    for number, item in enumerate(found):
        edges = [edge for word in item.words for edge in (word.start_ms, word.end_ms)]
        assert edges == sorted(edges)
        assert all(0 <= edge <= SECONDS[number % len(SECONDS)] * 1000 for edge in edges)
        assert all(word.confidence is not None and 0 <= word.confidence <= 1 for word in item.words)
    assert found[6].error == f"{folder}/0.wav: nothing to align: the text is empty, or marks alone"
    assert found[7].error == f"{folder}/1.wav: nothing to align: the text is empty, or marks alone"
    assert [word.text for word in found[8].words] == ["龘", "好", "龘"]
    assert "not in the model's vocabulary: 龘 (2 in all)" in found[8].notes[0]
    if name == "plain":  # the other one hears more
        assert any("40 tokens" in note for note in found[9].notes)
    assert found[2].written == ["一，", "二。", "三"]


@pytest.mark.reference
def test_marks_do_not_move_the_words_behind_them(answers: tuple[Path, dict[str, Any]]):
    """FunASR counts a comma as a token and gives its span to the next word; by default times are those without."""
    model = mlx_model.load(answers[0] / "plain.mlx")
    waveform = speech_like(2.0, seed=5)
    plain, marked = model.align([waveform, waveform], ["一二三", "一，二。三"])
    assert marked.words == plain.words
    assert marked.funasr_words != plain.funasr_words
    assert plain.funasr_words[1].start_ms == plain.words[1].start_ms


@pytest.mark.reference
@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_changes_nothing(name: str, answers: tuple[Path, dict[str, Any]]):
    model = mlx_model.load(answers[0] / f"{name}.mlx")
    waveforms = [speech_like(seconds, seed) for seed, seconds in enumerate((0.6, 2.9, 1.3, 2.1))]
    texts = ["你好", "今天天气很好你好", "一二三四", "hello 世界"]
    together = model.align(waveforms, texts)
    alone = [model.align(waveform, text)[0] for waveform, text in zip(waveforms, texts, strict=True)]
    assert [[(w.text, w.start_ms, w.end_ms) for w in item.words] for item in together] == [
        [(w.text, w.start_ms, w.end_ms) for w in item.words] for item in alone
    ]
    feats, lengths = model.features(waveforms)
    heads = model(feats, lengths, lengths // 4 + 1).heads
    for row, waveform in enumerate(waveforms):
        single, length = model.features([waveform])
        own = np.array(model(single, length, length // 4 + 1).heads.us_alphas)[0]
        np.testing.assert_allclose(np.array(heads.us_alphas)[row, : len(own)], own, atol=1e-5)  # orders of summation
        assert not np.array(heads.us_alphas)[row, len(own) :].any()


@pytest.mark.reference
def test_what_cannot_be_aligned_says_why(answers: tuple[Path, dict[str, Any]]):
    model = mlx_model.load(answers[0] / "plain.mlx")
    (long,) = model.align(speech_like(0.5), "你" * 60)
    assert long.error is not None
    assert "the text has 60 tokens, and the recording only" in long.error
    (missing,) = model.align("nowhere.wav", "你好")
    assert missing.error is not None
    assert "nowhere.wav" in missing.error
    with pytest.raises(UsageError, match="2 texts for 1 recordings; each recording needs its own"):
        model.align(speech_like(0.5), ["你", "好"])
    with pytest.raises(UsageError, match="has no such option; it has as_funasr"):
        model.align(speech_like(0.5), "你", hotwords="x")
    with pytest.raises(UsageError, match=r"expected a model that turns speech into text; try mlx-funasr align"):
        load_as(answers[0] / "plain.mlx", Recognizer)
    assert load_as(answers[0] / "plain.mlx", Aligner).config.model_type == "monotonic_aligner"


@pytest.mark.reference
def test_the_first_head_is_dropped_and_its_convolution_where_it_is_not_read(answers: tuple[Path, dict[str, Any]]):
    folder, _ = answers
    dropped = {
        name: {row["source"]: row["reason"] for row in _rows(folder / f"{name}.mlx") if row["target"] is None}
        for name in CONFIGS
    }
    first = {"predictor.cif_output.weight", "predictor.cif_output.bias"}
    assert dropped["spelt"].keys() == first
    assert dropped["plain"].keys() == first | {"predictor.cif_conv1d.weight", "predictor.cif_conv1d.bias"}
    assert "only where predictor_conf says use_cif1_cnn" in dropped["plain"]["predictor.cif_conv1d.bias"]


def _rows(model: Path) -> list[dict[str, Any]]:
    return json.loads((model / "conversion.json").read_text("utf-8"))["tensors"]


@pytest.mark.reference
def test_a_relatives_checkpoint_is_refused(tmp_path: Path, answers: tuple[Path, dict[str, Any]]):
    import shutil

    import torch

    directory = tmp_path / "relative"
    shutil.copytree(answers[0] / "plain", directory)
    state = torch.load(directory / "model.pt", weights_only=True)
    torch.save({**state, "decoder.output_layer.weight": torch.zeros(3, 48)}, directory / "model.pt")
    with pytest.raises(CheckpointError, match="it is a BiCifParaformer"):
        convert.inspect(directory)
