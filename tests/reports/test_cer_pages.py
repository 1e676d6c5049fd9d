"""The pages of an error rate and of a comparison hold what the JSON holds, and nothing hostile (oracle: the JSON)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import report_samples as samples
from test_pages import Reader

from reports import cer_views, compare_views, render, schema
from reports import formatting as fmt
from reports.schema.cer import CerReport, Failure

SCRIPT = '"><script>alert(1)</script>'


def absent(expected: list[str], page: str) -> list[str]:
    return [item for item in expected if item not in page]


def test_every_fact_of_a_cer_report_is_on_its_page() -> None:
    report = samples.cer()
    page = Reader(render.page(report)).text
    expected = ["7.66%", "6.13% to 9.42%", "4.75% to 11.03%", "53.12%", report.dataset, report.engine, report.model]
    expected += [*report.normalizer_steps, *report.dataset_notes, *report.notes, report.normalizer, "5e1f0c9a7b32"]
    expected += ["c0ffee42" * 8, "3d491689" * 8, "Errors are counted in characters.", "0.02673"]
    for row in report.worst:
        expected += [row.utt_id, fmt.rate(cer_views.utterance_cer(row)), row.error or "", row.reference]
        expected += [row.hypothesis or "no hypothesis"]
    for division in report.divisions:
        for group in division.groups:
            expected += [f"{group.name} {group.utterances} {fmt.rate(group.cer)} {fmt.rate(group.ser)}"]
            expected += [f"n {group.utterances}"]
    for item in (*report.rate_bins, *report.rtf_bins):
        expected += [str(item.count)] if item.count else []
    assert absent(expected, page) == []
    for label, value in (("Substitutions", 32), ("Deletions", 74), ("Insertions", 30), ("Hits", "1,670")):
        assert f"{label} {value}" in page
    assert "✕ Incomplete 2 missing and 1 failed of 160 utterances" in page
    assert "井 景 7" in page  # the confusion, and how often
    assert page.count("BAC009S0767W0132 cannot decode: truncated WAV header") == 1  # the table of failures


def test_a_complete_run_in_words_says_so() -> None:
    page = Reader(render.page(samples.words())).text
    assert "19.05% word error rate" in page
    assert "✓ Complete Each of the 4 utterances has a hypothesis." in page
    assert "Errors are counted in words" in page
    assert "over speakers" not in page
    assert "Reference: turn on the light in the kitchen. Hypothesis: turn on a light in kitchen." in page


def test_an_empty_run_is_not_complete() -> None:
    empty = dataclasses.replace(samples.words(), utterances=0, worst=[], confusions=[], rate_bins=[])
    assert "✕ Empty" in Reader(render.page(empty)).text


def test_every_fact_of_a_comparison_is_on_its_page() -> None:
    report = samples.compare()
    page = Reader(render.page(report)).text
    expected = [report.sentence, "40 of 160 hypotheses are identical.", report.normalizer, *report.notes]
    expected += ["The first 40 of the 120 that differ"]
    for label, one, other in compare_views.sides(report):
        expected += [f"{label} {one} {other}"]
    for row in compare_views.statistics(report):
        expected += [f"{row.label} {row.value} {row.detail}"]
    for group in report.groups:
        expected += [f"{group.name} {group.utterances} {fmt.rate(group.cer_a)} {fmt.rate(group.cer_b)}"]
    for row in report.differing:
        expected += [f"{row.utt_id} errors {row.errors_a} in A, {row.errors_b} in B", row.margin or ""]
        spoken = [row.reference, row.hypothesis_a or "—", row.hypothesis_b or "—"]
        expected += ["Reference: {}. A: {}. B: {}.".format(*spoken)]
    assert absent(expected, page) == []
    assert page.index(report.sentence) < page.index("Both rates") < page.index("Paired statistics")


def test_two_equal_runs_are_told_plainly() -> None:
    page = Reader(render.page(samples.same())).text
    assert "160 of 160 hypotheses are identical." in page
    assert "Both make the same number of errors." in page
    assert "There is no difference to resolve." in page


@pytest.mark.parametrize(
    ("difference", "bounds", "said"),
    [
        (0.01, [0.005, 0.02], ("above that of A", "outside")),
        (-0.01, [-0.03, 0.01], ("below that of A", "inside")),
        (0.01, [0.0, 0.02], ("above", "inside")),
    ],
)
def test_the_statistics_say_what_they_mean(difference: float, bounds: list[float], said: tuple[str, str]) -> None:
    report = dataclasses.replace(samples.compare(), difference=difference, ci95=bounds, ci95_speakers=None)
    rows = compare_views.statistics(report)
    assert said[0] in rows[0].detail
    assert said[1] in rows[1].detail
    assert [row.label for row in rows[2:]] == [
        "Probability of improvement", "MAPSSWE p", "MAPSSWE z", "MAPSSWE segments", "Utterances needed",
    ]  # fmt: skip


def recordings(report: Any) -> list[str | None]:
    return [attrs.get("src") for tag, attrs in Reader(render.page(report)).tags if tag == "audio"]


@pytest.mark.parametrize(
    "audio",
    [
        "javascript:alert(1)",
        "https://example.org/x.wav",
        "x.wav",
        "data:text/html,<script>alert(1)</script>",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "data:audio/wav,plain",
        'data:audio/wav;base64,UklGRg==" onerror="alert(1)',
        "data:audio/wav;base64,UklGRg==\n",
        "data:audio/wav;base64,<script>",
        "DATA:AUDIO/WAV;BASE64,UklGRg==",
        " data:audio/wav;base64,UklGRg==",
        "data:audio/wav;base64,",
        "",
    ],
)
def test_only_recordings_are_played(audio: str) -> None:
    report, compared = samples.cer(), samples.compare()
    worst = [dataclasses.replace(row, audio=audio) for row in report.worst]
    assert recordings(dataclasses.replace(report, worst=worst)) == []
    differing = [dataclasses.replace(row, audio=audio) for row in compared.differing]
    page = render.page(dataclasses.replace(compared, differing=differing))
    assert recordings(dataclasses.replace(compared, differing=differing)) == []
    assert not audio or f'src="{audio}' not in page


def test_recordings_are_offered_and_not_loaded() -> None:
    report = samples.cer()
    tags = [attrs for tag, attrs in Reader(render.page(report)).tags if tag == "audio"]
    assert [attrs["src"] for attrs in tags] == [row.audio for row in report.worst if row.audio]
    assert {attrs["preload"] for attrs in tags} == {"none"}
    assert all("controls" in attrs and attrs["aria-label"] for attrs in tags)
    assert "media-src data:" in render.page(report)
    assert "media-src" not in render.page(samples.parity())
    assert fmt.playable("data:audio/ogg;codecs=opus;base64,T2dnUw==")


@pytest.mark.parametrize("field", ["dataset", "engine", "model", "normalizer", "normalizer_fingerprint", "unit"])
def test_a_script_in_a_field_is_a_text(field: str) -> None:
    assert_harmless(dataclasses.replace(samples.cer(), **{field: SCRIPT}))


def test_a_script_in_a_list_is_a_text() -> None:
    report = samples.cer()
    row = dataclasses.replace(
        report.worst[3], utt_id=SCRIPT, reference=SCRIPT, hypothesis=SCRIPT, speaker=SCRIPT, error=SCRIPT,
        alignment=[[SCRIPT, SCRIPT], [SCRIPT, "x"], [None, SCRIPT], [SCRIPT, None]],
    )  # fmt: skip
    groups = [dataclasses.replace(report.divisions[0].groups[0], name=SCRIPT)]
    for unit in ("char", "word", "mixed"):
        assert_harmless(dataclasses.replace(
            report, unit=unit, worst=[row], normalizer_steps=[SCRIPT], dataset_notes=[SCRIPT], notes=[SCRIPT],
            failures=[Failure(utt_id=SCRIPT, error=SCRIPT)],
            divisions=[dataclasses.replace(report.divisions[0], name=SCRIPT, groups=groups)],
            confusions=[dataclasses.replace(report.confusions[0], reference=SCRIPT, hypothesis=SCRIPT)],
            rate_bins=[dataclasses.replace(report.rate_bins[0], label=SCRIPT)],
        ))  # fmt: skip


def assert_harmless(report: CerReport) -> None:
    page = render.page(report)
    reader = Reader(page)
    assert [tag for tag, _ in reader.tags].count("script") == 1  # ours
    assert not [attrs for _, attrs in reader.tags if any(name.startswith("on") for name in attrs)]
    assert "<script>alert" not in page
    assert "<script>alert(1)" in reader.text


def test_malformed_alignment_is_refused_with_the_path(tmp_path: Path) -> None:
    report = samples.cer()
    rows = [dataclasses.replace(report.worst[0], alignment=[["S", "a", "b"]])]
    path = schema.write(dataclasses.replace(report, worst=rows), tmp_path / "cer.json")
    with pytest.raises(ValueError, match=r"cer\.json.*\[reference, hypothesis\]"):
        render.render(path)


def test_long_lists_fold() -> None:
    """Ten utterances stand open; the rest, like long tables of confusions, is behind a summary."""
    page = render.page(samples.cer())
    visible = page.split("<h2>Worst utterances")[1].split("<details>")[0]
    assert visible.count('class="utterance"') == 10
    assert "<summary>40 more</summary>" in page
    failures = [Failure(utt_id=f"u{number}", error="x") for number in range(25)]
    assert "<summary>15 more</summary>" in render.page(dataclasses.replace(samples.cer(), failures=failures))


def test_an_unknown_division_and_unit_keep_their_names() -> None:
    report = samples.cer()
    division = dataclasses.replace(report.divisions[0], name="noise <b>")
    page = Reader(render.page(dataclasses.replace(report, divisions=[division], unit="phone"))).text
    assert "By noise <b>" in page
    assert "error rate (phone)" in page
