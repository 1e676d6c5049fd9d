"""`feature_encoder_spec: __import__('os').system(...)` in a config.yaml ran where parity, cer or bench opened it."""

import json
from pathlib import Path
from typing import Any

import pytest

import convert
from convert.opening import opened
from mlx_model.errors import CheckpointError, ConfigError
from parity.cer import evaluate
from parity.demo import SPEECH
from parity.sides import guard, reference
from tests.model_folders import change_config, configuration, trainer_folder

CODE = "__import__('os').system('touch ran')"
HOSTILE: list[dict[str, Any]] = [
    {"feature_encoder_spec": CODE},
    {"model_conf": {"modalities": {"audio": {"feature_encoder_spec": CODE}}}},
    {"encoder_conf": {"conv_feature_layers": CODE}},
    {"model_conf": {"list": [{"feature_encoder_spec": "[0] * 99 * 99 * 99 * 99 * 99"}]}},
    {"trust_remote_code": True, "remote_code": "./model.py"},
    {"trust_remote_code": "false", "remote_code": "model"},
    {"remote_code": "http://127.0.0.1:9/model.py"},
    {"vad_model": "elsewhere"},
    {"punc_model": "iic/x"},
    {"spk_model": "./y"},
    {"model": "QwenAudioWarp"},
    {"model": "GLMASR"},
    {"model": "zai-org/GLM-ASR-Nano-2512"},
    {"frontend": "s3prl"},
    {"hotword": "http://127.0.0.1:9/x.txt"},
    {"model_conf": {"x": "${oc.create:{feature_encoder_spec: a}}"}},
    {"model_conf": {"x": "${oc.decode:${a}${b}}"}},
    {"model_conf": {"x": "${oc.env:HOME}"}},
]


@pytest.mark.parametrize("changes", HOSTILE, ids=lambda item: str(item)[:50])
def test_it_is_refused_by_name_before_anything_is_started(
    tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    for name in ("ask_reference", "stream_reference"):
        monkeypatch.setattr(reference, name, lambda *_: pytest.fail("a child was started"))
    source = trainer_folder(tmp_path / "source", "model.pt")
    change_config(source, **changes)
    for call in (
        lambda: guard.check(str(source)), lambda: guard.check(str(source / "model.pt")),
        lambda: evaluate(source, SPEECH, engine="funasr"), lambda: reference.record(source, [], tmp_path / "trace"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="is refused") as caught:
            call()
        assert "\n" not in str(caught.value)
        assert str(source / "config.yaml") in str(caught.value)


@pytest.mark.parametrize("changes", HOSTILE[:15], ids=lambda item: str(item)[:50])
def test_convert_refuses_the_same(tmp_path: Path, changes: dict[str, Any]):
    source = trainer_folder(tmp_path / "source", "model.pt")
    change_config(source, **changes)
    with pytest.raises(ConfigError):
        convert.inspect(source)
    with pytest.raises(ConfigError), opened(source, checkpoint="model.pt"):
        pytest.fail("it was opened")


@pytest.mark.parametrize(
    "metas",
    [
        {"trust_remote_code": "model.pt", "remote_code": "config.yaml"},
        {"config": "../elsewhere/config.yaml"},
        {"config": "/etc/passwd"},
        {"model_conf": {"list": ["/etc/passwd"]}},
        {"vad_model": "inner"},
    ],
)
def test_configuration_json_is_laid_over_it_and_checked_too(tmp_path: Path, metas: dict[str, Any]):
    source = trainer_folder(tmp_path / "source", "model.pt")
    configuration(source, {"file_path_metas": metas})
    with pytest.raises(ConfigError):
        guard.check(str(source))


def test_what_released_models_say_is_accepted(tmp_path: Path):
    source = trainer_folder(tmp_path / "source", "model.pt")
    spec = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]"  # emotion2vec's
    change_config(source, model="Emotion2vec", model_conf={"modalities": {"audio": {"feature_encoder_spec": spec}}})
    assert guard.check(str(source)) == source


@pytest.mark.reference
def test_a_pickle_that_runs_code_never_reaches_funasr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import pickle

    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # makes torch.load, as FunASR calls it, run code
    source = trainer_folder(tmp_path / "source")
    (source / "model.pt").write_bytes(pickle.dumps({"x": Runs()}, protocol=2))
    with pytest.raises(CheckpointError, match="was not given to FunASR"):
        list(reference.transcribe(source, [[str(next(SPEECH.rglob("*.wav")))]]))
    assert not (tmp_path / "ran").exists()
    assert json.loads((source / "configuration.json").read_text("utf-8"))["file_path_metas"]["init_param"] == "model.pt"
