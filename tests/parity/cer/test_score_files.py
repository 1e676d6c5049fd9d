"""Two files of texts, scored: counts by hand, order, folders, what is refused."""

import json
from pathlib import Path

import pytest

from mlx_model.errors import DatasetError, OutputError
from parity.cer import score_files
from reports import schema


def pair(tmp_path: Path, ref: str, hyp: str) -> tuple[Path, Path]:
    (tmp_path / "ref.txt").write_text(ref, "utf-8")
    (tmp_path / "hyp.txt").write_text(hyp, "utf-8")
    return tmp_path / "ref.txt", tmp_path / "hyp.txt"


def test_scoring_two_files(tmp_path):
    ref, hyp = pair(tmp_path, "a 打 开\nb 关灯\nc\nd 停\n", "d 停\nz 嗯\na 打开\nb\n")
    report = score_files(ref, hyp)
    assert (report.substitutions, report.deletions, report.insertions, report.hits) == (0, 2, 0, 3)
    assert (report.cer, report.utterances, report.missing, report.failed) == (2 / 5, 4, 1, 0)
    assert (report.dataset, report.model, report.engine) == (str(ref), str(hyp), "files")
    assert [note.split(" (first")[0] for note in report.notes] == [
        "1 hypotheses have no reference and are not scored",
        "1 of 4 utterances have no hypothesis: deletions",
        "1 references are empty after normalisation: insertions count, but they have no rate of their own in the mean "
        "per utterance",
    ]


def test_scoring_in_any_order_and_into_a_folder(tmp_path):
    lines = [f"u{number} 打开{number}\n" for number in range(50)]
    ref, hyp = pair(tmp_path, "".join(lines), "".join(reversed(lines[:-1])))
    report = score_files(ref, hyp, out=tmp_path / "run")
    assert (report.cer, report.missing) == (4 / 190, 1)
    assert schema.read(tmp_path / "run" / "cer.json") == report
    first = json.loads((tmp_path / "run" / "utterances.jsonl").read_text("utf-8").splitlines()[0])
    assert (first["utt_id"], first["alignment"]) == ("u0", [["打开0", "打开0"]])
    with pytest.raises(OutputError, match="holds a finished run"):
        score_files(ref, hyp, out=tmp_path / "run")


def test_one_utterance_has_no_interval_of_its_own(tmp_path):
    report = score_files(*pair(tmp_path, "a 打开灯\n", "a 打开\n"))
    assert report.ci95 == [report.cer, report.cer] == [1 / 3, 1 / 3]
    assert report.notes == ["1 utterance: the interval is the rate itself, a bootstrap needs at least 2"]


@pytest.mark.parametrize(
    ("ref", "hyp", "message"),
    [
        ("a 打\nb 开\na 打\n", "a 打\n", r"ref\.txt:3: id 'a' stands in line 1 already"),
        ("a 打\n", "a 打\na 开\n", r"hyp\.txt:2: id 'a' stands in line 1 already"),
        ("a 打\n", "b 打\n", r"share no id \(first ids: 'a' and 'b'\)"),
        ("\n\n", "a 打\n", r"ref\.txt: holds no line"),
        ("a 打\n", "", r"hyp\.txt: holds no line"),
    ],
)
def test_files_that_cannot_be_scored_are_refused(tmp_path, ref, hyp, message):
    with pytest.raises(DatasetError, match=message):
        score_files(*pair(tmp_path, ref, hyp))
