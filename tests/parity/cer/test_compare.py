"""Two runs compared pair by pair. Oracles: counts by hand; the statistics have their own tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mlx_model.errors import DatasetError, OutputError, UsageError
from parity.cer import compare, evaluate, score_files
from parity.cer.recognizers import Recognizer
from reports import schema
from reports.schema import ParityReport, UtteranceRow

REF = "a 打开灯\nb 关上灯\nc 三十度\nd 停一停\n"
A = "a 打开灯\nb 关上\nc 二十度\nd 停\n"
B = "a 打开灯\nb 关上灯\nc 二十度\nd 停一停停\n"


def run(folder: Path, name: str, hyp: str, ref: str = REF, **options) -> Path:
    (folder / f"{name}.ref").write_text(ref, "utf-8")
    (folder / f"{name}.hyp").write_text(hyp, "utf-8")
    score_files(folder / f"{name}.ref", folder / f"{name}.hyp", out=folder / name, **options)
    return folder / name


def test_a_comparison_by_hand(tmp_path):
    report = compare(run(tmp_path, "a", A), run(tmp_path, "b", B), out=tmp_path / "out")
    # a: one deletion, one substitution, two deletions; b: the substitution, one insertion
    assert (report.a.cer, report.b.cer, report.difference) == (4 / 12, 2 / 12, pytest.approx(-2 / 12))
    assert (report.utterances, report.identical, report.differing_total) == (4, 2, 2)
    assert (report.better_a, report.better_b, report.reference_length) == (0, 2, 12)
    assert report.mapsswe_segments == 3
    assert report.ci95[0] <= report.difference <= report.ci95[1]
    first = report.differing[0]
    assert (first.utt_id, first.errors_a, first.errors_b) == ("b", 1, 0)
    assert first.alignment_a == [["关上", "关上"], ["灯", None]]
    assert "lower" in report.sentence
    assert schema.read(tmp_path / "out" / "compare.json") == report


def test_a_run_against_itself_shows_no_difference(tmp_path):
    one = run(tmp_path, "a", A)
    report = compare(one, one)
    assert (report.difference, report.ci95, report.p_mapsswe) == (0.0, [0.0, 0.0], 1.0)
    assert (report.identical, report.differing, report.utterances_needed) == (4, [], None)
    assert report.sentence.startswith("No difference")


def test_the_order_of_the_utterances_does_not_matter(tmp_path):
    one, other = run(tmp_path, "a", A), run(tmp_path, "b", B)
    mixed = run(tmp_path, "mixed", B, ref="".join(reversed(REF.splitlines(keepends=True))))
    left, right = compare(one, other), compare(one, mixed)
    assert (left.difference, left.differing, left.identical) == (right.difference, right.differing, right.identical)


def test_many_differences_are_counted_and_the_largest_kept(tmp_path):
    ref = "".join(f"u{number:04} 打开客厅的灯\n" for number in range(1000))
    hyp = "".join(f"u{number:04} 打开客厅的灯{'灯' * (number % 7)}\n" for number in range(1000))
    report = compare(run(tmp_path, "a", ref, ref=ref), run(tmp_path, "b", hyp, ref=ref))
    assert (report.differing_total, len(report.differing)) == (857, 200)
    assert {row.errors_b for row in report.differing} == {5, 6}
    assert report.p_mapsswe < 1e-6
    assert "are enough to say so" in report.sentence


def test_margins_come_from_a_parity_report_at_hand(tmp_path):
    row = {"path": "b.wav", "duration_s": 1.0, "reference_text": "", "candidate_text": ""}
    rows = [UtteranceRow(utt_id="b", explanation="token 2: margin 1e-6", **row), UtteranceRow(utt_id="d", **row)]
    parity = ParityReport(
        verdict="pass", first_failure=None, reference="", candidate="", taps=[], outcomes={}, utterances=rows
    )
    schema.write(parity, tmp_path / "proof" / "parity.json")
    one, other = run(tmp_path, "a", A), run(tmp_path, "b", B)
    report = compare(one, other, parity=tmp_path / "proof")
    assert {item.utt_id: item.margin for item in report.differing} == {"b": "token 2: margin 1e-6", "d": None}
    schema.write(parity, other / "parity.json")
    assert compare(one, other).differing == report.differing
    with pytest.raises(UsageError, match="expected the folder of a parity run"):
        compare(one, other, parity=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="not a parity report"):
        compare(one, other, parity=one / "cer.json")


@pytest.mark.parametrize("options", [{"normalize": "funasr"}, {"unit": "word"}])
def test_runs_that_were_scored_differently_refuse_to_be_compared(tmp_path, options):
    with pytest.raises(UsageError, match="were not scored alike"):
        compare(run(tmp_path, "a", A), run(tmp_path, "b", B, **options))


def test_runs_over_other_utterances_refuse_to_be_compared(tmp_path):
    one = run(tmp_path, "a", A)
    fewer = run(tmp_path, "fewer", B, ref=REF.partition("\n")[2])
    other = run(tmp_path, "other", B, ref=REF.replace("灯", "门"))
    for pair, message in (
        ((one, fewer), "lacks utterance 'a'"),
        ((fewer, one), "lacks utterance 'a'"),
        ((one, other), "different references"),
    ):
        with pytest.raises(DatasetError, match=message):
            compare(*pair)


def test_what_is_no_finished_run_is_said_so(tmp_path):
    one = run(tmp_path, "a", A)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no cer\.json; expected the folder of a finished run"):
        compare(one, tmp_path / "empty")
    damaged = run(tmp_path, "damaged", A)
    rows = (damaged / "utterances.jsonl").read_text("utf-8").splitlines()
    (damaged / "utterances.jsonl").write_text("\n".join([rows[0], rows[1][:-5]]), "utf-8")
    with pytest.raises(UsageError, match=r"utterances\.jsonl:2: damaged"):
        compare(one, damaged)
    (damaged / "cer.json").write_text(json.dumps({"schema": "parity/1"}), "utf-8")
    with pytest.raises(UsageError, match=r"cer\.json"):
        compare(one, damaged)


def test_nothing_is_overwritten_unless_asked_and_a_run_never(tmp_path):
    one = run(tmp_path, "a", A)
    before = (one / "cer.json").read_bytes()
    compare(one, one, out=one)
    with pytest.raises(OutputError, match=r"compare\.json exists"):
        compare(one, one, out=one)
    compare(one, one, out=one, overwrite=True)
    assert (one / "cer.json").read_bytes() == before


def test_recordings_of_what_differs_are_kept_where_the_data_set_is_at_hand(tmp_path):
    """A comparison can be listened to: those that differ need not be among either run's worst."""
    data = tmp_path / "set"
    data.mkdir()
    for name in "ab":
        soundfile.write(data / f"{name}.wav", np.zeros(3200, np.int16), 16000)
    (data / "wav.scp").write_text("a a.wav\nb b.wav\n", "utf-8")
    (data / "text").write_text("a 打开灯\nb 关上灯\n", "utf-8")

    def recognizer(texts: dict[str, str]) -> Recognizer:
        def recognize(batches):
            for batch in batches:
                yield [{"path": str(path), "text": texts[path.stem], "duration_s": 0.2} for path in batch]

        return recognize

    runs = [tmp_path / "one", tmp_path / "two"]
    for out, text in zip(runs, ("打开灯", "打开门"), strict=True):
        evaluate("m", data, recognizer=recognizer({"a": text, "b": "关上灯"}), out=out)
    report = compare(*runs)
    assert [(row.utt_id, row.audio.partition(",")[0]) for row in report.differing] == [("a", "data:audio/ogg;base64")]
    shutil.rmtree(data)
    report = compare(*runs)
    assert [row.audio for row in report.differing] == [None]
    assert report.notes[-1].startswith(f"without recordings: {data}")
