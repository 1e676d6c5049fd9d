"""Whole evaluations with a transcriber of the test's own, and the scoring of two files. No model, no ../shared."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import parity.cer
from mlx_model.errors import DatasetError, OutputError, UsageError
from parity.cer import read_dataset, score_files
from parity.cer.engines import open_engine
from reports import schema

ROOT = Path(__file__).resolve().parents[2]
HEARD = {"a": "打开灯", "b": "关上", "c": "二十度"}


@pytest.fixture
def kaldi(tmp_path) -> Path:
    """Four utterances, 12 characters; d is listed, but its audio does not exist."""
    folder = tmp_path / "set"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.wav").touch()
    (folder / "wav.scp").write_text("a a.wav\nb b.wav\nc c.wav\nd d.wav\n", "utf-8")
    (folder / "text").write_text("a 打 开 灯\nb 关 上 灯\nc 三 十 度\nd 停 一 停\n", "utf-8")
    (folder / "utt2spk").write_text("a S1\nb S1\nc S2\nd S2\n", "utf-8")
    return folder


def transcribe(paths: Sequence[Path]) -> list[dict[str, Any]]:
    return [{"path": str(path), "text": HEARD[path.stem], "duration_s": 2.0, "error": None} for path in paths]


def transcribe_with_a_failure(paths: Sequence[Path]) -> list[dict[str, Any]]:
    broken = {"text": "", "duration_s": None, "error": "not audio: 0 bytes"}
    return [{**item, **broken} if item["path"].endswith("b.wav") else item for item in transcribe(paths)]


def test_an_evaluation_counts_and_reports(kaldi):
    report = parity.cer.evaluate("some/model", kaldi, transcriber=transcribe)
    # a right, b one deletion, c one substitution, d three deletions for want of audio
    assert (report.substitutions, report.deletions, report.insertions, report.hits) == (1, 4, 0, 7)
    assert (report.cer, report.ser, report.mean_utterance_cer) == (5 / 12, 3 / 4, pytest.approx(5 / 12))
    assert (report.utterances, report.missing, report.failed, report.reference_length) == (4, 1, 1, 12)
    assert report.ci95[0] <= report.cer <= report.ci95[1]
    assert (report.model, report.engine, report.dataset) == ("some/model", "mlx", "set")
    assert (report.normalizer, report.normalizer_steps) == ("aishell", [r"remove white space (\s)"])
    assert [row.speaker for row in report.rows] == ["S1", "S1", "S2", "S2"]
    assert [row.error for row in report.rows] == [None, None, None, f"no such file: {kaldi}/d.wav"]
    assert report.audio_s == 6.0
    assert report.wall_s is not None
    assert report.rtf == report.wall_s / 6.0
    assert report.dataset_notes == list(read_dataset(kaldi).notes)
    assert report.environment["normalizer_version"] == 1
    assert report.environment["bootstrap"] == {"resamples": 2000, "seed": 0}


def test_audio_that_fails_is_recorded_counts_as_deletions_and_the_run_goes_on(kaldi):
    report = parity.cer.evaluate("m", kaldi, transcriber=transcribe_with_a_failure)
    assert (report.failed, report.missing, report.utterances) == (2, 2, 4)
    failed = report.rows[1]
    assert (failed.error, failed.hypothesis, failed.deletions) == ("not audio: 0 bytes", None, 3)
    assert report.audio_s == 4.0
    assert report.notes[-1] == "2 of 4 recordings failed and count as deletions (first: b: not audio: 0 bytes)"


def test_the_run_folder_holds_the_report_and_the_raw_hypotheses(kaldi, tmp_path):
    report = parity.cer.evaluate("m", kaldi, transcriber=transcribe, out=tmp_path / "runs" / "one")
    assert sorted(item.name for item in (tmp_path / "runs" / "one").iterdir()) == ["cer.json", "hyp.txt"]
    assert schema.read(tmp_path / "runs" / "one" / "cer.json") == report
    assert (tmp_path / "runs" / "one" / "hyp.txt").read_text("utf-8") == "a 打开灯\nb 关上\nc 二十度\n"
    again = score_files(kaldi / "text", tmp_path / "runs" / "one" / "hyp.txt")
    assert (again.cer, again.missing, again.ci95) == (report.cer, report.missing, report.ci95)


def test_failed_and_empty_texts_survive_the_hypothesis_file(kaldi, tmp_path):
    def empty_for_a(paths: Sequence[Path]) -> list[dict[str, Any]]:
        texts = {"a": "", "b": "关\n上", "c": None}
        return [{**item, "text": texts[Path(item["path"]).stem]} for item in transcribe(paths)]

    (tmp_path / "run").mkdir()  # an empty folder is as good as none
    report = parity.cer.evaluate("m", kaldi, transcriber=empty_for_a, out=tmp_path / "run")
    assert (tmp_path / "run" / "hyp.txt").read_text("utf-8") == "a \nb 关 上\n"
    again = score_files(kaldi / "text", tmp_path / "run" / "hyp.txt")
    assert (report.missing, again.missing, again.cer) == (2, 2, report.cer)
    assert report.failed == 1  # c has no text, but no error either


def test_nothing_is_overwritten_unless_asked(kaldi, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(OutputError, match="is not empty; choose another folder, or overwrite"):
        parity.cer.evaluate("m", kaldi, transcriber=transcribe, out=out)
    assert not (out / "cer.json").exists()
    parity.cer.evaluate("m", kaldi, transcriber=transcribe, out=out, overwrite=True)
    assert (out / "notes.txt").read_text("utf-8") == "mine"
    assert (out / "cer.json").exists()
    with pytest.raises(OutputError, match=r"notes\.txt is a file"):
        parity.cer.evaluate("m", kaldi, transcriber=transcribe, out=out / "notes.txt", overwrite=True)


def test_a_refused_run_transcribes_nothing(kaldi, tmp_path):
    def never(paths: Sequence[Path]) -> list[dict[str, Any]]:
        raise AssertionError("called")

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(OutputError):
        parity.cer.evaluate("m", kaldi, transcriber=never, out=tmp_path / "full")
    with pytest.raises(UsageError, match="did you mean 'aishell'"):
        parity.cer.evaluate("m", kaldi, transcriber=never, normalize="ashell")


def test_answers_in_another_order_are_refused(kaldi):
    with pytest.raises(ValueError, match="gave 3 results for 3 paths, or in another order"):
        parity.cer.evaluate("m", kaldi, transcriber=lambda paths: transcribe(paths)[::-1])
    with pytest.raises(ValueError, match="gave 2 results for 3 paths"):
        parity.cer.evaluate("m", kaldi, transcriber=lambda paths: transcribe(paths)[:2])


def test_two_ids_may_share_one_recording(tmp_path):
    (tmp_path / "a.wav").touch()
    (tmp_path / "wav.scp").write_text("one a.wav\ntwo a.wav\n", "utf-8")
    (tmp_path / "text").write_text("one 打开灯\ntwo 打开\n", "utf-8")
    report = parity.cer.evaluate("m", tmp_path, transcriber=transcribe)
    assert [(row.hits, row.insertions) for row in report.rows] == [(3, 0), (2, 1)]


def test_an_unknown_engine_is_refused():
    with pytest.raises(UsageError, match=r"'MLX'.*there are: mlx, funasr"):
        open_engine("MLX", "model")
    with pytest.raises(UsageError, match=r"'funsar'; did you mean 'funasr'"):
        open_engine("funsar", "model")


def test_the_mlx_engine_loads_the_model_and_hands_on_its_options(kaldi, monkeypatch):
    seen: dict[str, Any] = {}

    class Model:
        def transcribe(self, audio: list[Path], **options: Any) -> list[SimpleNamespace]:
            seen.update(options)
            return [SimpleNamespace(**item, token_ids=[1]) for item in transcribe(audio)]

    def load(path: str) -> Model:
        seen["loaded"] = path
        return Model()

    monkeypatch.setitem(sys.modules, "mlx_model", SimpleNamespace(load=load))
    report = parity.cer.evaluate("converted", kaldi, batch_seconds=30.0, progress=print)
    assert seen == {"loaded": "converted", "batch_seconds": 30.0, "progress": print}
    assert (report.engine, report.hits, report.failed) == ("mlx", 7, 1)


def test_the_funasr_engine_asks_the_reference(kaldi, monkeypatch):
    def answer(source: str, paths: list[Path], progress: Any) -> list[dict[str, Any]]:
        assert (source, [path.name for path in paths], progress) == ("hf:org/name", ["a.wav", "b.wav", "c.wav"], print)
        return transcribe_with_a_failure(paths)

    reference = SimpleNamespace(transcribe=answer)
    monkeypatch.setitem(sys.modules, "parity.reference", reference)
    monkeypatch.setattr(parity, "reference", reference, raising=False)
    report = parity.cer.evaluate("hf:org/name", kaldi, engine="funasr", progress=print)
    assert (report.engine, report.hits, report.failed) == ("funasr", 5, 2)
    assert report.notes[-1] == "wall_s and rtf include starting FunASR's process and loading its model"


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


def test_importing_the_package_loads_no_engine():
    code = (
        "import sys, parity.cer\n"
        "assert callable(parity.cer.evaluate) and callable(parity.cer.score)\n"
        "import parity.cer.evaluate, parity.cer.score\n"
        "assert callable(parity.cer.evaluate) and callable(parity.cer.score)\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'mlx', 'torch', 'funasr', 'soundfile'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
