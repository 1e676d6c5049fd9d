"""`mlx-funasr align` as scripts see it: formats, fields of `--json`, what is refused. A model of random weights.

Oracle: by hand; the times themselves are held against FunASR in models/.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer

import mlx_model
from mlx_model.commands.align import align
from mlx_model.config.monotonic_aligner import MonotonicAlignerConfig
from mlx_model.errors import UsageError
from mlx_model.machine.blas import mx, tree_flatten
from mlx_model.models.monotonic_aligner import Model
from tests.conftest import speech_like
from tests.mlx_model.asr_models import TOKENS, write_recogniser

CONFIG = MonotonicAlignerConfig.from_dict(
    {
        "vocab_size": len(TOKENS),
        "tokenizer": {},
        "frontend": {"lfr_m": 7, "lfr_n": 6, "cmvn": False},
        "encoder": {"output_size": 16, "linear_units": 32, "num_blocks": 2, "kernel_size": 5},
        "predictor": {
            "idim": 16, "l_order": 1, "r_order": 1, "upsample_times": 3, "upsample_type": "cnn_blstm",
            "use_cif1_cnn": False, "smooth_factor2": 0.25, "noise_threshold2": 0.05,
        },
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An aligner, and two recordings with their texts."""
    folder = tmp_path_factory.mktemp("align")
    (folder / "model").mkdir()
    mx.random.seed(3)
    leaves: Any = tree_flatten(Model(CONFIG).parameters())
    weights = {name: mx.random.normal(value.shape) * 0.3 if value.ndim > 1 else value for name, value in leaves}
    mx.save_safetensors(str(folder / "model/model.safetensors"), weights)
    (folder / "model/config.json").write_text(json.dumps(CONFIG.to_dict()), "utf-8")
    (folder / "model/tokens.json").write_text(json.dumps(TOKENS, ensure_ascii=False), "utf-8")
    (folder / "wav").mkdir()
    for key, seconds in (("a", 2.0), ("b", 1.2)):
        soundfile.write(folder / f"wav/{key}.wav", speech_like(seconds), 16000, subtype="PCM_16")
    (folder / "text").write_text("b 四，五\na 一 二，三\n", "utf-8")
    return folder


def run(folder: Path, capsys: pytest.CaptureFixture[str], *audio: str, text: str, **options: Any) -> str:
    align(folder / "model", [str(folder / name) for name in audio], text, **options)
    return capsys.readouterr().out


def test_fields_of_json(folder: Path, capsys: pytest.CaptureFixture[str]):
    document = json.loads(run(folder, capsys, "wav", text=str(folder / "text"), json=True))
    assert document["schema"] == "align/1"
    assert document["numerics"]["device"]
    first, second = document["results"]
    assert [Path(row["path"]).name for row in document["results"]] == ["a.wav", "b.wav"]
    assert [word["text"] for word in first["words"]] == ["一", "二", "三"]
    assert {*first["words"][0]} == {"text", "start_ms", "end_ms", "confidence"}
    assert [word for word, _, _ in first["funasr_words"]] == ["一", "二", "三"]
    assert (first["duration_s"], first["error"], second["text"]) == (2.0, None, "四，五")
    funasr = json.loads(run(folder, capsys, "wav", text=str(folder / "text"), json=True, as_funasr=True))
    assert [[w["text"], w["start_ms"], w["end_ms"]] for w in funasr["results"][0]["words"]] == first["funasr_words"]


def test_formats(folder: Path, capsys: pytest.CaptureFixture[str]):
    lines = run(folder, capsys, "wav", text=str(folder / "text")).splitlines()
    assert lines[0] == f"# {folder}/wav/a.wav"
    assert [line.split(" ")[2] for line in lines[1:4]] == ["一", "二", "三"]
    rows = run(folder, capsys, "wav", text=str(folder / "text"), format="tsv").splitlines()
    assert rows[0] == "path\tstart_ms\tend_ms\ttext\tconfidence"
    assert len(rows) == 6
    ctm = run(folder, capsys, "wav", text=str(folder / "text"), format="ctm").split("\n")
    assert ctm[0].startswith("a 1 ")
    assert "一 二，三" in run(folder, capsys, "wav/a.wav", text="一 二，三", format="srt")  # with its marks
    grid = run(folder, capsys, "wav/a.wav", text="一 二，三", format="textgrid")
    assert 'text = "二"' in grid
    assert 'name = "words"' in grid


def test_one_bad_recording_does_not_stop_the_others(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "more").write_text("a 一\nb 二\nc 三\n", "utf-8")
    with pytest.raises(typer.Exit) as left:
        align(folder / "model", [str(folder / "wav"), str(folder / "c.wav")], str(folder / "more"))
    said = capsys.readouterr()
    assert left.value.exit_code == 1
    assert "not aligned: " in said.err
    assert "c.wav" in said.err
    assert said.out.count("#") == 3


@pytest.mark.parametrize(
    ("audio", "text", "options", "said"),
    [
        (["wav"], "text", {"format": "srt"}, "srt is for one recording, not 2; run once for each"),
        (["wav"], "text", {"format": "rttm"}, "unknown format 'rttm'; use text, json, tsv, srt, vtt, textgrid, ctm"),
        (["wav"], "text", {"format": "tsv", "json": True}, "--json and --format tsv contradict each other"),
        (["wav"], "text", {"batch_size": 0}, "--batch-size 0: expected 1 to"),
        (["wav"], "text", {"option": ["language=zh"]}, "a monotonic_aligner has no such option; it has as_funasr"),
        (["wav/a.wav"], "text", {}, "texts without a recording: 1 of 2 (first: b)"),
    ],
)
def test_what_is_refused(folder: Path, audio: list[str], text: str, options: dict[str, Any], said: str):
    with pytest.raises(UsageError) as caught:
        align(folder / "model", [str(folder / name) for name in audio], str(folder / text), **options)
    assert said in str(caught.value)


def test_a_recogniser_is_no_aligner(folder: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="expected a model that times the words of a known text; try mlx-funasr tran"):
        align(write_recogniser(tmp_path / "asr"), [str(folder / "wav/a.wav")], "一")


def test_silence_and_marks_alone_say_why(folder: Path):
    model = mlx_model.load(folder / "model")
    for text in ("", " ，。"):
        (found,) = model.align(speech_like(1.0), text)
        assert found.error == "waveform: nothing to align: the text is empty, or marks alone"
    (silent,) = model.align(np.zeros(16000, np.float32), "一")
    assert silent.error is not None or silent.notes
