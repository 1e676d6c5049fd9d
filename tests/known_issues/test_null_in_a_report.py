"""`mlx-funasr report .` ended in a TypeError traceback where fields of a cer.json were null."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mlx_funasr
from mlx_model.errors import UsageError
from reports import render
from reports.schema import ConversionReport, to_dict

GOOD = ConversionReport(
    family="paraformer", source="s", output=None, parameters=1, converted_parameters=1, tensors=[], sha256={},
    options={}, config={},
)  # fmt: skip
NULLS = dict.fromkeys(("cer", "ci95", "hits", "model", "normalizer_steps"))


def put(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), "utf-8")
    return path


def report(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(mlx_funasr.app, ["report", *map(str, words)])
    if isinstance(done.exception, UsageError):
        return 2, "", str(done.exception)
    return done.exit_code, done.stdout, done.stderr


def test_the_file_and_the_field_are_named(tmp_path: Path) -> None:
    put(tmp_path / "conversion.json", {**to_dict(GOOD), "tensors": None})
    assert report(tmp_path) == (2, "", f"{tmp_path}/conversion.json: conversion/1.tensors is null; expected a list")
    put(tmp_path / "conversion.json", {"schema": "cer/1", **NULLS})
    code, _, line = report(tmp_path)
    assert (code, line.partition(": ")[0]) == (2, f"{tmp_path}/conversion.json")


def test_the_other_reports_are_rendered_and_the_exit_code_is_1(tmp_path: Path) -> None:
    put(tmp_path / "good" / "conversion.json", to_dict(GOOD))
    bad = put(tmp_path / "bad" / "cer.json", {"schema": "cer/1", **NULLS})
    code, printed, said = report(tmp_path)
    assert (code, printed.split()) == (1, [str(tmp_path / "good" / "conversion.html")])
    assert "".join(said.split()).startswith("".join(f"not rendered: {bad}: cer/1: field".split()))
    code, printed, _ = report(tmp_path, "--json")
    assert (code, len(json.loads(printed)["refused"])) == (1, 1)


@pytest.mark.parametrize("name", ["x" * 300, "loop"])
def test_names_that_lead_nowhere_are_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    code, _, line = report(tmp_path / name)
    assert code == 2
    assert line.startswith(f"{tmp_path / name} cannot be read: ")


def test_a_loop_and_a_folder_called_as_a_report_do_not_stop_the_others(tmp_path: Path) -> None:
    put(tmp_path / "good" / "conversion.json", to_dict(GOOD))
    (tmp_path / "cer.json").mkdir()
    (tmp_path / "parity.json").symlink_to("parity.json")
    refused: list[str] = []
    assert render.render_all([tmp_path], refused) == [tmp_path / "good" / "conversion.html"]
    assert [line.partition(" cannot")[0] for line in refused] == [str(tmp_path / "parity.json")]
