"""The terminal tables and the Markdown summary: facts, order, narrow and plain output, hostile texts."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import pytest
import report_samples as samples
from rich.console import Console
from test_pages import hostile

from reports import terminal
from reports.markdown import markdown


def shown(report: Any, *, width: int = 120, full: bool = False) -> str:
    stream = io.StringIO()
    terminal.show(report, Console(file=stream, width=width), full=full)
    return stream.getvalue()


def test_parity_puts_failures_first_and_the_verdict_last() -> None:
    lines = shown(samples.parity()).splitlines()
    assert lines[2].startswith("decoder.decoders.15")
    assert "7.16e-02" in lines[2]
    assert "412.00×" in lines[2]
    assert lines[2].endswith("✕ fail")
    assert lines[-1] == "✕ FAIL: 16 of 20 taps passed; first failure: decoder.decoders.15"
    assert "  reference 为了规避三四线城市明显过剩的市场风险" in lines


def test_pass_is_the_last_line() -> None:
    assert shown(samples.parity(failing=False)).splitlines()[-1] == "✓ PASS: 20 of 20 taps passed"


def test_long_lists_of_passes_are_counted_unless_full() -> None:
    report = samples.parity()
    long = dataclasses.replace(report, taps=report.taps * 3)
    assert "and 30 more taps that passed" in shown(long)
    assert shown(long).count("✕ fail") == 12  # every failure is listed, whatever their number
    assert shown(long, full=True).count("✓ pass") == 48


def test_failed_structure_facts_are_told() -> None:
    fact = {"fact": "LayerNorm eps is 1e-12 in all 3 norms", "status": "fail", "where": ["encoder.after_norm"]}
    report = dataclasses.replace(samples.parity(failing=False), structure=[fact])
    assert "structure: fact LayerNorm eps is 1e-12 in all 3 norms; status fail; where encoder.after_norm" in shown(
        report
    )


def test_conversion_folds_layers_unless_full() -> None:
    assert "encoder.encoders.{0..7}.*" in shown(samples.conversion())
    assert "training only: the CTC head is not used in decoding" in " ".join(shown(samples.conversion()).split())
    full = shown(samples.conversion(), full=True)
    assert all(row.source in full for row in samples.conversion().tensors)


def test_bench_shows_both_sides() -> None:
    text = shown(samples.bench())
    assert all(fact in text for fact in ("41.20 ms", "0.31", "133.10 ms", "funasr", "1,904"))


@pytest.mark.parametrize("name", sorted(samples.ALL))
@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    terminal.show(samples.ALL[name](), console)
    assert max(console.measure(line).maximum for line in stream.getvalue().splitlines()) <= width


@pytest.mark.parametrize("name", sorted(samples.ALL))
def test_hostile_texts_neither_colour_nor_move_the_cursor(name: str) -> None:
    text = shown(hostile(samples.ALL[name]()))
    assert not {"\x1b", "\u202e", "\x07"} & set(text)
    assert "␛" in text


def test_rich_markup_is_text() -> None:
    report = dataclasses.replace(samples.bench(), command="[red]x[/red] [link=http://example.org]y[/link]")
    assert "[red]x[/red] [link=http://example.org]y[/link]" in shown(report)


def test_other_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="not a report: dict"):
        shown({})


def test_markdown_holds_the_outcome_and_the_failures() -> None:
    text = markdown(samples.parity())
    assert text.startswith("## Parity report\n\n**FAIL: 16 of 20 taps passed; first failure: decoder.decoders.15**\n")
    assert "| decoder.decoders.15 | fail | 7.16e-02 | 6.51e-03 | 1.58e-05 | 412.00× | 16.00× |" in text
    assert "frontend.fbank" not in text
    assert "| conv1d | 8 |" in markdown(samples.conversion())
    assert "| one utterance, 5 s | mlx | 41.20 ms | 0.31 |" in markdown(samples.bench())


@pytest.mark.parametrize("name", sorted(samples.ALL))
def test_markdown_of_hostile_texts_is_text(name: str) -> None:
    text = markdown(hostile(samples.ALL[name]()))
    assert "<" not in text
    report = dataclasses.replace(samples.bench(), notes=["![x](http://example.org/x.png) | `y`\n# z"])
    assert "\\!\\[x\\]\\(http://example.org/x.png\\) \\| \\`y\\`␊\\# z" in markdown(report)


def test_markdown_calls_nobody_by_name() -> None:
    """GitHub tells whoever is called `@name`; as an entity it reads the same and calls nobody."""
    report = dataclasses.replace(samples.bench(), notes=["@somebody #1 [red]x[/red]"])
    assert markdown(report).splitlines()[-1] == r"- &#64;somebody \#1 \[red\]x\[/red\]"
