"""`mlx-funasr doctor`: the bundled speech through the users' own way, and what each finding says to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import mlx_funasr
from mlx_model import loading
from mlx_model.errors import DependencyError, UsageError
from mlx_model.machine import blas, compiler, numerics
from parity import doctor
from parity.commands import doctor as doctor_command


def by_name(document: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in document["findings"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="opening model.pt needs torch")
    folder = tmp_path_factory.mktemp("doctor") / "model"
    mlx_funasr.convert(doctor.MODEL, folder)
    return folder


def test_the_bundled_speech_is_heard_and_compared(model: Path, capsys: pytest.CaptureFixture[str]):
    document = doctor.examine(mlx_funasr._converted, [model])
    findings = by_name(document)
    assert document["verdict"] == "pass", findings
    assert findings["bundled speech"]["found"] == "1 as FunASR heard it: 百分之八十"
    assert findings["parity check"]["status"] == "ok"
    assert document["numerics"]["engine"]
    assert findings["engine"]["found"].startswith(document["numerics"]["engine"])
    assert findings[str(model)]["status"] == "ok"
    assert json.loads(json.dumps(document)) == document
    doctor_command.show(document, Console(width=200))
    assert "✓ bundled speech: 1 as FunASR heard it: 百分之八十" in capsys.readouterr().out


def test_another_text_than_funasrs_fails(model: Path, monkeypatch: pytest.MonkeyPatch):
    right = loading.load

    def deaf(path: Path) -> Any:
        found = right(path)
        found.decoder.output_layer.weight = -found.decoder.output_layer.weight
        return found

    monkeypatch.setattr(loading, "load", deaf)
    findings, _ = doctor.bundled(lambda src, _: mlx_funasr._converted(src, model))
    status = {finding.name: finding.status for finding in findings}
    assert status["bundled speech"] == "fail"


def test_what_cannot_be_opened_without_torch_is_only_said():
    def converted(src: str, model: Path | None) -> Any:
        raise DependencyError("reading model.pt needs torch")

    findings, found = doctor.bundled(converted)
    assert [(row.status, row.advice) for row in findings] == [("note", "reading model.pt needs torch")]
    assert found["device"] == numerics.device()


def test_a_directory_that_is_not_there_is_refused_at_once():
    with pytest.raises(UsageError, match="/nowhere: no such directory"):
        doctor.examine(mlx_funasr._converted, [Path("/nowhere")])


def test_a_directory_that_is_no_model_is_a_finding(tmp_path: Path):
    found = doctor.opened(tmp_path)
    assert found.status == "fail"
    assert "no config.json" in found.found


def test_what_is_missing_comes_with_what_to_do(monkeypatch: pytest.MonkeyPatch):
    lacking = blas.BlasStatus(needed=True, library=None, reason="looked for OpenBLAS, MKL")
    monkeypatch.setattr(blas, "_status", lacking)
    monkeypatch.setattr(numerics, "float32_mode", lambda: ("tf32", 3e-4))
    monkeypatch.setattr(compiler.shutil, "which", lambda name: None)
    found = {finding.name: finding for finding in doctor.compute()}
    assert found["BLAS"].status == found["float32"].status == found["C compiler"].status == "warn"
    assert "pip install 'mlx-funasr[cpu]'" in found["BLAS"].advice
    assert "3.0e-04" in found["float32"].found
    assert "MLX_ENABLE_TF32" in found["float32"].advice
    assert "apt install gcc" in found["C compiler"].advice or "xcode-select" in found["C compiler"].advice


def test_no_compiler_is_missed_where_the_wheel_brought_what_it_would_make(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiler.shutil, "which", lambda name: None)
    monkeypatch.setattr(compiler, "shipped", lambda source, *options: source)  # a file that is there
    found = {finding.name: finding for finding in doctor._compiler()}["C compiler"]
    assert (found.status, found.advice) == ("ok", "")
    assert "none is needed" in found.found


def test_a_cache_that_others_may_write_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiler.cache_folder().chmod(0o777)
    found = {finding.name: finding for finding in doctor.compute()}["cache of compiled code"]
    assert found.status == "warn"
    assert "can be written by others" in found.found


def test_extras_that_are_absent_name_their_pip_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "EXTRAS", {"hub": ("json", "no_such_module_of_ours"), "bpe": ("json",)})
    absent, present = doctor.extras()
    assert (absent.status, absent.found) == ("note", "without no_such_module_of_ours")
    assert absent.advice == "pip install 'mlx-funasr[hub]'"
    assert (present.status, present.advice) == ("ok", "")


def test_another_package_of_our_name_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "FOLDERS", ("parity", "json"))
    (found,) = doctor.shadowed()
    assert (found.name, found.status) == ("json", "fail")


def test_another_mlx_or_a_second_copy_is_said(monkeypatch: pytest.MonkeyPatch):
    installed = {doctor.DISTRIBUTION: "0.0.9", "mlx": "0.99.1"}
    monkeypatch.setattr(doctor, "versions", lambda names: {name: installed[name] for name in names})
    found = {finding.name: finding for finding in doctor.installation()}
    assert found["other version"].found == "0.0.9 is installed as well"
    assert found["MLX"].status == "warn"
    assert "0.32" in found["MLX"].advice


def test_a_package_that_breaks_is_tried_not_guessed():
    assert doctor._import_error("json") == ""
    assert "No module named" in doctor._import_error("no_such_module_of_ours")
