"""SeacoParaformers with random weights against FunASR: texts with and without hotwords; batches; what is refused.

Oracle: FunASR's AutoModel.generate, in a process of its own (tests/make_seaco_paraformer.py), one recording at a time.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convert
import mlx_model
from mlx_model.config.seaco_paraformer import SeacoParaformerConfig
from mlx_model.errors import ConfigError, UsageError
from mlx_model.models.seaco_paraformer import Model, SeacoParaformerOptions
from tests import forked
from tests.conftest import BASE as PARAFORMER
from tests.conftest import ROOT, speech_like
from tests.make_seaco_paraformer import CHARACTERS
from tests.model_folders import change_config

SECONDS = (1.37, 2.6, 1.9)
WIDTH = PARAFORMER["encoder_conf"]["output_size"]
BASE: dict[str, Any] = {
    **PARAFORMER,
    "model": "SeacoParaformer",
    "model_conf": {**PARAFORMER["model_conf"], "inner_dim": WIDTH, "bias_encoder_type": "lstm", "NO_BIAS": 33,
                   "bias_encoder_bid": False, "seaco_lsm_weight": 0.1, "seaco_length_normal": True,
                   "train_decoder": True},
    "encoder_conf": {**PARAFORMER["encoder_conf"], "num_blocks": 2},
    "seaco_decoder": "ParaformerSANMDecoder",
    "seaco_decoder_conf": {"attention_heads": 4, "linear_units": WIDTH, "num_blocks": 4, "kernel_size": 21,
                           "sanm_shfit": 0, "use_output_layer": False, "wo_input_layer": True},
    "predictor": "CifPredictorV3",
    "predictor_conf": {"idim": WIDTH, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45,
                       "smooth_factor2": 0.25, "noise_threshold2": 0.01, "upsample_times": 3,
                       "use_cif1_cnn": False, "upsample_type": "cnn_blstm"},
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "released": {},
    "both_ways": {
        "model_conf": {"bias_encoder_bid": True, "NO_BIAS": 12},
        "seaco_decoder_conf": {"num_blocks": 8, "kernel_size": 7, "attention_heads": 2, "wo_input_layer": False},
        "predictor": "CifPredictorV2",
        "predictor_conf": {"idim": WIDTH, "l_order": 1, "r_order": 1, "tail_threshold": 0.45},
    },
}  # fmt: skip
MANY = [a + b for a, b in itertools.pairwise(CHARACTERS)]
HOTWORDS: list[str | None] = [None, "", "丁七 hello 丂", " ".join(MANY)]


def configuration(name: str) -> dict[str, Any]:
    changed = CONFIGS[name]
    merged = {
        key: value if key == "predictor_conf" and "predictor" in changed else {**BASE[key], **value}
        for key, value in changed.items()
        if isinstance(value, dict)
    }
    return {**BASE, **changed, **merged}


def made_by_funasr(folder: Path, configs: dict[str, Any], recordings: list[Path], hotwords: list[str | None]) -> None:
    """Let FunASR write a random model of each configuration into `folder`, and what it hears into answers.json."""
    request = {"folder": str(folder), "configs": configs, "recordings": [*map(str, recordings)], "hotwords": hotwords}
    (folder / "request.json").write_text(json.dumps(request), "utf-8")
    command = [forked.python("funasr"), str(ROOT / "tests/make_seaco_paraformer.py"), str(folder / "request.json")]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return the folder of FunASR's models and their conversions (`NAME.mlx`), and what FunASR hears."""
    import soundfile

    folder = tmp_path_factory.mktemp("seaco")
    paths = [folder / f"{number}.wav" for number in range(len(SECONDS))]
    for number, path in enumerate(paths):
        soundfile.write(path, speech_like(SECONDS[number], seed=number), 16000, subtype="PCM_16")
    made_by_funasr(folder, {name: configuration(name) for name in CONFIGS}, paths, HOTWORDS)
    for name in CONFIGS:
        convert.convert(folder / name, folder / f"{name}.mlx")
    return folder, json.loads((folder / "answers.json").read_text("utf-8"))


def recordings(folder: Path) -> list[Path]:
    return [folder / f"{number}.wav" for number in range(len(SECONDS))]


@pytest.mark.reference
@pytest.mark.parametrize("name", CONFIGS)
def test_texts_and_times_are_funasrs(name: str, answers: tuple[Path, dict[str, Any]]):
    """All recordings in one batch; FunASR one at a time."""
    folder, theirs = answers
    model, found = mlx_model.load(folder / f"{name}.mlx"), []
    for hotwords in HOTWORDS:
        results = model.transcribe(recordings(folder), hotwords=hotwords, as_funasr=True)
        times = [
            None if each.words is None else [[word.start_ms, word.end_ms] for word in each.words] for each in results
        ]
        found.append([[each.text, spans] for each, spans in zip(results, times, strict=True)])
    assert found == theirs[name]
    found = [[text for text, _ in rows] for rows in found]
    assert len({tuple(texts) for texts in found}) >= 3  # lists change something
    assert sum(map(len, found[0])) > 10


@pytest.mark.reference
@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_changes_nothing(name: str, answers: tuple[Path, dict[str, Any]]):
    """Entries kept, tokens: each recording has its own, where FunASR's filter looks at the first one alone."""
    model = mlx_model.load(answers[0] / f"{name}.mlx")
    waveforms = [speech_like(seconds, seed) for seed, seconds in enumerate((0.4, 2.9, 1.3, 2.1))]
    asked = model.Options(hotwords=MANY)
    together = model(*model.features(waveforms), asked)
    ids = model.token_ids(together)
    for row, waveform in enumerate(waveforms):
        alone = model(*model.features([waveform]), asked)
        (expected,) = model.logits_of(alone)
        np.testing.assert_allclose(model.logits_of(together)[row], expected, atol=1e-4)
        assert ids[row] == model.token_ids(alone)[0]


@pytest.mark.reference
def test_a_list_is_encoded_once_and_again_where_anything_changed(answers: tuple[Path, dict[str, Any]]):
    model = mlx_model.load(answers[0] / "released.mlx")
    ids = model.hotword_ids(model.Options(hotwords=["丁七", "丂"]))
    first = model.hotword_vectors(ids)
    assert model.hotword_vectors(ids) is first
    assert model.hotword_ids(model.Options(hotwords="丁七 丂")) == ids  # the same list, given otherwise
    before = np.array(first)
    other = model.hotword_vectors(ids[:1] + ids[2:])
    np.testing.assert_allclose(np.array(other)[0], before[0], atol=1e-6)
    assert len(other) == 2
    model.bias_encoder.bias_hh_l1 = model.bias_encoder.bias_hh_l1 + 1.0
    assert not np.allclose(np.array(model.hotword_vectors(ids)), before, atol=1e-3)
    model.bias_encoder.bias_hh_l1 -= 1.0  # written into
    np.testing.assert_allclose(np.array(model.hotword_vectors(ids)), before, atol=1e-5)


@pytest.mark.reference
def test_an_empty_list_is_no_list(answers: tuple[Path, dict[str, Any]], tmp_path: Path):
    model = mlx_model.load(answers[0] / "released.mlx")
    (tmp_path / "blank.txt").write_text("\n  \n", "utf-8")
    for nothing in (None, "", "  ", [], [" "], tmp_path / "blank.txt", "☃"):
        assert model.hotword_ids(model.Options(hotwords=nothing)) is None
    assert model.hotword_ids(model.Options(hotwords="", as_funasr=True)) == ((1,),)
    assert model.hotwords(model.Options(hotwords="☃ 丁七")).unknown == ("☃",)


@pytest.mark.reference
def test_a_long_list_needs_the_layer_that_chooses(answers: tuple[Path, dict[str, Any]]):
    converted = answers[0] / "released.mlx"
    made = json.loads((converted / "config.json").read_text("utf-8"))
    made["seaco_decoder"] |= {"att_layer_num": 2}
    model = Model(SeacoParaformerConfig.from_dict(made))
    model.set_tokens(converted / "tokens.json")
    assert len(model.hotword_ids(SeacoParaformerOptions(hotwords=MANY[:49])) or ()) == 50
    with pytest.raises(UsageError, match=r"50 hotwords.*layer 6.*this model has 2"):
        model.hotword_ids(SeacoParaformerOptions(hotwords=MANY[:50]))


@pytest.mark.reference
@pytest.mark.parametrize(
    ("changes", "said"),
    [({"model_conf": {"bias_encoder_type": "mean"}}, "bias_encoder_type = 'mean' is not supported (only lstm)"),
     ({"model_conf": {"inner_dim": 256}}, "inner_dim = 256 but the encoder's output_size is 48"),
     ({"model_conf": {"NO_BIAS": 8377}}, "NO_BIAS = 8377 is no token of"),
     ({"seaco_decoder_conf": {"use_output_layer": True}}, "use_output_layer = True is not supported"),
     ({"seaco_decoder_conf": {"attention_heads": 5}}, "width 48 is not divisible by attention_heads 5"),
     ({"decoder_conf": {"wo_input_layer": True}}, "wo_input_layer = True is not supported (only False)"),
     ({"predictor_conf": {"upsample_times": 5}}, "upsample_times = 5 is not supported"),
     ({"predictor_conf": {"upsample_type": "cnn_attn"}}, "upsample_type = 'cnn_attn' is not supported"),
     ({"seaco_decoder": "TransformerDecoder"}, "seaco_decoder 'TransformerDecoder' is not supported"),
     ({"seaco_decoder": None}, "has no `seaco_decoder:`")],
)  # fmt: skip
def test_refused_by_name(changes: dict[str, Any], said: str, answers: tuple[Path, dict[str, Any]], tmp_path: Path):
    shutil.copytree(answers[0] / "released", tmp_path / "model")
    change_config(tmp_path / "model", **changes)
    with pytest.raises(ConfigError) as error:
        convert.convert(tmp_path / "model", tmp_path / "out")
    assert said in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.reference
def test_names_fates_and_what_is_never_quantised(answers: tuple[Path, dict[str, Any]]):
    report = convert.inspect(answers[0] / "both_ways")
    fates = {row.source: row for row in report.tensors}
    assert fates["decoder.embed.0.weight"].op == "copy"
    assert fates["lstm_proj.weight"].op == "copy"
    assert fates["bias_encoder.bias_hh_l1_reverse"].op == "copy"
    assert fates["seaco_decoder.decoders.0.self_attn.fsmn_block.weight"].op == "conv1d"
    assert fates["seaco_decoder.decoders2.1.self_attn.fsmn_block.weight"].op == "conv1d"
    unread = fates["seaco_decoder.embed.0.weight"]
    assert (unread.target, "nothing reads it" in unread.reason) == (None, True)
    plain = {row.source: row for row in convert.inspect(answers[0] / "released").tensors}
    assert plain["predictor.upsample_cnn.weight"].op == "conv_transpose1d"
    out = answers[0] / "eight.mlx"
    convert.convert(answers[0] / "released", out, bits=8, group_size=32)
    modules = json.loads((out / "config.json").read_text("utf-8"))["quantization"]["modules"]
    assert "seaco_decoder.decoders.0.src_attn.linear_q" in modules
    assert not {"hotword_output_layer", "decoder.output_layer", "predictor.cif_output"} & {*modules}
    model = mlx_model.load(out)
    assert model.transcribe(recordings(answers[0]), hotwords=MANY)[0].text


@pytest.mark.shared
def test_the_trained_checkpoint_hears_what_funasr_heard(shared: Path, tmp_path: Path):
    """FunASR's recorded answers (spaces left out) on real recordings, one list a recording: every twelfth."""
    source = shared / "checkpoints/seaco_real_small"
    convert.convert(source, tmp_path / "model")
    model = mlx_model.load(tmp_path / "model")
    rows = [json.loads(line) for line in (source / "funasr_hotwords_s0150.jsonl").read_text("utf-8").splitlines()]
    files = {path.stem: path for path in (shared / "data/aishell_s0150").rglob("*.wav")}
    rows = [row for row in rows if row["split"] == "held_out" and "timestamp" in row and row["key"] in files][::12]
    assert len(rows) > 20
    for row in rows:
        (heard,) = model.transcribe([files[row["key"]]], hotwords=row["hotword"], as_funasr=True)
        assert heard.text.replace(" ", "") == row["text_with"], row["key"]
    without = model.transcribe([files[row["key"]] for row in rows], as_funasr=True)
    assert [heard.text.replace(" ", "") for heard in without] == [row["text_without"] for row in rows]
    times = [[[word.start_ms, word.end_ms] for word in heard.words or []] for heard in without]
    assert times == [row["timestamp"] for row in rows]
