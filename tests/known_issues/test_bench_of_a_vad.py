"""`mlx-funasr bench VAD` said "config.json: unknown key 'vad_opts'"; it is timed now, from files on.

`cer` of a VAD is refused, and the command that fits is named.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlx_model.errors import ConfigError, UsageError
from parity.bench import run
from parity.cer import evaluate


def conversion(folder: Path, **settings: object) -> Path:
    (folder / "config.json").write_text(json.dumps(settings), "utf-8")
    (folder / "conversion.json").write_text('{"source": "iic/a"}', "utf-8")
    return folder


def test_its_configuration_is_read_as_its_own(tmp_path):
    model = conversion(tmp_path, model_type="fsmn_vad_streaming", vad_opts={})
    with pytest.raises(ConfigError, match="missing key 'frontend'"):  # what is missing, not what is unknown
        run.bench(model, against=["onnxruntime"], stages=["encoder"])


def test_cer_names_the_role_before_anything_is_written(tmp_path):
    (tmp_path / "m").mkdir()
    model = conversion(tmp_path / "m", model_type="fsmn_vad_streaming")
    (tmp_path / "a.wav").touch()
    (tmp_path / "set.tsv").write_text("id\tpath\ttext\na\ta.wav\tb\n", "utf-8")
    for given, engine, message in (
        (model, "mlx", r"is a fsmn_vad_streaming, expected .* speech into text; try mlx-funasr vad"),
        (model, "funasr", r"is an MLX model that mlx-funasr wrote already; SRC is the FunASR model"),
        (tmp_path / "none", "funasr", r"none: no such file or directory"),
        (tmp_path / "none", "mlx", r"none: no such directory"),
    ):
        with pytest.raises((UsageError, ConfigError), match=message):
            evaluate(given, tmp_path / "set.tsv", engine=engine, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("content", "message"), [("[1]", "found list"), ("{", "is not JSON"), ("[" * 9999, "deep")])
def test_a_broken_configuration_is_one_line(tmp_path, content, message):
    (tmp_path / "config.json").write_text(content, "utf-8")
    with pytest.raises(ConfigError, match=message):
        run.bench(tmp_path, against=["onnxruntime"], stages=["encoder"])
