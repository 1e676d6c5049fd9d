"""Reports that somebody damaged: every field of every kind null, of another type, absurd or gone.

The oracle is the contract: one line that names the field, or a page, a summary and tables; nothing else.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import report_samples as samples
from rich.console import Console

from reports import render, schema, terminal
from reports.checking import read_json
from reports.markdown import markdown

GONE = object()
VALUES = [None, "[red]x[/]", True, 3, -1, [], [[]], {}, {"a": None}, "nan", 1e308, 2**70, float("nan"), GONE]


def trimmed(value: Any) -> Any:
    """Two entries of every list are enough to damage one."""
    if isinstance(value, dict):
        return {key: trimmed(item) for key, item in value.items()}
    return [trimmed(item) for item in value[:2]] if isinstance(value, list) else value


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every field, the first entry of every list standing for all."""
    if path:
        yield path
    items = node.items() if isinstance(node, dict) else enumerate(node[:1]) if isinstance(node, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def damaged(document: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    found = copy.deepcopy(document)
    node: Any = found
    for step in path[:-1]:
        node = node[step]
    if value is GONE:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return found


def show(report: Any) -> None:
    render.page(report).encode()
    markdown(report).encode()
    terminal.show(report, Console(file=io.StringIO(), width=80), full=True)


@pytest.mark.parametrize("name", sorted(samples.ALL))
def test_a_damaged_field_is_refused_in_one_line_or_shown(name: str) -> None:
    document = trimmed(schema.to_dict(samples.ALL[name]()))
    show(schema.from_dict(document))
    refused: list[str] = []
    for path in places(document):
        for value in VALUES:
            try:
                report = schema.from_dict(damaged(document, path, value))
            except ValueError as error:
                refused.append(str(error))
                continue
            try:
                show(report)
            except (TypeError, KeyError, IndexError, AttributeError, ArithmeticError, jinja2.TemplateError) as error:
                pytest.fail(f"{path} = {value!r}: {type(error).__name__}: {error}")
    assert len(refused) > len(document)  # or nothing was damaged at all
    assert [line for line in refused if "\n" in line or len(line) > 300] == []


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cer", None, r"^cer/1\.cer is null; expected a number$"),
        ("cer", "5 %", r"^cer/1\.cer is the string '5 %'; expected a number$"),
        ("hits", 1.5, r"^cer/1\.hits is the number 1\.5; expected a whole number$"),
        ("hits", True, r"^cer/1\.hits is true; expected a whole number$"),
        ("hits", -1, r"^cer/1\.hits is -1; expected a whole number from 0 on"),
        ("hits", 10**400, r"^cer/1\.hits is 10+\.\.\.; expected a whole number from 0 on"),
        ("cer", float("inf"), r"^cer/1\.cer is inf, which is no number of JSON"),
        ("ci95", [0.1], r"^cer/1\.ci95 has 1 numbers; expected \[low, high\]$"),
        ("notes", ["a", None], r"^cer/1\.notes\[1\] is null; expected a string$"),
        ("worst", [{"utt_id": "a"}], r"^cer/1\.worst\[0\]: field 'reference' is missing$"),
        ("environment", {"a": [float("nan")]}, r"^cer/1\.environment\.a\[0\] is nan, which is no number"),
        ("extra", 1, r"^cer/1: unknown field 'extra'$"),
        ("schema", ["cer/1"], r"^not a report of this version: schema is \['cer/1'\], expected one of bench/1, "),
    ],
)
def test_what_is_wrong_is_named(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        schema.from_dict({**schema.to_dict(samples.cer()), field: value})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON: it is empty"),
        (b'{"schema": "cer/1", "cer"', "is not JSON: Expecting ':' delimiter"),
        (b"[" * 100_000, "is not usable JSON: nested too deeply"),
        (b"1" * 5000, "is not usable JSON: a number is too long"),
        ("{}".encode("utf-16"), "is not UTF-8 text"),
    ],
)
def test_json_that_breaks_its_reader_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "cer.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        schema.read(path)
    assert str(caught.value).startswith(str(path))


def test_a_byte_order_mark_is_passed_over_and_a_folder_is_none(tmp_path: Path) -> None:
    path = tmp_path / "cer.json"
    path.write_text("\ufeff" + json.dumps(schema.to_dict(samples.cer())), "utf-8")
    assert schema.read(path) == samples.cer()
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        read_json(tmp_path)
    with pytest.raises(ValueError, match="cannot be read: File name too long"):
        read_json(tmp_path / ("x" * 300))
