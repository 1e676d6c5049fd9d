"""ParaformerStreaming: ids and texts of every call against FunASR, random models and the trained one; and mixtures.

Oracle: FunASR's AutoModel.generate with a cache, in a process of its own (tests/make_paraformer_streaming.py), or as
recorded in ../shared.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import convert
import mlx_model
from mlx_model.audio.files import load_audio
from mlx_model.errors import ConfigError
from tests import forked
from tests.conftest import BASE, ROOT, speech_like

SMALL: dict[str, Any] = {
    **BASE,
    "model": "ParaformerStreaming",
    "encoder": "SANMEncoderChunkOpt",
    "encoder_conf": BASE["encoder_conf"]
    | {"input_layer": "pe_online", "output_size": 32, "linear_units": 48, "num_blocks": 2, "chunk_size": [15]}
    | {"stride": [10], "pad_left": [0], "encoder_att_look_back_factor": [4], "decoder_att_look_back_factor": [1]},
    "decoder_conf": BASE["decoder_conf"] | {"linear_units": 48, "sanm_shfit": 5},
    "predictor_conf": BASE["predictor_conf"] | {"idim": 32},
    "frontend": "WavFrontendOnline",
}
CONFIGS: dict[str, dict[str, Any]] = {
    "released": {},
    "single_decoders2": {"decoder_conf": {"num_blocks": 3, "kernel_size": 7, "sanm_shfit": 3}},
    "decoders2": {"decoder_conf": {"num_blocks": 3, "att_layer_num": 1}, "predictor_conf": {"noise_threshold": 0.02}},
    "wide_as_features": {  # the first layer has a residual, and FunASR's second scaling of an empty window shows
        "encoder_conf": {"output_size": 28, "num_blocks": 1}, "predictor_conf": {"idim": 28, "tail_threshold": 0.0},
        "frontend_conf": {"n_mels": 4},
    },
}  # fmt: skip
CASES: list[tuple[str, tuple[int, int, int], int, int, list[int]]] = [  # model, chunk sizes, look-backs, cuts
    ("released", (0, 10, 5), 4, 1, [9600, 9600, 9600, 500]),
    ("released", (5, 10, 5), -1, 2, [30_000, 12_000, 0]),
    ("released", (0, 1, 1), 1, -1, [700]),
    ("single_decoders2", (0, 8, 4), 0, 0, [3000, 25_000, 3001]),
    ("decoders2", (0, 6, 3), 1, 1, [20_000, 17_280, 959]),
    ("decoders2", (3, 2, 2), 4, 1, [14_000, 399, 0]),
    ("wide_as_features", (0, 10, 5), 1, 0, [19_200, 0]),
    ("released", (0, 10, 5), 0, 0, [0]),
]


def configuration(name: str) -> dict[str, Any]:
    return SMALL | {key: SMALL[key] | value for key, value in CONFIGS[name].items()}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Return the folder of FunASR's models and their conversions (`NAME.mlx`), and what FunASR hears."""
    folder = tmp_path_factory.mktemp("streaming")
    calls = []
    for number, (name, chunk_size, encoder, decoder, cuts) in enumerate(CASES):
        np.save(folder / f"{number}.npy", speech_like(sum(cuts) / 16000, seed=number))
        case = {"chunk_size": [*chunk_size], "encoder_chunk_look_back": encoder, "decoder_chunk_look_back": decoder}
        calls.append({"model": name, "recording": str(folder / f"{number}.npy"), "cuts": cuts, "case": case})
    request = {"folder": str(folder), "configs": {name: configuration(name) for name in CONFIGS}, "calls": calls}
    (folder / "request.json").write_text(json.dumps(request), "utf-8")
    script = str(ROOT / "tests/make_paraformer_streaming.py")
    command = [forked.python("funasr"), script, str(folder / "request.json")]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    for name in CONFIGS:
        convert.convert(folder / name, folder / f"{name}.mlx")
    return folder, [
        call | said
        for call, said in zip(calls, json.loads((folder / "answers.json").read_text("utf-8")), strict=True)
    ]


@pytest.mark.reference
def test_ids_and_texts_of_every_call_are_funasrs(answers: tuple[Path, list[dict[str, Any]]]):
    folder, calls = answers
    spoken = 0
    for call in calls:
        model = mlx_model.load(folder / f"{call['model']}.mlx")
        stream, samples, at = model.stream(as_funasr=True, **call["case"]), np.load(call["recording"]), 0
        for number, (cut, ids, text) in enumerate(zip(call["cuts"], call["ids"], call["texts"], strict=True)):
            (partial,) = stream.feed(samples[at : at + cut], is_final=number == len(call["cuts"]) - 1)
            at += cut
            assert (partial.token_ids, partial.text) == ([one for window in ids for one in window], text), call
            spoken += len(partial.token_ids)
    assert spoken > 60


@pytest.mark.reference
def test_by_default_pieces_are_joined_and_a_lone_layer_runs(answers: tuple[Path, list[dict[str, Any]]]):
    """Oracle: a call with everything (text); FunASR's own `forward`, which runs `decoders2` however many there are."""
    folder, calls = answers
    for call in calls:
        model = mlx_model.load(folder / f"{call['model']}.mlx")
        samples, whole = np.load(call["recording"]), model.stream(**call["case"])
        whole.feed(samples, is_final=True)
        stream, at = model.stream(**call["case"]), 0
        for cut in call["cuts"]:
            stream.feed(samples[at : at + cut])
            at += cut
        stream.feed(samples[:0], is_final=True)
        assert stream.text == whole.text
    model, samples = mlx_model.load(folder / "single_decoders2.mlx"), speech_like(2.0)
    heard = [model.transcribe(samples, as_funasr=as_funasr, nbest=1)[0].alternatives for as_funasr in (True, False)]
    assert heard[0][0].score != pytest.approx(heard[1][0].score, abs=1e-3)


MIXTURES: dict[str, tuple[dict[str, Any], str]] = {
    "encoder": ({"encoder": "SANMEncoder"}, "encoder 'SANMEncoder' is not supported"),
    "input_layer": ({"encoder_conf": SMALL["encoder_conf"] | {"input_layer": "pe"}}, "input_layer = 'pe' is not"),
    "frontend": ({"frontend": "WavFrontend"}, "frontend 'WavFrontend' is not supported"),
    "sanm_shfit": ({"decoder_conf": SMALL["decoder_conf"] | {"sanm_shfit": 0}}, "sanm_shfit = 0, but a stream's"),
    "model": ({"model": "Paraformer"}, "encoder 'SANMEncoderChunkOpt' is not supported"),
    "predictor": ({"predictor": "CifPredictor"}, "predictor 'CifPredictor' is not supported"),
}


@pytest.mark.reference
@pytest.mark.parametrize("key", MIXTURES)
def test_a_mixture_with_an_offline_configuration_is_refused(
    answers: tuple[Path, list[dict[str, Any]]], tmp_path: Path, key: str
):
    """The tensors are the same, so nothing else would notice."""
    change, said = MIXTURES[key]
    shutil.copytree(answers[0] / "released", tmp_path / "mixed")
    (tmp_path / "mixed/config.yaml").write_text(yaml.safe_dump(SMALL | change), "utf-8")
    with pytest.raises(ConfigError, match=said):
        convert.convert(tmp_path / "mixed", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.shared
def test_the_trained_model_hears_what_funasr_heard_chunk_by_chunk(shared: Path, tmp_path: Path):
    """Oracle: FunASR's text of every chunk as recorded beside the checkpoint; all 99 are a benchmark."""
    source = shared / "checkpoints/paraformer_real_streaming"
    convert.convert(source, tmp_path / "model")
    model = mlx_model.load(tmp_path / "model")
    lines = (source / "funasr_streaming.jsonl").read_text("utf-8").splitlines()[:6]
    asked = {"encoder_chunk_look_back": 4, "decoder_chunk_look_back": 1}
    for row in map(json.loads, lines):
        (path,) = (shared / "data/aishell_s0150/wav").rglob(f"{row['key']}.wav")
        samples = load_audio(path, 16000)
        stream = model.stream(as_funasr=True, **asked)
        whole = range(0, len(samples) + 1, 9600)
        texts = [stream.feed(samples[at : at + 9600], is_final=at == whole[-1])[0].text for at in whole]
        assert texts == row["partials"]
        assert model.transcribe(path, **asked)[0].text == row["funasr_hyp"]
