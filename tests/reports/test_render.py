"""Finding, reading and writing report documents: round trips, refusals with a clear line, the index page."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import report_samples as samples
from hypothesis import example, given
from hypothesis import strategies as st

from reports import history, render, schema

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.floats(allow_nan=False)
COUNT = st.integers(0, 2**63 - 1)
TAPS = st.builds(
    schema.TapRow,
    name=TEXT,
    max_abs=NUMBER,
    rel_l2=st.none() | NUMBER,
    floor_rel_l2=st.none() | NUMBER,
    ratio=st.none() | NUMBER,
    tolerance_ratio=st.none() | NUMBER,
    status=st.sampled_from(["pass", "fail"]),
    reason=TEXT,
)
OUTCOMES = st.builds(schema.Outcome, compared=st.none() | COUNT, differ=COUNT, explained=st.none() | COUNT)
PARITIES = st.builds(
    schema.ParityReport,
    verdict=st.sampled_from(["pass", "fail"]),
    first_failure=st.none() | TEXT,
    reference=TEXT,
    candidate=TEXT,
    taps=st.lists(TAPS, max_size=5),
    outcomes=st.dictionaries(st.sampled_from(["firing", "token"]) | TEXT, OUTCOMES, max_size=3),
    utterances=st.just([]),
    words=st.dictionaries(TEXT, TEXT, max_size=3),
    notes=st.lists(TEXT, max_size=2),
)


HUGE = schema.TapRow(
    name="", max_abs=0.0, rel_l2=1e308, floor_rel_l2=1e308, ratio=1e308, tolerance_ratio=1.0, status="fail"
)


@given(PARITIES)
@example(dataclasses.replace(samples.parity(), taps=[HUGE]))
def test_documents_survive_json_and_render(report: schema.ParityReport) -> None:
    document = json.loads(json.dumps(schema.to_dict(report), allow_nan=False))
    assert schema.from_dict(document) == report
    render.page(report)  # whatever the numbers are: no page may fail over its own formatting


@pytest.mark.parametrize("name", sorted(samples.ALL))
def test_samples_survive_a_file(name: str, tmp_path: Path) -> None:
    report = samples.ALL[name]()
    assert schema.read(schema.write(report, tmp_path / f"{name}.json")) == report


def test_render_writes_beside_the_json(tmp_path: Path) -> None:
    schema.write(samples.cer(), tmp_path / "cer.json")
    assert render.render(tmp_path) == tmp_path / "cer.html"
    assert render.render(tmp_path / "cer.json", tmp_path / "deep" / "other.html") == tmp_path / "deep" / "other.html"
    assert render.render(tmp_path).read_text("utf-8") == (tmp_path / "deep" / "other.html").read_text("utf-8")
    assert not list(tmp_path.rglob("*.partial"))


def test_render_all_adds_an_index_over_many(tmp_path: Path) -> None:
    for name, make in samples.ALL.items():
        schema.write(make(), tmp_path / "runs #1" / name / f"{name}.json")
    pages = render.render_all([tmp_path])
    assert [page.name for page in pages] == [*(f"{name}.html" for name in sorted(samples.ALL)), "index.html"]
    index = pages[-1].read_text("utf-8")
    assert 'href="runs%20%231/parity/parity.html"' in index
    for fact in (
        "decoder.decoders.15",
        "CER 7.66%",
        "of 160 hypotheses are identical",
        "220,518,212 parameters",
        "✕ fail",
    ):
        assert fact in index


def dated(report: Any, day: int, **changes: Any) -> Any:
    return dataclasses.replace(report, environment={"time_utc": f"2026-11-{day:02d}T10:00:00Z"}, **changes)


def test_the_index_shows_history(tmp_path: Path) -> None:
    """Three runs of one subject are one line of three dots, oldest left; a kind with one run has no picture."""
    for day, cer in ((9, 0.08), (2, 0.10), (5, 0.09)):
        schema.write(dated(samples.cer(), day, cer=cer), tmp_path / f"run{day}" / "cer.json")
    schema.write(dated(samples.parity(), 3), tmp_path / "run3" / "parity.json")
    page = render.render_all([tmp_path])[-1].read_text("utf-8")
    assert page.count("<figure>") == 1
    assert [float(y) for y in re.findall(r'<circle class="dot \w+" cx="[\d.]+" cy="([\d.]+)"', page)] == sorted(
        float(y) for y in re.findall(r'<circle class="dot \w+" cx="[\d.]+" cy="([\d.]+)"', page)
    )  # the rate falls, so the dots sink
    assert re.findall(r"<title>(2026-11-\d\d)\S* run\d: CER ([\d.]+)%", page) == [
        ("2026-11-02", "10.00"), ("2026-11-05", "9.00"), ("2026-11-09", "8.00")
    ]  # fmt: skip


def test_the_index_shows_the_history_of_a_comparison(tmp_path: Path) -> None:
    """A difference may fall below zero: the dots go on sinking, and a line marks zero."""
    for day, difference in ((2, 0.01), (5, 0.0), (9, -0.02)):
        report = dated(samples.compare(), day, difference=difference)
        schema.write(report, tmp_path / f"run{day}" / "compare.json")
    page = render.render_all([tmp_path])[-1].read_text("utf-8")
    assert "<h2>Paired comparison</h2>" in page
    heights = [float(y) for y in re.findall(r'<circle class="dot \w+" cx="[\d.]+" cy="([\d.]+)"', page)]
    zero = re.search(r'<line class="unit" x1="[\d.]+" y1="([\d.]+)"', page)
    assert zero is not None
    assert heights[0] < heights[1] == float(zero.group(1)) < heights[2]
    assert re.findall(r"run\d: (\S+ points)", page) == ["+1.00 points", "0.00 points", "−2.00 points"]
    assert ">paraformer-zh (funasr) against" not in page  # elided to the room beside the picture


def test_a_comparison_is_found_by_its_name(tmp_path: Path) -> None:
    schema.write(samples.compare(), tmp_path / "compare.json")
    assert render.render(tmp_path) == tmp_path / "compare.html"


def test_a_report_of_record_is_found_by_what_it_says(tmp_path: Path) -> None:
    schema.write(samples.parity(), tmp_path / "parity_of_a_h100.json")
    (tmp_path / "other.json").write_text('{"schema": "somebody/1"}', "utf-8")
    assert render.render_all([tmp_path]) == [tmp_path / "parity_of_a_h100.html"]


@pytest.mark.parametrize("ratio", [0.0, float("inf"), float("nan"), 1e30])
def test_history_draws_any_ratio(ratio: float) -> None:
    rows = [dataclasses.replace(row, ratio=ratio) for row in samples.parity().taps if row.tolerance_ratio]
    report = dataclasses.replace(samples.parity(), taps=rows)
    figure = history.FIGURES["parity/2"]
    runs = [history.parity_run(report, str(day), f"2026-11-{day:02d}") for day in (1, 2)]
    assert "nan" not in history.history_chart(figure, [run for run in runs if run is not None])


def test_one_report_needs_no_index(tmp_path: Path) -> None:
    schema.write(samples.cer(), tmp_path / "cer.json")
    assert render.render_all([tmp_path, tmp_path / "cer.json"]) == [tmp_path / "cer.html"]


def test_foreign_files_are_not_overwritten(tmp_path: Path) -> None:
    schema.write(samples.cer(), tmp_path / "cer.json")
    (tmp_path / "cer.html").write_text("<p>mine</p>")
    with pytest.raises(ValueError, match=r"cer\.html exists and was not written by mlx-funasr"):
        render.render(tmp_path)
    assert (tmp_path / "cer.html").read_text() == "<p>mine</p>"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"schema": "parity/99"}', r"schema is 'parity/99', expected one of bench/1, cer/1"),
        (b"{}", "schema is None"),
        (b"[]", "it holds a list"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"schema": "bench/1", "rows": [], "command": "", "speed": 1}', "unknown field 'speed'"),
        (b'{"schema": "bench/1"}', "field 'rows' is missing"),
    ],
)
def test_what_is_none_of_ours_is_refused_in_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "parity.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as refusal:
        render.render(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def _missing(function: Any, path: Path) -> str:
    with pytest.raises(FileNotFoundError) as refusal:
        function(path)
    return str(refusal.value)


def test_absent_reports_are_named(tmp_path: Path) -> None:
    assert "holds no report: expected one of parity.json" in _missing(render.render, tmp_path)
    assert "does not exist" in _missing(render.render, tmp_path / "no.json")
    assert "does not exist" in _missing(lambda path: render.render_all([path]), tmp_path / "no")
    assert "holds no report" in _missing(lambda path: render.render_all([path]), tmp_path)


def test_several_reports_need_a_choice(tmp_path: Path) -> None:
    for name, make in samples.ALL.items():
        schema.write(make(), tmp_path / f"{name}.json")
    with pytest.raises(ValueError, match=f"holds {len(samples.ALL)} reports"):
        render.render(tmp_path)
    assert len(render.render_all([tmp_path])) == len(samples.ALL) + 1


def test_counters_of_the_contract_follow_from_the_outcomes() -> None:
    document = schema.to_dict(samples.parity())
    assert document["cif"] == {"utterances": 5, "firing_mismatches": 1, "explained": 1}
    assert document["tokens"] == {"compared": 68, "flipped": 3, "explained": 0}
    assert document["outcomes"]["token"] == {"compared": 68, "differ": 3, "explained": 0}
    told = schema.from_dict({**document, "tokens": {"compared": 1, "flipped": 0, "explained": 0}})
    assert schema.to_dict(told) == document
