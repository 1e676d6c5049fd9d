"""A family is whole or it is not there: every piece that convert/README.md lists exists, for every family."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re

import pytest

from convert.architectures import FAMILIES as TABLES
from convert.architectures import UNSUPPORTED
from mlx_model.loading import FAMILIES as CONFIGS
from parity.decisions.outcomes import Outcomes
from parity.families import FAMILIES as PARITY
from parity.families import by_name
from parity.faults import Fault
from parity.sides.recording import Recorder
from parity.sides.runner import Runner
from parity.taps.tapset import FOLDER, load_tapset
from tests.conftest import ROOT

NAMES = sorted({*CONFIGS, *(row.name for row in TABLES), *(row.name for row in PARITY)})
DOCS = ("README.md", "convert/README.md", "parity/README.md", "mlx_model/README.md", "CHANGELOG.md")


def test_two_families():
    assert NAMES == ["fsmn_vad_streaming", "paraformer"]


@pytest.mark.parametrize("name", NAMES)
def test_model_configuration_and_table(name: str):
    (table,) = [row for row in TABLES if row.name == name]
    assert CONFIGS[name] is table.config
    assert inspect.isclass(importlib.import_module(table.mlx_module).Model)
    assert table.mlx_module == f"mlx_model.models.{name}"
    assert table.funasr_class not in UNSUPPORTED
    assert by_name(name).funasr_class == table.funasr_class


@pytest.mark.parametrize("name", NAMES)
def test_pieces_of_a_comparison(name: str):
    family = by_name(name)
    for what, base in (("runner", Runner), ("outcomes", Outcomes), ("recorder", Recorder)):
        piece = family.piece(what)
        assert issubclass(piece, base), what
        assert not inspect.isabstract(piece), what
    faults = family.piece("faults")
    assert len(faults) >= 12
    assert all(isinstance(fault, Fault) for fault in faults)


@pytest.mark.parametrize("name", NAMES)
def test_tap_set(name: str):
    tapset = load_tapset(name)
    assert tapset.family == name
    assert {"fbank", "feats"} <= {label for tap in tapset.taps if tap.kind == "frontend" for label in tap.name}
    assert any(tap.isolate for tap in tapset.taps)
    assert all(tap.reason for tap in tapset.taps)
    assert {path.stem for path in FOLDER.glob("*.toml")} == {*NAMES}


@pytest.mark.parametrize("path", DOCS)
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_documents_name_it(path: str, table):
    assert table.funasr_class in (ROOT / path).read_text("utf-8"), f"{path} does not speak of {table.funasr_class}"


@pytest.mark.parametrize("folder", ["parity/layers", "convert", "parity"])
def test_nothing_asks_for_a_family_by_name(folder: str):
    """Beside the tables no code compares with a family's name or class: such a chain grows with every family."""
    for file in (ROOT / folder).glob("*.py"):
        text = file.read_text("utf-8")
        for name in [*NAMES, *(row.funasr_class for row in PARITY)]:
            asked = re.search(rf'([=!]=|case|in \(|in \{{)\s*"{name}"|"{name}"\s*[=!]=', text)
            assert asked is None, f"{file.relative_to(ROOT)} asks for {name}"


def test_a_table_names_every_piece():
    fields = {field.name for field in dataclasses.fields(PARITY[0])}
    assert fields == {"name", "funasr_class", "runner", "outcomes", "recorder", "faults"}
