"""A trainer's output_dir, whose config.yaml names am.mvn and tokens.json elsewhere, "has no am.mvn"; FunASR opens it.

Oracle: the conversion of the model that training began with, whose files these are.
"""

import json
import re
import shutil
from pathlib import Path

import pytest

import convert
from mlx_model.errors import AssetError, ConfigError, MlxFunasrError, UsageError
from parity.demo import MODEL
from tests.model_folders import change_config, configuration, small_files, trainer_folder, with_absolute_paths


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = small_files(tmp_path / "base")
    shutil.copy(MODEL / "model.pt", folder / "model.pt")
    return folder


@pytest.fixture
def run(tmp_path: Path, base: Path) -> Path:
    return with_absolute_paths(trainer_folder(tmp_path / "run", "model.pt"), base)


def test_files_are_taken_from_where_config_yaml_says(tmp_path: Path, run: Path, base: Path):
    report = convert.convert(run, tmp_path / "out")
    assert {str(base / "am.mvn"), str(base / "tokens.json"), "model.pt"} <= set(report.sha256)
    assert f"cmvn_file: {base / 'am.mvn'}, which config.yaml names; it is not in the model directory" in report.notes
    convert.convert(MODEL, tmp_path / "expected")
    for name in ("model.safetensors", "tokens.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()


def test_where_they_are_gone_base_gives_them(run: Path, base: Path):
    moved = base.rename(base.with_name("moved"))
    with pytest.raises(AssetError) as caught:
        convert.inspect(run)
    message = str(caught.value)
    assert f"config.yaml names cmvn_file '{base / 'am.mvn'}'" in message  # what is missing, where it was looked for
    assert str(run) in message
    assert "--base MODEL_DIR|HUB_ID" in message  # and what to type
    report = convert.inspect(run, base=moved)
    assert f"cmvn_file: am.mvn of {moved} (--base)" in report.notes
    (moved / "tokens.json").unlink()
    with pytest.raises(AssetError, match=re.escape(f"{moved} (--base) has none either")):
        convert.inspect(run, base=moved)


@pytest.mark.parametrize(
    ("given", "error"), [("gone", UsageError), ("run/model.pt", UsageError), ("empty", ConfigError)]
)
def test_a_base_that_is_none_is_one_line(tmp_path: Path, run: Path, given: str, error: type[MlxFunasrError]):
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=r"^--base: "):
        convert.inspect(run, base=tmp_path / given)


def test_a_base_that_is_not_needed_is_said(base: Path):
    assert any("nothing was missing" in note for note in convert.inspect(MODEL, base=base).notes)


def test_weights_beside_a_base_need_no_config_of_their_own(tmp_path: Path, base: Path):
    (tmp_path / "averaged").mkdir()
    (tmp_path / "averaged" / "model.pt.avg10").symlink_to(MODEL / "model.pt")
    with pytest.raises(ConfigError, match="--base"):
        convert.inspect(tmp_path / "averaged" / "model.pt.avg10")
    report = convert.inspect(tmp_path / "averaged" / "model.pt.avg10", base=base)
    assert f"config: config.yaml of {base} (--base)" in report.notes


def test_the_weights_that_training_began_with_never_replace_those_of_the_folder(run: Path, base: Path):
    (run / "configuration.json").unlink()  # then FunASR takes config.yaml's init_param, where it exists
    assert any(f"would load {base / 'model.pt'} here" in note for note in convert.inspect(run).notes)
    (run / "model.pt").rename(run / "model.pt.avg5")
    report = convert.inspect(run)
    assert "model.pt.avg5" in report.sha256
    (run / "model.pt.avg5").unlink()
    assert str(base / "model.pt") in convert.inspect(run).sha256


@pytest.mark.parametrize("key", ["cmvn_file", "token_list"])
def test_only_files_of_the_kind_are_followed(tmp_path: Path, run: Path, key: str):
    (tmp_path / "secret").write_text("root:x:0:0\n", "utf-8")
    section = "frontend_conf" if key == "cmvn_file" else "tokenizer_conf"
    for value, says in (
        (str(tmp_path / "secret"), "begins with b'root:"), (str(tmp_path), "no file of that kind"),
        ("/dev/zero", "no file of that kind"), (f"{tmp_path}/x/../base/am.mvn", "outside the model directory"),
        ("../base/am.mvn", "outside the model directory"), (f"/{'x' * 300}/am.mvn", "cannot be read|not there"),
    ):  # fmt: skip
        change_config(run, **{section: {key: value}})
        with pytest.raises(AssetError, match=says) as caught:
            convert.inspect(run)
        assert "\n" not in str(caught.value)


def test_a_download_never_leads_outside(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch):
    from convert import hub

    monkeypatch.setattr(hub, "download", lambda reference, _=(): hub.Snapshot(directory=run, reference=reference))
    with pytest.raises(AssetError, match="outside the model directory"):
        convert.inspect("iic/trained")


def test_files_that_configuration_json_names_in_vain_are_config_yamls(run: Path, base: Path):
    document = json.loads((MODEL / "configuration.json").read_text("utf-8"))
    configuration(run, document)
    assert str(base / "am.mvn") in convert.inspect(run).sha256
    shutil.copy(base / "am.mvn", run / "am.mvn")
    assert "am.mvn" in convert.inspect(run).sha256
