"""Formatting, alignment, folding and pictures, against values worked out by hand."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest
import report_samples as samples
from hypothesis import given
from hypothesis import strategies as st

from reports import charts, fold
from reports import formatting as fmt
from reports.schema import TensorRow

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (fmt.rate, 0.0543, "5.43%"), (fmt.rate, 0.0, "0.00%"), (fmt.rate, 1.5, "150.00%"), (fmt.rate, None, "—"),
        (fmt.rate, math.inf, "∞"), (fmt.error, 1.2345e-6, "1.23e-06"), (fmt.error, 0.0, "0"),
        (fmt.error, math.nan, "NaN"),
        (fmt.multiple, 1.234, "1.23×"), (fmt.multiple, 12345.0, "1.23e+04×"), (fmt.count, 220518212, "220,518,212"),
        (fmt.count, None, "—"), (fmt.seconds, 0.0412, "41.20 ms"), (fmt.seconds, 4.2e-5, "42.00 µs"),
        (fmt.seconds, 12.3, "12.30 s"), (fmt.seconds, 0.0, "0.00 s"), (fmt.interval, [0.01, 0.02], "1.00% to 2.00%"),
        (fmt.shape, [512, 1, 11], "512 × 1 × 11"), (fmt.shape, [], "scalar"), (fmt.plain, True, "yes"),
        (fmt.plain, [1, 2], "1, 2"), (fmt.plain, [], "none"), (fmt.plain, {}, "{}"), (fmt.reading, 0.1, "0.1"),
        (fmt.visible, "a\x1b[31m\n\u202eb\ud800", "a␛[31m␊\ufffdb\ufffd"), (fmt.language, "今天", "zh-Hans"),
        (fmt.language, "きょう", "ja"), (fmt.language, "오늘", "ko"), (fmt.language, "today", ""),
    ],
)  # fmt: skip
def test_formats(function, value, text) -> None:
    assert function(value) == text


def test_discrete_differences_are_counts() -> None:
    assert fmt.tap_difference(3.0, None) == "3"
    assert fmt.tap_difference(3.0, 0.1) == "3.00e+00"
    assert fmt.tap_difference(math.nan, None) == "NaN"


@pytest.mark.parametrize(
    ("pair", "letter"), [(["a", "a"], ""), (["a", "b"], "S"), (["a", None], "D"), ([None, "b"], "I")]
)
def test_operation_letters(pair, letter) -> None:
    assert fmt.operation(pair) == letter


@given(st.text(max_size=30), st.text(max_size=30))
def test_alignment_loses_no_character(reference: str, candidate: str) -> None:
    pairs = fmt.align(reference, candidate)
    assert "".join(left or "" for left, _ in pairs) == reference
    assert "".join(right or "" for _, right in pairs) == candidate
    assert any(fmt.operation(pair) for pair in pairs) == (reference != candidate)


def _rows(*names: str, op: str = "copy", shape: list[int] | None = None) -> list[TensorRow]:
    return [
        TensorRow(source=name, target=name, op=op, shape=shape or [4], dtype="float32", reason="") for name in names
    ]


def test_layers_fold_into_ranges() -> None:
    folds = fold.by_pattern(_rows(*(f"e.{n}.w" for n in (0, 1, 2, 5)), "e.weight"))
    assert [(row.source, row.target, row.tensors) for row in folds] == [
        ("e.{0..2,5}.w", "e.{0..2,5}.w", 4),
        ("e.weight", "e.weight", 1),
    ]


def test_a_pattern_claims_no_absent_tensor() -> None:
    names = ["e.0.x.0", "e.0.x.1", "e.1.x.0"]  # e.1.x.1 is not there, so e.{0..1}.x.{0..1} would be a lie
    assert [row.source for row in fold.by_pattern(_rows(*names))] == names


def test_layers_of_another_shape_stay_apart() -> None:
    rows = _rows("e.0.w", shape=[8]) + _rows("e.1.w", "e.2.w")
    assert [(row.source, row.shape) for row in fold.by_pattern(rows)] == [("e.0.w", [8]), ("e.{1..2}.w", [4])]


@given(st.lists(st.from_regex(r"[ab](\.[0-3]){0,2}\.[wx]", fullmatch=True), unique=True))
def test_folding_keeps_count(names: list[str]) -> None:
    rows = _rows(*names)
    for folds in (fold.by_pattern(rows), fold.by_layer(rows)):
        assert sum(row.tensors for row in folds) == len(names)


def test_stacks_fold_for_the_terminal() -> None:
    folds = fold.by_layer(samples.conversion().tensors)
    assert [(row.source, row.op, row.tensors) for row in folds] == [
        ("encoder.embed.weight", "copy", 1),
        ("encoder.encoders.{0..7}.*", "copy", 24),
        ("encoder.encoders.{0..7}.self_attn.fsmn_block.weight", "conv1d", 8),
        ("ctc.ctc_lo.weight", "drop", 1),
    ]


def _svg(text: str) -> ET.Element:
    return ET.fromstring(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def _place(point: charts.Point) -> float:
    svg = _svg(charts.ratio_chart([point, charts.Point("z", 100.0, 1.0, False), charts.Point("a", 0.2, 1.0, True)]))
    return float(next(svg.iter(f"{SVG}circle")).get("cy", "nan"))


def test_ratio_axis_is_logarithmic() -> None:
    heights = [_place(charts.Point("x", ratio, 1.0, True)) for ratio in (0.1, 1.0, 10.0, 100.0)]
    steps = [upper - lower for lower, upper in zip(heights[1:], heights, strict=False)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.11)  # one decade, one step; coordinates have one decimal
    assert steps[0] > 0


def test_failures_are_crosses_and_discrete_taps_stand_below() -> None:
    points = [
        charts.Point("a", 1.0, 8.0, True),
        charts.Point("b", None, None, True),
        charts.Point("c", 9.0, 8.0, False),
    ]
    svg = _svg(charts.ratio_chart(points))
    dots = [float(dot.get("cy", "nan")) for dot in svg.iter(f"{SVG}circle")]
    assert dots[1] > dots[0]
    crosses = [path for path in svg.iter(f"{SVG}path") if path.get("class") == "mark fail"]
    assert len(crosses) == 1
    assert crosses[0][0].text == "c: 9.00× of the floor, tolerance 8.00×"


NUMBERS = st.none() | st.floats()
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.lists(st.builds(charts.Point, NAMES, NUMBERS, NUMBERS, st.booleans()), min_size=1, max_size=40))
def test_any_points_draw_well_formed_finite_svg(points: list[charts.Point]) -> None:
    text = charts.ratio_chart(points)
    _svg(text)
    marks = [mark for mark in _svg(text).iter() if "mark" in (mark.get("class") or "")]
    assert len(marks) == len(points)
    assert not {"nan", "inf"} & {mark.get("cy") for mark in marks}


@given(st.lists(st.builds(charts.Bar, NAMES, NAMES, st.floats(), st.floats(), st.floats(), NAMES), max_size=5))
def test_any_bars_draw_well_formed_svg(rows: list[charts.Bar]) -> None:
    svg = _svg(charts.bars(rows))
    assert all(math.isfinite(float(rect.get("width", "nan"))) for rect in svg.iter(f"{SVG}rect"))


def test_many_taps_keep_the_picture_wide_enough() -> None:
    points = [charts.Point(f"encoder.encoders.{n}", 1.0 + n / 100, 8.0, True) for n in range(300)]
    svg = _svg(charts.ratio_chart(points))
    places = [float(dot.get("cx", "nan")) for dot in svg.iter(f"{SVG}circle")]
    assert len(places) == 300
    assert 0 < min(places) < max(places) < charts.WIDTH
