"""`convert` put a model's name into README.md as it was: markup in it ran, a line of it could end the front matter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

import convert
from parity.demo import MODEL

NAMES = [
    "<script>alert(6)</script>\n---\nlicense: mit",
    "x\n---\n# other",
    "[x](javascript:alert(1)) `y` | z",
    "n" * 10_000,
    "\u202egnp\u202c\x1b[31m\x00",
    "iic/x\nbase_model: y/z",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_the_card_stays_ours(tmp_path: Path, name: str):
    source = tmp_path / "source"
    shutil.copytree(MODEL, source)
    (source / "configuration.json").write_text(json.dumps({"model_name_in_hub": {"ms": name, "hf": ""}}), "utf-8")
    report = convert.convert(source, tmp_path / "out")
    assert report.name == name
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    empty, front, body = card.split("---\n", 2)
    fields = yaml.safe_load(front)
    assert (empty, fields["license"]) == ("", "unknown")
    assert fields.keys() == {"library_name", "pipeline_tag", "license", "tags"}
    assert "<" not in body
    assert "---" not in body.splitlines()
    assert "](javascript" not in body
    assert next(line for line in body.splitlines() if line.startswith("# ")).endswith(" (MLX, float32)")
    assert max(len(line) for line in body.splitlines()) < 2000
    assert not set(card) & {"\x00", "\x1b", "\u202e", "\u202c"}
