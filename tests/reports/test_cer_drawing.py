"""Aligned columns, pictures of error rates, their tables on the terminal: against values worked out by hand."""

from __future__ import annotations

import dataclasses
import io
import math
import xml.etree.ElementTree as ET

import cer_samples
import pytest
import report_samples as samples
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from test_terminal import shown

from reports import aligning, calibration_charts, cer_charts, terminal
from reports import formatting as fmt
from reports.markdown import markdown
from reports.schema.cer import Bin, Calibration, CalibrationBin, CerGroup, PairedGroup

SVG = "{http://www.w3.org/2000/svg}"
NUMBERS = st.floats()
SAME = samples.same()


def drawn(text: str) -> ET.Element:
    return ET.fromstring(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def told(text: str, tag: str = "title") -> list[str]:
    return [found.text or "" for found in drawn(text).iter(f"{SVG}{tag}")]


def lines(block: aligning.Block) -> list[list[str]]:
    """The reference, then each hypothesis with the letter of its error."""
    rows = [[column.reference or "·" for column in block.columns]]
    for place in range(len(block.labels) - 1):
        parts = [column.parts[place] for column in block.columns]
        rows.append([f"{part.op}{part.text or '·'}" for part in parts])
    return rows


@pytest.mark.parametrize(
    ("unit", "pairs", "expected"),
    [
        ("char", [["三四", "三四"], ["线", "县"], ["过", None], [None, "剩"]], ["三 四 线 过 ·", "三 四 S县 D· I剩"]),
        ("char", [["打开WIFI吧", "打开WIFI吧"]], ["打 开 WIFI 吧", "打 开 WIFI 吧"]),
        ("char", [["LO", "LO"], ["F", None], ["T", "T"]], ["LO F T", "LO D· T"]),
        ("word", [["turn on", "turn on"], ["the", "a"], [None, "x"]], ["turn on the ·", "turn on Sa Ix"]),
        ("mixed", [["打开 GOOGLE", "打开 GOOGLE"], ["地", "的"]], ["打 开 GOOGLE 地", "打 开 GOOGLE S的"]),
        ("char", [[None, "x"]], ["·", "Ix"]),
        ("char", [], ["", ""]),
        ("char", [["が", "が"], ["e\u0301", "e\u0301"]], ["が e\u0301", "が e\u0301"]),
        ("char", [["", "x"]], ["·", "Sx"]),
    ],
)
def test_columns_of_one_alignment(unit: str, pairs: list[list[str | None]], expected: list[str]) -> None:
    (block,) = aligning.blocks(unit, ("ref", "hyp"), pairs)
    assert [" ".join(row) for row in lines(block)] == expected
    assert block.errs == (any(fmt.operation(pair) for pair in pairs),)


def test_two_hypotheses_share_the_columns_of_their_reference() -> None:
    a = [["三四", "三四"], ["线", "县"], ["城市过", "城市过"], ["剩", "胜"]]
    b = [["三四线城", "三四线城"], [None, "很"], ["市过剩", "市过剩"]]
    (block,) = aligning.blocks("char", ("ref", "A", "B"), a, b)
    assert ["".join(row) for row in lines(block)] == ["三四线城·市过剩", "三四S县城·市过S胜", "三四线城I很市过剩"]
    a, b = [["turn", "burn"], ["on the", "on the"]], [["turn on", "turn on"], ["the", None]]
    (block,) = aligning.blocks("word", ("ref", "A", "B"), a, b)
    assert [" ".join(row) for row in lines(block)] == ["turn on the", "Sburn on the", "turn on D·"]


def test_insertions_at_one_place_stand_side_by_side() -> None:
    a, b = [["好", "好"], [None, "了"], [None, "吗"]], [["好", "好"], [None, "呢"]]
    (block,) = aligning.blocks("char", ("ref", "A", "B"), a, b)
    assert lines(block) == [["好", "·", "·"], ["好", "I了", "I吗"], ["好", "I呢", "·"]]


@pytest.mark.parametrize("other", [[["今天好", "今天好"]], [["今", "今"], ["天很", "x"]]])
def test_alignments_of_other_references_stand_apart(other: list[list[str | None]]) -> None:
    one = [["今天", "今天"], ["很", "狠"]]
    blocks = aligning.blocks("char", ("ref", "A", "B"), one, other)
    assert [block.labels for block in blocks] == [("ref", "A"), ("ref", "B")]
    assert lines(blocks[0]) == [["今", "天", "很"], ["今", "天", "S狠"]]


def test_a_text_of_a_million_characters_is_cut() -> None:
    (block,) = aligning.blocks("char", ("ref", "hyp"), [["好" * 1_000_000] * 2])
    assert (len(block.columns), block.hidden) == (1500, 998_500)
    (block,) = aligning.blocks("char", ("ref", "hyp"), [["a" * 100] * 2])
    assert max(len(column.reference or "") for column in block.columns) == aligning.RUN


TEXT = st.text("今天很好 aé\u0301", max_size=12)


@given(TEXT, TEXT, TEXT)
def test_columns_lose_no_character(reference: str, one: str, other: str) -> None:
    """Whatever is read: every side of the columns is its text again, and every error of the alignment is one."""
    sides = [cer_samples.align(list(reference), list(text)) for text in (one, other)]
    (block,) = aligning.blocks("char", ("ref", "A", "B"), *sides)
    assert "".join(column.reference or "" for column in block.columns) == reference
    for place, text in enumerate((one, other)):
        parts = [column.parts[place] for column in block.columns]
        assert "".join(part.text or "" for part in parts) == text
        assert [part.op for part in parts if part.op] == [op for pair in sides[place] if (op := fmt.operation(pair))]


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (fmt.points, 0.0123, "+1.23 points"), (fmt.points, -0.0123, "−1.23 points"), (fmt.points, 0.0, "0.00 points"),
        (fmt.points, 0.0000123, "+0.001 points"), (fmt.points, math.nan, "NaN"), (fmt.points, None, "—"),
        (fmt.points_interval, [-0.01, 0.02], "−1.00 to +2.00 points"), (fmt.points_interval, [], "—"),
        (fmt.points_interval, [-math.inf, 0.0], "−∞ to 0.00 points"), (fmt.chance, 0.02413, "0.0241"),
        (fmt.chance, 1.0, "1"), (fmt.chance, 3e-7, "< 0.0001"), (fmt.chance, 0.0, "< 0.0001"), (fmt.unit, " ", "␣"),
        (fmt.unit, "\u0301", "◌\u0301"), (fmt.unit, "好", "好"), (fmt.unit, "\x1b", "␛"), (fmt.width, "好a", 3),
    ],
)  # fmt: skip
def test_formats(function, value, text) -> None:
    assert function(value) == text


@pytest.mark.parametrize(("text", "short"), [("abcdefgh", "abc…efgh"), ("好好好好", "好好好好"), ("好" * 9, "好…好好")])
def test_elided_texts_fit(text: str, short: str) -> None:
    assert fmt.elide(text, 8) == (text if fmt.width(text) <= 8 else short)


def group(name: str, rate: float, utterances: int = 3) -> CerGroup:
    names = ("substitutions", "deletions", "insertions", "hits", "missing")
    return CerGroup(name=name, utterances=utterances, cer=rate, ser=rate, **dict.fromkeys(names, 0))


def test_bars_are_as_long_as_their_rates() -> None:
    text = cer_charts.rate_bars([group("甲", 0.1), group("乙", 0.2, 1234)], 0.15, "t")
    wide = [float(box.get("width", "nan")) for box in drawn(text).iter(f"{SVG}rect")]
    assert wide[1] == pytest.approx(2 * wide[0], abs=0.11)
    assert told(text) == ["甲: 10.00% of 3 utterances", "乙: 20.00% of 1,234 utterances"]
    assert told(text, "text") == ["甲", "10.00%", "n 3", "乙", "20.00%", "n 1,234"]


def test_a_histogram_counts_and_thins_its_labels() -> None:
    text = cer_charts.bin_bars([Bin(label=f"≤ {n} %", count=n) for n in range(30)], "axis", "t")
    assert told(text) == [f"≤ {n} %: {n}" for n in range(1, 30)]
    labels = [word for word in told(text, "text") if word.startswith("≤")]
    assert 4 < len(labels) < 15
    assert cer_charts.bin_bars([], "axis", "t") == ""


@given(st.lists(st.builds(group, st.text(max_size=30), NUMBERS), max_size=4), NUMBERS)
def test_any_rates_draw_well_formed_bars(groups: list[CerGroup], overall: float) -> None:
    groups = [dataclasses.replace(item, name=fmt.visible(item.name)) for item in groups]
    text = cer_charts.rate_bars(groups, overall, "t")
    assert not groups or all(math.isfinite(float(box.get("width", "nan"))) for box in drawn(text).iter(f"{SVG}rect"))
    paired = [PairedGroup(name="x", utterances=1, cer_a=item.cer, cer_b=overall, difference=overall) for item in groups]
    assert not groups or drawn(cer_charts.paired_bars(paired, "t")) is not None


@given(NUMBERS, st.lists(NUMBERS, min_size=2, max_size=2), st.none() | st.lists(NUMBERS, min_size=2, max_size=2))
def test_any_comparison_draws(difference: float, ci95: list[float], speakers: list[float] | None) -> None:
    report = dataclasses.replace(SAME, difference=difference, ci95=ci95, ci95_speakers=speakers)
    report = dataclasses.replace(report, a=dataclasses.replace(report.a, cer=difference, ci95=ci95))
    for text in (cer_charts.rates_chart(report), cer_charts.difference_chart(report)):
        places = [node.get(name) for node in drawn(text).iter() for name in ("x1", "x2", "cx") if node.get(name)]
        assert all(math.isfinite(float(place or "nan")) for place in places)


def test_the_difference_stands_right_of_zero_where_b_is_worse() -> None:
    report = samples.compare()
    root = drawn(cer_charts.difference_chart(report))
    zero = next(float(n.get("x1", "nan")) for n in root.iter(f"{SVG}line") if n.get("class") == "zero")
    dots = [float(dot.get("cx", "nan")) for dot in root.iter(f"{SVG}circle")]
    assert len(dots) == 2  # over utterances, over speakers
    assert min(dots) > zero
    low = min(float(n.get("x1", "nan")) for n in root.iter(f"{SVG}line") if n.get("class") == "range side2")
    assert low < zero  # the interval over speakers holds zero


def test_cer_marks_errors_without_colour_on_the_terminal() -> None:
    text = shown(samples.cer())
    assert "ref 九[S井]日本[D料]理" in text
    assert "hyp 九[S景]日本[D]理" in text
    assert "hyp 哈根达斯[I了]" in text
    assert "failed: BAC009S0767W0132: cannot decode: truncated WAV header" in text
    assert "taken for another most often: 井 → 景 ×7" in text
    assert text.splitlines()[-1] == "CER 7.66% (95%: 6.13% to 9.42%), 160 utterances, 2 missing, 1 failed"
    assert text.count("ref ") == 10 < shown(samples.cer(), full=True).count("ref ")
    assert "ref turn on [Sthe] light in [Dthe] kitchen" in shown(samples.words())


def test_a_comparison_on_the_terminal_ends_in_its_sentence() -> None:
    text = shown(samples.compare(), width=200)
    assert text.splitlines()[-1] == f"{samples.compare().sentence} 40 of 160 hypotheses are identical."
    assert "B   中原地产首席[S了][S分]师[D][S伟][S了]说" in text
    assert "and 110 more utterances on which they differ" in text
    assert "MAPSSWE p" in text
    assert "and 80 more" in shown(samples.compare(), full=True)  # of 120 the report holds 40


def test_rich_markup_in_a_name_is_text() -> None:
    report = samples.compare()
    report = dataclasses.replace(report, a=dataclasses.replace(report.a, run="runs/[red]x"))
    assert "A [red]x" in shown(report)
    division = dataclasses.replace(samples.cer().divisions[0], name="[red]noise[/red]")
    assert "By [red]noise[/red]" in shown(dataclasses.replace(samples.cer(), divisions=[division]))


def test_summary_says_whether_texts_agree() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=200)
    terminal.summary([samples.cer(), samples.words(), samples.same(), samples.compare()], console)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "✕ CER 7.66% (95%: 6.13% to 9.42%), 160 utterances, 2 missing, 1 failed (mlx)"
    assert lines[1] == "✓ WER 19.05% (95%: 15.24% to 23.43%), 4 utterances (funasr)"
    assert lines[2].startswith("✓ mlx and mlx agree on 160 of 160 texts: No difference")
    assert lines[3].startswith("✕ mlx and funasr agree on 40 of 160 texts: B's error rate is")


def test_markdown_of_rates_and_comparisons() -> None:
    text = markdown(samples.cer())
    assert "| Deletions | 74 | of 1,776 reference characters |" in text
    assert "Normaliser: aishell, version 1, fingerprint 5e1f0c9a7b32" in text
    assert "| BAC009S0901W0200 | 33.33% | 九井日本料理 | 九景日本理 |" in text
    assert "Incomplete" in text
    assert "Incomplete" not in markdown(samples.words())
    text = markdown(samples.compare())
    assert text.startswith("## Paired comparison report\n\n**B's error rate is 4.50 points higher than A's")
    assert "| CER | 7.66% | 12.16% |" in text
    assert "| MAPSSWE p | 0.0241 | The chance of a difference this large" in text
    assert "| BAC009S0770W0223 | 0, 5 | 中原地产首席分析师张大伟说 | 中原地产首席分析师张大伟说 |" in text
    assert "and 115 more utterances" in text


def test_a_reliability_diagram_places_its_bins() -> None:
    """The dot of a bin stands at (confidence, accuracy) of the square; an empty bin has neither dot nor bar."""
    found = cer_samples.calibration()
    root = drawn(calibration_charts.reliability(found))
    full = [one for one in found.bins if one.count]
    dots = list(root.iter(f"{SVG}circle"))
    assert len(dots) == len(full) == len(list(root.iter(f"{SVG}rect"))) == 9
    side = calibration_charts.SIDE
    for dot, one in zip(dots, full, strict=True):
        right = float(dot.get("cx", "nan")) - calibration_charts.LEFT
        up = calibration_charts.TOP + side - float(dot.get("cy", "nan"))
        assert (right / side, up / side) == pytest.approx((one.confidence, one.accuracy), abs=1e-3)
    assert "12k" in told(calibration_charts.reliability(found), "text")
    assert calibration_charts.errors_found(dataclasses.replace(found, roc=[])) == ""


@given(NUMBERS, st.lists(NUMBERS, min_size=2, max_size=2), st.lists(st.lists(NUMBERS, min_size=2, max_size=2)))
def test_any_calibration_draws(number: float, ci95: list[float], roc: list[list[float]]) -> None:
    one = CalibrationBin(low=number, high=number, count=1, confidence=number, accuracy=number, ci95=ci95)
    found = Calibration(
        tokens=1, left_out=0, accuracy=number, confidence=number, ece=number, auc=number, bins=[one], roc=roc
    )
    for text in (calibration_charts.reliability(found), calibration_charts.errors_found(found)):
        places = [
            node.get(name) for node in drawn(text or "<g/>").iter() for name in ("x1", "y2", "cx") if node.get(name)
        ]
        assert all(math.isfinite(float(place or "nan")) for place in places)
