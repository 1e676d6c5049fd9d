"""SenseVoiceSmall with random weights against FunASR: text, tags, times, options; and batch independence.

Oracle: FunASR's AutoModel.generate, in a process of its own (tests/make_sense_voice.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlx_model
from mlx_model.decoding import greedy
from mlx_model.errors import UsageError
from mlx_model.machine.blas import mx
from mlx_model.text.results import Hypothesis
from mlx_model.text.rich import rich_text
from tests.conftest import ROOT, speech_like

SECONDS = (1.37, 3.1, 2.22)
BASE: dict[str, Any] = {
    "model": "SenseVoiceSmall",
    "model_conf": {"length_normalized_loss": True, "sos": 1, "eos": 2, "ignore_id": -1},
    "encoder": "SenseVoiceEncoderSmall",
    "encoder_conf": {
        "output_size": 48, "attention_heads": 4, "linear_units": 96, "num_blocks": 3, "tp_blocks": 2,
        "dropout_rate": 0.1, "input_layer": "pe", "pos_enc_class": "SinusoidalPositionEncoder",
        "normalize_before": True, "kernel_size": 11, "sanm_shfit": 0, "selfattention_layer_type": "sanm",
    },
    "frontend": "WavFrontend",
    "frontend_conf": {
        "fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10, "lfr_m": 7, "lfr_n": 6,
        "cmvn_file": None, "dither": 0.0,
    },
    "tokenizer": "SentencepiecesTokenizer",
    "tokenizer_conf": {"bpemodel": None, "unk_symbol": "<unk>", "split_with_space": True},
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no_tp": {"encoder_conf": {"tp_blocks": 0, "num_blocks": 1, "attention_heads": 1, "kernel_size": 5}},
    "shifted": {"encoder_conf": {"sanm_shfit": 5, "output_size": 36, "attention_heads": 2},
                "frontend_conf": {"lfr_m": 5, "lfr_n": 4}},
}  # fmt: skip
OPTIONS: list[dict[str, Any]] = [
    {}, {"language": "zh", "use_itn": True}, {"language": "nospeech"}, {"output_timestamp": True},
    {"language": "ko", "use_itn": True, "output_timestamp": True},
]  # fmt: skip


def configuration(name: str) -> dict[str, Any]:
    return BASE | {key: BASE[key] | value for key, value in CONFIGS[name].items()}


def made_by_funasr(folder: Path, configs: dict[str, Any], recordings: list[Path], options: list[Any]) -> None:
    """Let FunASR write a random model of each configuration into `folder`, and what it hears into answers.json."""
    request = {"folder": str(folder), "configs": configs, "recordings": [*map(str, recordings)], "options": options}
    (folder / "request.json").write_text(json.dumps(request), "utf-8")
    command = [sys.executable, str(ROOT / "tests/make_sense_voice.py"), str(folder / "request.json")]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return the folder of FunASR's models and their conversions (`NAME.mlx`), and what FunASR hears."""
    import soundfile

    import convert

    folder = tmp_path_factory.mktemp("sense_voice")
    paths = [folder / f"{number}.wav" for number in range(len(SECONDS))]
    for number, path in enumerate(paths):
        soundfile.write(path, speech_like(SECONDS[number], seed=number), 16000, subtype="PCM_16")
    configs = {name: configuration(name) for name in CONFIGS}
    made_by_funasr(folder, configs, paths, OPTIONS)
    for name in CONFIGS:
        convert.convert(folder / name, folder / f"{name}.mlx")
    return folder, json.loads((folder / "answers.json").read_text("utf-8"))


def heard(folder: Path, name: str, **options: Any) -> list[Hypothesis]:
    """Return what our model hears in all recordings, as one batch."""
    from mlx_model.audio.files import load_audio

    model = mlx_model.load(folder / f"{name}.mlx")
    waveforms = [load_audio(folder / f"{number}.wav", 16000) for number in range(len(SECONDS))]
    asked = model.Options(**options)
    return model.hypotheses(model.best(model(*model.features(waveforms), asked)), asked)


@pytest.mark.reference
@pytest.mark.parametrize("asked", range(len(OPTIONS)))
@pytest.mark.parametrize("name", CONFIGS)
def test_text_and_times_are_funasrs(name: str, asked: int, answers: tuple[Path, dict[str, Any]]):
    folder, theirs = answers
    options, compared = OPTIONS[asked], 0
    for ours, answer in zip(heard(folder, name, **options, as_funasr=True), theirs[name][asked], strict=True):
        if "error" in answer:  # FunASR's aligner fails on pieces that are several ids
            assert (answer["error"], ours.words) == ("IndexError", None)
            continue
        assert ours.text == answer["text"]
        words = None if ours.words is None else [[word.start_ms, word.end_ms] for word in ours.words]
        assert words == answer.get("timestamp")
        assert [word.text for word in ours.words or []] == answer.get("words", [])
        compared += len(ours.token_ids)
    assert compared > 10 or "output_timestamp" in options  # silence on both sides would agree about nothing


@pytest.mark.reference
def test_tags_become_fields_and_leave_the_text(answers: tuple[Path, dict[str, Any]]):
    folder, theirs = answers
    for ours, answer in zip(heard(folder, "plain"), theirs["plain"][0], strict=True):
        assert ours.text == rich_text(answer["text"])
        assert "<|" not in ours.text
        assert answer["text"].startswith("<|zh|><|NEUTRAL|><|Speech|><|woitn|>")
        assert (ours.language, ours.emotion) == ("zh", "NEUTRAL")
        assert ours.events is not None
        assert ours.events[0] == "Speech"
        assert ours.words is None
    assert all(ours.text == "" or "😊" not in ours.text for ours in heard(folder, "plain", rich_text=False))


@pytest.mark.reference
def test_words_are_in_order_and_make_up_the_text(answers: tuple[Path, dict[str, Any]]):
    folder, _ = answers
    for ours, seconds in zip(heard(folder, "plain", output_timestamp=True, rich_text=False), SECONDS, strict=True):
        assert ours.words
        assert "".join(f"{' ' * word.spaced}{word.text}" for word in ours.words) == ours.text
        edges = [edge for word in ours.words for edge in (word.start_ms, word.end_ms)]
        assert edges == sorted(edges)
        assert edges[-1] <= seconds * 1000


@pytest.mark.reference
@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_changes_nothing(name: str, answers: tuple[Path, dict[str, Any]]):
    """Bars of the project: token ids identical, logits within 1e-4, in any batch."""
    model = mlx_model.load(answers[0] / f"{name}.mlx")
    waveforms = [speech_like(seconds, seed) for seed, seconds in enumerate((0.4, 2.9, 1.3, 2.1))]
    together = model(*model.features(waveforms))
    ids = model.token_ids(together)
    for row, waveform in enumerate(waveforms):
        alone = model(*model.features([waveform]))
        (expected,) = model.logits_of(alone)
        np.testing.assert_allclose(model.logits_of(together)[row], expected, atol=1e-4)
        assert ids[row] == model.token_ids(alone)[0]


@pytest.mark.reference
def test_an_emotion_can_be_ruled_out(answers: tuple[Path, dict[str, Any]]):
    model = mlx_model.load(answers[0] / "plain.mlx")
    tag = model.tokenizer.tokens.index("<|EMO_UNKNOWN|>")
    model.ctc.ctc_lo.bias = mx.where(mx.arange(model.config.vocab_size) == tag, 1e3, model.ctc.ctc_lo.bias)
    feats = model.features([speech_like(1.0)])
    assert model.token_ids(model(*feats)) == [[tag]]
    (ids,) = model.token_ids(model(*feats, model.Options(ban_emo_unk=True)))
    assert tag not in ids
    assert len(ids) > 4
    with pytest.raises(UsageError, match="25009"):
        model.best(model(*feats, model.Options(ban_emo_unk=True, as_funasr=True)))


def test_an_unknown_language_is_refused_with_the_list():
    from mlx_model.models.sense_voice import SenseVoiceOptions

    with pytest.raises(UsageError, match=r"'de'.*auto, zh, en, yue, ja, ko, nospeech"):
        SenseVoiceOptions(language="de")


@pytest.mark.shared
def test_the_trained_checkpoint_hears_what_funasr_heard(shared: Path, tmp_path: Path):
    """FunASR's recorded answers on real recordings: four sets of options, words and times."""
    import convert

    source = shared / "checkpoints/sense_voice_real_small"
    convert.convert(source, tmp_path / "model")
    model = mlx_model.load(tmp_path / "model")
    rows = [json.loads(line) for line in (source / "funasr_options.jsonl").read_text("utf-8").splitlines()]
    files = {path.stem: path for path in (shared / "data/aishell_s0150").rglob("*.wav")}
    rows = [row for row in rows if row.get("key") in files]
    audio = [files[row["key"]] for row in rows]
    asked = {
        "auto_woitn": {}, "zh_woitn": {"language": "zh"}, "auto_withitn": {"use_itn": True},
        "nospeech_woitn": {"language": "nospeech"},
    }  # fmt: skip
    for key, options in asked.items():
        results = model.transcribe(audio, **options, as_funasr=True)
        assert [result.text for result in results] == [row[key] for row in rows]
    for lost_ms in (0, 1):  # FunASR cuts seconds to milliseconds, where 2.01 s may be 2009 ms
        results = model.transcribe(audio, output_timestamp=True, as_funasr=lost_ms == 0)
        for result, row in zip(results, rows, strict=True):
            assert [word.text for word in result.words or []] == row["words"]
            times = np.array([[word.start_ms, word.end_ms] for word in result.words or []])
            assert set((times - row["timestamp"]).flat) <= {0, lost_ms}


@pytest.mark.reference
def test_a_token_is_as_sure_as_the_surest_frame_of_its_run(answers: tuple[Path, dict[str, Any]]):
    """Oracle: softmax in float64 of the frames' logits; alternatives: behind the same tags, the text among them."""
    model = mlx_model.load(answers[0] / "plain.mlx")
    waveforms = [speech_like(seconds, seed) for seed, seconds in enumerate((1.3, 0.7))]
    asked = model.Options(output_timestamp=True)
    output = model(*model.features(waveforms), asked)
    found = model.hypotheses(model.best(output, confidence=True, nbest=3), asked)
    plain = model.hypotheses(model.best(output), asked)
    for heard, logits, before in zip(found, model.logits_of(output), plain, strict=True):
        p = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        runs = greedy.runs(p.argmax(-1), model.config.blank_id)
        frames = [run.start + int(p[run.start : run.end, run.token_id].argmax()) for run in runs]
        assert heard.token_ids == [run.token_id for run in runs] == before.token_ids
        assert heard.confidences == pytest.approx([p[frame].max() for frame in frames], rel=1e-5)
        assert heard.entropies == pytest.approx(
            [float(-(p[frame] * np.log(p[frame])).sum()) for frame in frames], rel=1e-4, abs=1e-6
        )
        assert heard.text == before.text
        assert heard.words
        assert all(word.confidence is not None and 0 < word.confidence <= 1 for word in heard.words)
        assert [(word.text, word.start_ms) for word in heard.words] == [
            (w.text, w.start_ms) for w in before.words or ()
        ]
        assert heard.alternatives
        assert all(other.token_ids[:4] == heard.token_ids[:4] for other in heard.alternatives)
        scores = [other.score for other in heard.alternatives]
        assert scores == sorted(scores, reverse=True)
        assert heard.flags == []
