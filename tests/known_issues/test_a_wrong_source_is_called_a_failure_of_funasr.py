"""`parity run /no/such/dir`: "FunASR failed ...: ModuleNotFoundError", after 14 seconds; so for a conversion as SRC.

Nothing may be started for a source that is none: the child's command is one that cannot be run.
"""

from pathlib import Path
from typing import Any

import pytest

import convert
from mlx_model.errors import ConfigError, MlxFunasrError, UsageError
from parity import record, run, selftest
from parity.cer import evaluate
from parity.demo import MODEL, SPEECH
from parity.sides import reference


@pytest.fixture(autouse=True)
def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: Any) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(reference, "ask_reference", started)
    monkeypatch.setattr(reference, "stream_reference", started)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "model"
    convert.convert(MODEL, out)
    return out


def sources(tmp_path: Path, model: Path) -> dict[str, tuple[Path | str, type[MlxFunasrError], str]]:
    (tmp_path / "empty").mkdir()
    wav = next(SPEECH.rglob("*.wav"))
    return {
        "absent": ("/no/such/dir", UsageError, "no such file or directory"),
        "converted": (model, UsageError, "that mlx-funasr wrote already"),
        "weights of a conversion": (model / "model.safetensors", UsageError, "that mlx-funasr wrote already"),
        "empty": (tmp_path / "empty", ConfigError, "has no config.yaml"),
        "audio": (wav, UsageError, "expected a model directory or a weight file, found a WAV file"),
        "a long name": ("x" * 300 + "/y z", UsageError, "no such file or directory"),
        "a NUL byte": ("a\0b", UsageError, "no such file or directory"),
    }


@pytest.mark.parametrize(
    "name", ["absent", "converted", "weights of a conversion", "empty", "audio", "a long name", "a NUL byte"]
)
def test_every_entry_point_says_so_at_once(tmp_path: Path, model: Path, name: str):
    source, error, says = sources(tmp_path, model)[name]
    audio = [SPEECH]
    for call in (
        lambda: run(source, model, audio), lambda: record(source, tmp_path / "trace", audio),
        lambda: selftest(source, model, audio), lambda: evaluate(source, SPEECH, engine="funasr"),
        lambda: list(reference.transcribe(source, [])), lambda: convert.inspect(source),
    ):  # fmt: skip
        with pytest.raises(error) as caught:
            call()
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "trace").exists()
