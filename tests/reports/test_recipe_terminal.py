"""What `quantize --budget` prints, against a document written by hand."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from reports.recipe_terminal import show_recipe


def document(**more: Any) -> dict[str, Any]:
    """A recipe of three layers, of which the second minds most; numbers are made up."""
    return {
        "size_mb": 25.0, "full_size_mb": 100.0, "measured": {"tokens": 3.0, **more},
        "uniform": [{"bits": None, "size_mb": 100.0, "tokens": 0.0, **more},
                    {"bits": 4, "size_mb": 20.0, "tokens": 41.0, **more}],
        "errors": {"encoder.a": {"4": 0.5, "8": 0.01}, "encoder.b": {"4": 2.0, "8": 0.02},
                   "decoder.c": {"4": 0.125, "8": 0.03}},
    }  # fmt: skip


def printed(found: dict[str, Any]) -> list[list[str]]:
    stream = io.StringIO()
    show_recipe(found, Console(file=stream, width=120))
    return [line.replace("│", " ").split() for line in stream.getvalue().splitlines()]


def test_every_precision_and_the_recipe_have_a_row() -> None:
    rows = printed(document())
    assert ["as", "converted", "100.0", "1.000", "0", "-"] in rows
    assert ["4", "bits", "everywhere", "20.0", "0.200", "41", "-"] in rows
    assert ["this", "recipe", "25.0", "0.250", "3", "-"] in rows


def test_error_rates_stand_with_their_standard_error() -> None:
    assert ["this", "recipe", "25.0", "0.250", "3", "+0.12", "±0.05"] in printed(document(cer=0.12, cer_se=0.05))


def test_the_layers_that_mind_most_come_first() -> None:
    last = " ".join(printed(document())[-1])
    assert last == "Error at the logits, alone in 4 bits: encoder.b 2, encoder.a 0.5, decoder.c 0.12"
