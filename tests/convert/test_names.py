"""FunASR's short names. Oracle: the maps of the installed FunASR, read from its file without importing the package."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

import mlx_funasr
from convert.hub import parse
from convert.names import CLASSES, HUGGING_FACE, MODELSCOPE, list_models
from mlx_model.errors import UsageError
from mlx_model.families import FAMILIES


@pytest.mark.reference
def test_they_are_those_of_the_installed_funasr():
    package = importlib.util.find_spec("funasr")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "download" / "name_maps_from_hub.py"
    spec = importlib.util.spec_from_file_location("name_maps_from_hub", path)
    assert spec is not None
    assert spec.loader is not None
    maps = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maps)
    assert maps.name_maps_ms == MODELSCOPE
    assert maps.name_maps_hf == HUGGING_FACE


@pytest.mark.parametrize(("prefix", "names"), [("", MODELSCOPE), ("ms:", MODELSCOPE), ("hf:", HUGGING_FACE)])
def test_every_name_is_taken_for_the_repository_that_funasr_takes_it_for(prefix: str, names: dict[str, str]):
    for name, repository in names.items():
        found = parse(prefix + name)
        assert found is not None, name
        assert (found.hub, found.name, found.short) == (prefix[:2] or "ms", repository, name)
        assert found.revision == (None if prefix == "hf:" else "master")


@pytest.mark.reference
def test_the_classes_are_funasrs():
    """Each is registered by the installed FunASR; its files are read, not imported."""
    package = importlib.util.find_spec("funasr")
    assert package is not None
    assert package.origin is not None
    files = (Path(package.origin).parent / "models").rglob("*.py")
    said = "".join(file.read_text("utf-8") for file in files)
    registered = set(re.findall(r'register\("model_classes", "([^"]+)"\)', said))
    assert {*CLASSES.values()} <= registered


def test_every_name_is_listed_with_what_becomes_of_it(capsys: pytest.CaptureFixture[str]):
    assert [row.name for row in list_models()] == list(MODELSCOPE)
    assert {row.name for row in list_models()} == {name for name in HUGGING_FACE if "/" not in name} | {
        "paraformer-en-spk"
    }
    assert mlx_funasr.app(["inspect", "--list-models", "--json"], standalone_mode=False) in (0, None)
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "models/1"
    rows = {row["name"]: row for row in document["models"]}
    assert rows["paraformer"] == {
        "name": "paraformer", "modelscope": MODELSCOPE["paraformer"], "hugging_face": "funasr/paraformer-zh",
        "funasr_class": "Paraformer", "family": "paraformer",
    }  # fmt: skip
    assert rows["paraformer-en-spk"]["hugging_face"] is None
    assert rows["Qwen-Audio"]["family"] is None
    for row in rows.values():
        assert row["family"] is None or FAMILIES[row["family"]] == row["funasr_class"]
    assert mlx_funasr.app(["inspect", "--list-models"], standalone_mode=False) in (0, None)
    table = capsys.readouterr().out
    assert all(name in table for name in MODELSCOPE)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "SRC is missing"),
        (["somewhere", "--list-models"], "SRC has no meaning beside --list-models"),
        (["--list-models", "--full", "--base", "x"], "--base, --full has no meaning"),
    ],
)
def test_a_list_and_a_source_are_not_asked_for_at_once(words: list[str], says: str):
    with pytest.raises(UsageError, match=says):
        mlx_funasr.app(["inspect", *words], standalone_mode=False)
