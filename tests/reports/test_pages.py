"""The HTML page holds what the JSON holds: every verdict, number and text, read with html.parser (oracle: the JSON)."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from html.parser import HTMLParser
from typing import Any

import pytest
import report_samples as samples

from reports import formatting as fmt
from reports import render, schema, views

VOID = {"meta", "link", "br", "wbr"}
BLOCKS = {"p", "dt", "dd", "td", "th", "li", "h1", "h2", "h3", "strong", "text", "title"}  # a word ends with these
HOSTILE = '</td><script>alert(1)</script><img src=x onerror="alert(2)">&amp;\u202e\x1b[31m'


class Reader(HTMLParser):
    """Collects the visible text, the tags with their attributes, and tags left open or closed twice."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in BLOCKS:
            self.words.append(" ")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)


@pytest.fixture(params=sorted(samples.ALL))
def report(request: pytest.FixtureRequest) -> Any:
    return samples.ALL[request.param]()


def hostile(value: Any) -> Any:
    """Every text of a report replaced by one that would break out of HTML, an attribute, a terminal or a line."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{f.name: hostile(getattr(value, f.name)) for f in dataclasses.fields(value)})
    if isinstance(value, dict):
        return {key if key in ("utt_id", "index") else HOSTILE + key: hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


def test_every_fact_of_a_parity_report_is_on_its_page() -> None:
    report = samples.parity()
    page = Reader(render.page(report)).text
    expected = [report.verdict.upper(), report.first_failure, report.reference, report.candidate, *report.notes]
    for tap in report.taps:
        expected += [
            tap.name,
            tap.status,
            tap.reason,
            fmt.tap_difference(tap.max_abs, tap.rel_l2),
            fmt.error(tap.rel_l2),
        ]
        expected += [fmt.error(tap.floor_rel_l2), fmt.multiple(tap.ratio), fmt.multiple(tap.tolerance_ratio)]
        expected += [fmt.reading(value) for value in (tap.worst or {}).values()]
    for row in report.utterances:
        expected += [row.utt_id, row.explanation, fmt.seconds(row.duration_s)]
        expected += [row.reference_text] if row.reference_text == row.candidate_text else []
    assert [item for item in expected if item not in page] == []
    assert "16 of 20" in page
    assert "Tokens that differ 3 of 68; 0 explained by rounding" in page


def test_every_fact_of_conversion_and_bench_is_on_its_page() -> None:
    conversion, bench = samples.conversion(), samples.bench()
    page = Reader(render.page(conversion)).text
    for item in ("220,518,212", "216,215,364", "34", *conversion.sha256.values(), *conversion.notes, "8404 × 512"):
        assert item in page
    assert "encoder.encoders.{0..7}.self_attn.fsmn_block.weight" in page
    assert all(row.reason in page for row in conversion.tensors)
    page = Reader(render.page(bench)).text
    assert page.count(bench.instructions) == 3  # with the host, under the picture, over the table
    assert "3.4 us" in page
    assert "Other processes" not in page
    loud = dataclasses.replace(bench, rows=[dataclasses.replace(row, noise=0.42) for row in bench.rows])
    assert Reader(render.page(loud)).text.count("Other processes used up to 42% of the cores meanwhile.") == 2
    for row in bench.rows:
        assert {row.case, row.side, fmt.seconds(row.median_s), fmt.number(row.ratio)} <= {
            item for item in (row.case, row.side, fmt.seconds(row.median_s), fmt.number(row.ratio)) if item in page
        }


def test_numerics_are_on_the_page_of_what_was_computed():
    found = {"device": "cpu", "float32": "exact", "engine": "CPU engine (AVX2)", "precision": "8-bit g64"}
    for kind in ("parity", "selftest", "cer", "bench"):
        page = Reader(render.page(dataclasses.replace(samples.ALL[kind](), numerics=found))).text
        assert "Numerics" in page
        assert all(value in page for value in found.values())


def test_environment_is_on_every_page(report: Any) -> None:
    page = Reader(render.page(report)).text
    assert all(key in page and value in page for key, value in fmt.flatten(report.environment))


def test_verdict_comes_before_picture_and_tables() -> None:
    page = render.page(samples.parity())
    assert page.index("FAIL") < page.index("First failure") < page.index("<svg") < page.index("<h2>Taps")


def test_pass_is_said_in_words() -> None:
    page = Reader(render.page(samples.parity(failing=False))).text
    assert "✓ PASS All 17 taps stay near the floor." in page
    assert "FAIL" not in page


def test_tags_are_balanced_and_nothing_is_external(report: Any) -> None:
    reader = Reader(render.page(report))
    assert reader.open == []
    links = [attrs.get(name) for _, attrs in reader.tags for name in ("src", "href", "srcset", "action")]
    inside = ("data:image/png;base64,", "data:audio/wav;base64,", "data:audio/ogg;base64,")
    outside = {link for link in links if link and not link.startswith(inside)}
    assert outside == {"data:,"}
    assert [tag for tag, _ in reader.tags].count("script") == bool(views.view(report).script)
    assert ("html", {"lang": "en"}) in reader.tags


def test_hostile_texts_stay_texts(report: Any) -> None:
    attacked = hostile(report)
    page = render.page(attacked)
    reader = Reader(page)
    kinds = {tag for tag, _ in reader.tags}
    assert "img" not in kinds
    assert [tag for tag, _ in reader.tags].count("script") == bool(views.view(report).script)  # ours alone
    assert not [attrs for _, attrs in reader.tags if any(name.startswith("on") for name in attrs)]
    assert "<script>alert(1)" in reader.text  # it is shown, as what it is
    assert not {"\x1b", "\u202e"} & set(page)


def test_only_our_script_may_run() -> None:
    """The page's policy names the sha256 of exactly what stands between the tags."""
    page = render.page(samples.parity())
    script = page.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert "script-src" not in render.page(samples.bench())


def test_page_is_a_pure_function_of_the_json(report: Any) -> None:
    again = schema.from_dict(json.loads(json.dumps(schema.to_dict(report))))
    assert render.page(again) == render.page(report)


def test_empty_reports_render(report: Any) -> None:
    lists = {f.name: [] for f in dataclasses.fields(report) if isinstance(getattr(report, f.name), list)}
    empty = dataclasses.replace(report, **lists, environment={})
    assert Reader(render.page(empty)).open == []


def test_not_a_number_is_said() -> None:
    report = samples.parity()
    broken = dataclasses.replace(report.taps[3], ratio=float("nan"), rel_l2=float("inf"), max_abs=float("nan"))
    page = Reader(render.page(dataclasses.replace(report, taps=[broken]))).text
    assert "NaN ∞" in page


def test_taps_of_several_engines_stand_apart() -> None:
    plain = samples.parity()
    slow = [dataclasses.replace(row, engine="CPU engine") for row in plain.taps]
    report = dataclasses.replace(plain, taps=[*plain.taps, *slow], engine="CPU engine")
    page, alone = render.page(report), render.page(plain)
    assert "computed by: CPU engine" in page
    assert page.count("<td>CPU engine</td>") == len(slow)
    assert page.count('class="curve engine0"') == 1
    assert page.count("Ratio of each tap to the noise floor") == 2 * alone.count("Ratio of each tap to the noise floor")
    assert "CPU engine" not in alone
    assert "first failure: decoder.decoders.15 (CPU engine)" in views.headline(report)
    assert "decoder.decoders.15 \\(CPU engine\\) | fail" in render.markdown(report)
