"""Documents of parity/1 are read as parity/2. Oracle: the published ones, field by field, and one written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reports import render, schema
from reports.schema import DecisionRow, Outcome
from reports.terminal import show

PUBLISHED = sorted((Path(__file__).parents[3] / "reports" / "published").rglob("parity*.json"))


def vad() -> dict[str, Any]:
    """A report as FSMN-VAD wrote it in parity/1: transitions where firings stood, frames where flipped tokens stood."""
    decision = {"kind": "frame", "utt_id": "a", "position": 7, "reference": "speech", "candidate": "silence",
                "margin": 1e-7, "noise": 2e-7, "explained": True}  # fmt: skip
    row = {"tokens": 4, "tokens_differ": 1, "max_abs": None, "limit": None, "detail": "", "status": "note"}
    tap = {"name": "encoder.softmax.out", "max_abs": 1e-7, "rel_l2": 1e-7, "floor_rel_l2": 1e-7, "ratio": 1.0,
           "tolerance_ratio": 4.0, "status": "pass", "scope": "inner"}  # fmt: skip
    return {
        "schema": "parity/1", "verdict": "pass", "first_failure": None, "reference": "iic/vad", "candidate": "vad-mlx",
        "taps": [tap], "cif": {}, "tokens": {},
        "outcomes": {"frames": {"compared": 99, "differ": 1, "explained": 1},
                     "transitions": {"compared": 6, "differ": 0, "explained": 0}},
        "words": {"texts": "segments", "tokens": "segments", "firing mismatches": "transitions that differ",
                  "flipped tokens": "frames that differ"},
        "utterances": [
            {"utt_id": "a", "path": "a.wav", "duration_s": 1.0, "reference_text": "0-1 s", "candidate_text": "0-1 s",
             "reference_token_num": 3, "candidate_token_num": 2, "firing_mismatches": 0, "flipped_tokens": 1},
        ],
        "decisions": [decision],
        "invariance": [{"name": "arrival of samples", "side": "candidate", **row},
                       {"name": "float16", "side": "candidate", **row}],
    }  # fmt: skip


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_a_published_report_says_the_same_in_parity_2(path: Path) -> None:
    old, new = json.loads(path.read_text("utf-8")), schema.to_dict(schema.read(path))
    assert (old["schema"], new["schema"]) == ("parity/1", "parity/2")
    assert (new["cif"], new["tokens"]) == (old["cif"], old["tokens"])
    for name in ("verdict", "first_failure", "address", "sentence", "structure", "notes", "environment"):
        assert new[name] == old[name]
    assert new["heatmap"] == {**old["heatmap"], "engine": "plain"}
    for row, given in zip(new["taps"], old["taps"], strict=True):
        assert {key: row[key] for key in given} == given
        assert row["engine"] == "plain"
    assert new["pictures"] == {"firing": old["pictures"]}
    rows = zip(new["utterances"], old["utterances"], strict=True)
    for row, given in rows:
        assert row["found"] == {"token": [given["reference_token_num"], given["candidate_token_num"]]}
        assert row["outcomes"]["token"]["differ"] == given["flipped_tokens"]
        assert row["outcomes"]["firing"]["differ"] == given["firing_mismatches"]
    assert [(row["found"], row["differ"]) for row in new["paths"]] == [
        (row["tokens"], row["firings_differ"]) for row in old["cif_paths"]
    ]
    assert [(row["compared"], row["differ"], row["kind"]) for row in new["invariance"]] == [
        (row["tokens"], row["tokens_differ"], "token") for row in old["invariance"]
    ]


def test_there_are_published_reports_of_parity_1() -> None:
    assert len(PUBLISHED) == 4  # or the test above compares nothing


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_a_published_report_still_has_its_page(path: Path) -> None:
    report = schema.read(path)
    page = render.page(report)
    assert "Firing by firing" in page
    assert "FunASR's own code paths for CIF" in page.replace("&#39;", "'")
    assert f"of {report.outcomes['token'].compared}; 0 explained by rounding" in page
    assert schema.from_dict(schema.to_dict(report)) == report


def test_a_vad_report_gets_its_own_words_back() -> None:
    report = schema.from_dict(vad())
    assert report.outcomes == {
        "frame": Outcome(compared=99, differ=1, explained=1), "transition": Outcome(compared=6, differ=0, explained=0)
    }  # fmt: skip
    row = report.utterances[0]
    assert row.found == {"segment": [3, 2]}
    assert row.outcomes == {
        "transition": Outcome(compared=None, differ=0, explained=0),
        "frame": Outcome(compared=None, differ=1, explained=1),
    }
    assert [(check.name, check.kind) for check in report.invariance] == [
        ("arrival of samples", "segment"), ("float16", "frame")
    ]  # fmt: skip
    assert report.taps[0].scope == "introduced"
    assert report.derived() == {}  # neither firings nor tokens
    assert isinstance(report.decisions[0], DecisionRow)
    page = render.page(report)
    assert "Frames that differ" in page
    assert "firing" not in page.lower()


def test_a_damaged_parity_1_is_refused_by_its_own_field() -> None:
    with pytest.raises(
        ValueError, match=r"^parity/1\.utterances\[0\]\.flipped_tokens is null; expected a whole number"
    ):
        schema.from_dict({**vad(), "utterances": [{**vad()["utterances"][0], "flipped_tokens": None}]})
    with pytest.raises(ValueError, match=r"^parity/1: unknown field 'speed'"):
        schema.from_dict({**vad(), "speed": 1})


def test_the_terminal_shows_an_old_report() -> None:
    import io

    from rich.console import Console

    stream = io.StringIO()
    show(schema.from_dict(vad()), Console(file=stream, width=100))
    assert "Frames that differ" in stream.getvalue()
    assert "1 explained by rounding" in stream.getvalue()
