"""Hotwords as traces carry them. Oracle: FunASR's own splitting, mirrored in decoding/hotwords.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlx_model.decoding.hotwords import words_of
from parity.sides.hotwords import carried, of_funasr, of_ours


@pytest.mark.parametrize(
    "words",
    [["阿里", "通义"], ["阿里", "new york"], [], ["http"], ["a.txt"], ["b", "list.txt"], ["x" * 5000, "两 个 词"]],
)
def test_both_sides_are_given_the_list_that_was_meant(words: list[str], tmp_path: Path):
    options = {"hotwords": carried(words), "clas_scale": 0.7}
    assert json.loads(json.dumps(options)) == options  # as a trace keeps it
    theirs = of_funasr(options, tmp_path)
    assert words_of(theirs["hotwords"], as_funasr=True) == tuple(words)
    ours = of_ours(options)
    assert words_of(ours["hotwords"], as_funasr=True) == tuple(words)
    assert theirs["clas_scale"] == ours["clas_scale"] == 0.7


def test_plain_words_travel_as_funasr_takes_them(tmp_path: Path):
    assert carried(("阿里", "通义")) == "阿里 通义"
    assert of_funasr({"hotword": "阿里 通义"}, tmp_path) == {"hotword": "阿里 通义"}
    assert not [*tmp_path.iterdir()]
