"""A family is whole or it is not there: all that convert/README.md lists exists, for every family of the list."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from types import ModuleType

import pytest

from convert.architectures import TABLES, UNSUPPORTED, _table
from mlx_model import families
from mlx_model.config import config_class
from mlx_model.families import FAMILIES, module_of
from parity import facts
from parity.decisions.base import Decisions
from parity.families import by_name
from parity.families.family import Family
from parity.faults import Fault
from parity.layers.invariance import ROWS
from parity.sides.candidate import Candidate
from parity.sides.reference import Reference
from parity.taps.tapset import load_tapset
from tests.conftest import ROOT

NAMES = sorted(FAMILIES)
# One folder each for what is found by a family's name -> what in it is no family's.
FOLDERS = {
    "mlx_model/config": {"chunking", "parts", "sections", "speaker_networks"},
    "mlx_model/models": set[str](),
    "convert/architectures": {"family"},
    "parity/families": {"family"},
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_holds_the_families_of_the_list_and_no_other(folder: str):
    found = {path.stem for path in (ROOT / folder).iterdir() if path.suffix in ("", ".py")}
    assert found - FOLDERS[folder] - {"__init__", "__pycache__"} == {*FAMILIES}


@pytest.mark.parametrize("name", NAMES)
def test_model_configuration_and_table(name: str):
    config = config_class(name)
    (choices,) = [item.metadata["choices"] for item in dataclasses.fields(config) if item.name == "model_type"]
    assert choices == (name,)
    assert inspect.isclass(module_of("mlx_model.models", name).Model)
    (table,) = [row for row in TABLES if row.name == name]
    assert (table.config, table.funasr_class) == (config, FAMILIES[name])
    assert FAMILIES[name] not in UNSUPPORTED
    assert by_name(name).name == name


def test_the_list_gives_no_class_to_two_families():
    assert len(set(FAMILIES.values())) == len(FAMILIES) == len(TABLES)


def test_a_missing_piece_is_named_as_such():
    for package in ("mlx_model.config", "mlx_model.models", "convert.architectures", "parity.families"):
        with pytest.raises(LookupError, match=rf"'unwritten' stands in .*families.py, but there is no {package}\.unwr"):
            module_of(package, "unwritten")


def test_a_piece_that_lacks_a_dependency_is_not_called_missing(monkeypatch: pytest.MonkeyPatch):
    def fails(name: str) -> None:
        raise ModuleNotFoundError("No module named 'sentencepiece'", name="sentencepiece")

    monkeypatch.setattr(families.importlib, "import_module", fails)
    with pytest.raises(ModuleNotFoundError, match="sentencepiece"):
        module_of("mlx_model.models", "paraformer")


@pytest.mark.parametrize(
    ("package", "find", "said"),
    [("mlx_model.config", config_class, "mlx_model.config.hollow defines 0 subclasses of ModelConfig, expected one"),
     ("convert.architectures", _table, "convert/architectures/hollow.py: no TABLE that is the Family 'hollow'")],
)  # fmt: skip
def test_a_hollow_piece_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch, package: str, find, said: str):
    monkeypatch.setitem(sys.modules, f"{package}.hollow", ModuleType(f"{package}.hollow"))
    with pytest.raises(LookupError, match=re.escape(said)):
        find("hollow")


@pytest.mark.parametrize("name", NAMES)
def test_pieces_of_a_comparison(name: str):
    family = by_name(name)
    assert isinstance(family, Family)
    for what, base in (("candidate", Candidate), ("decisions", Decisions), ("reference", Reference)):
        piece = family.piece(what)
        assert issubclass(piece, base), what
        assert not inspect.isabstract(piece), what
    faults = family.seeded()
    assert len({fault.name for fault in faults}) == len(faults) >= 12
    assert all(isinstance(fault, Fault) for fault in faults)
    assert {*family.facts} <= {*facts.FACTS}
    assert {*family.invariance} <= {*ROWS}


@pytest.mark.parametrize("name", NAMES)
def test_tap_set(name: str):
    tapset = load_tapset(name)
    assert tapset.family == name
    assert {"fbank", "feats"} <= {label for tap in tapset.taps if tap.kind == "frontend" for label in tap.name}
    assert any(tap.introduced for tap in tapset.taps)
    assert all(tap.reason for tap in tapset.taps)


@pytest.mark.parametrize("folder", ["mlx_model", "mlx_model/pipelines", "convert", "parity", "parity/layers"])
def test_nothing_asks_for_a_family_by_name(folder: str):
    """Beside the tables no code compares with a family's name or class: such a chain grows with every family."""
    for file in (ROOT / folder).glob("*.py"):
        text = file.read_text("utf-8")
        for name in [*FAMILIES, *FAMILIES.values()]:
            asked = re.search(rf'([=!]=|case|in \(|in \{{)\s*"{name}"|"{name}"\s*[=!]=', text)
            assert asked is None, f"{file.relative_to(ROOT)} asks for {name}"
