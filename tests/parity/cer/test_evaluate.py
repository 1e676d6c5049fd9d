"""Whole evaluations with a recogniser of the test's own. No model, no ../shared."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

import parity.cer
import parity.sides
from mlx_model.errors import OutputError, UsageError
from mlx_model.models.paraformer import ParaformerOptions
from parity.cer import read_dataset, score_files
from parity.cer.recognizers import open_recognizer, saying
from parity.cer.summary import read_rows
from reports import schema

ROOT = Path(__file__).resolve().parents[3]
HEARD = {"a": "打开灯", "b": "关上", "c": "二十度"}
Answers = list[dict[str, Any]]


@pytest.fixture
def kaldi(tmp_path) -> Path:
    """Four utterances, 12 characters; d is listed, but its audio does not exist."""
    folder = tmp_path / "set"
    folder.mkdir()
    for name in "abc":
        soundfile.write(folder / f"{name}.wav", np.zeros(32000, np.float32), 16000, subtype="PCM_16")
    (folder / "wav.scp").write_text("a a.wav\nb b.wav\nc c.wav\nd d.wav\n", "utf-8")
    (folder / "text").write_text("a 打 开 灯\nb 关 上 灯\nc 三 十 度\nd 停 一 停\n", "utf-8")
    (folder / "utt2spk").write_text("a S1\nb S1\nc S2\nd S2\n", "utf-8")
    return folder


def in_turn(answer: Callable[[Sequence[Path]], Answers]) -> Any:
    """Return a recogniser that answers one batch after the other."""

    def recognize(batches: Iterable[Sequence[Path]]) -> Iterator[Answers]:
        yield from map(answer, batches)

    return recognize


def heard(paths: Sequence[Path]) -> Answers:
    return [{"path": str(path), "text": HEARD[path.stem], "duration_s": 2.0, "error": None} for path in paths]


def heard_but_b(paths: Sequence[Path]) -> Answers:
    broken = {"text": "", "duration_s": None, "error": "not audio: 0 bytes"}
    return [{**item, **broken} if item["path"].endswith("b.wav") else item for item in heard(paths)]


def test_an_evaluation_counts_and_reports(kaldi, tmp_path):
    report = parity.cer.evaluate("some/model", kaldi, recognizer=in_turn(heard), out=tmp_path / "run")
    # a right, b one deletion, c one substitution, d three deletions for want of audio
    assert (report.substitutions, report.deletions, report.insertions, report.hits) == (1, 4, 0, 7)
    assert (report.cer, report.ser, report.mean_utterance_cer) == (5 / 12, 3 / 4, pytest.approx(5 / 12))
    assert (report.utterances, report.missing, report.failed, report.reference_length) == (4, 1, 1, 12)
    assert report.ci95[0] <= report.cer <= report.ci95[1]
    assert report.ci95_speakers is not None
    assert (report.model, report.engine, report.dataset) == ("some/model", "mlx", "set")
    assert (report.normalizer, report.normalizer_steps) == ("aishell", [r"remove white space (\s)"])
    rows = list(read_rows(tmp_path / "run"))
    assert [row.speaker for row in rows] == ["S1", "S1", "S2", "S2"]
    assert [row.error for row in rows] == [None, None, None, f"no such file: {kaldi}/d.wav"]
    assert [failure.utt_id for failure in report.failures] == ["d"]
    assert [row.utt_id for row in report.worst] == ["d", "b", "c"]
    assert report.worst[1].audio.startswith("data:audio/ogg;base64,")
    assert report.worst[0].audio is None
    assert {item.name: [group.cer for group in item.groups] for item in report.divisions}["speaker"] == [1 / 6, 4 / 6]
    assert sum(item.count for item in report.rate_bins) == 4
    assert ("S", "三", "二", 1) in [(c.kind, c.reference, c.hypothesis, c.count) for c in report.confusions]
    assert report.audio_s == 6.0
    assert report.rtf == report.wall_s / 6.0
    assert report.dataset_notes == list(read_dataset(kaldi).notes)
    assert report.normalizer_version == 1
    assert report.environment["bootstrap"]["resamples"] == 10_000


def surely(paths: Sequence[Path]) -> Answers:
    """c's first character, the wrong one, at 0.25, all others at 0.75."""
    values = {"a": [0.75] * 3, "b": [0.75] * 2, "c": [0.25, 0.75, 0.75]}
    return [{**row, "confidences": values[Path(row["path"]).stem]} for row in heard(paths)]


def test_confidences_are_held_against_the_alignment_also_of_a_run_that_goes_on(kaldi, tmp_path):
    """By hand: 7 right at 0.75, 1 wrong at 0.25; d has no token. The second half of the run is another process'."""
    whole = parity.cer.evaluate("m", kaldi, recognizer=in_turn(surely), batch_seconds=2.0, out=tmp_path / "whole")
    found = whole.confidence
    assert found is not None
    assert (found.tokens, found.left_out, found.accuracy, found.auc) == (8, 0, 7 / 8, 1.0)
    assert found.ece == pytest.approx(0.25)
    assert {round(one.low, 1): one.count for one in found.bins if one.count} == {0.2: 1, 0.7: 7}

    def dies(batches: Iterable[Sequence[Path]]) -> Iterator[Answers]:
        yield surely(next(iter(batches)))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parity.cer.evaluate("m", kaldi, recognizer=dies, batch_seconds=2.0, out=tmp_path / "halves")
    again = parity.cer.evaluate("m", kaldi, recognizer=in_turn(surely), batch_seconds=2.0, out=tmp_path / "halves")
    assert again.confidence == found
    assert schema.read(tmp_path / "halves" / "cer.json") == again


def test_without_confidences_nothing_is_said_of_them(kaldi, tmp_path):
    report = parity.cer.evaluate("m", kaldi, recognizer=in_turn(heard), out=tmp_path / "run")
    assert report.confidence is None
    assert score_files(tmp_path / "run/ref.txt", tmp_path / "run/hyp.txt").confidence is None


def test_audio_that_fails_is_recorded_counts_as_deletions_and_the_run_goes_on(kaldi, tmp_path):
    report = parity.cer.evaluate("m", kaldi, recognizer=in_turn(heard_but_b), out=tmp_path / "run")
    assert (report.failed, report.missing, report.utterances) == (2, 2, 4)
    failed = list(read_rows(tmp_path / "run"))[1]
    assert (failed.error, failed.hypothesis, failed.deletions) == ("not audio: 0 bytes", None, 3)
    assert report.audio_s == 4.0
    assert report.notes[0] == "2 of 4 recordings failed and count as deletions (first: b: not audio: 0 bytes)"


def test_the_run_folder_holds_the_report_and_the_raw_texts(kaldi, tmp_path):
    run = tmp_path / "runs" / "one"
    report = parity.cer.evaluate("m", kaldi, recognizer=in_turn(heard), out=run)
    names = ["cer.json", "hyp.txt", "journal.jsonl", "ref.txt", "utterances.jsonl"]
    assert sorted(item.name for item in run.iterdir()) == names
    assert schema.read(run / "cer.json") == report
    assert (run / "hyp.txt").read_text("utf-8") == "a 打开灯\nb 关上\nc 二十度\n"
    again = score_files(kaldi / "text", run / "hyp.txt")
    assert (again.cer, again.missing, again.ci95) == (report.cer, report.missing, report.ci95)
    assert score_files(run / "ref.txt", run / "hyp.txt").cer == report.cer


def test_without_a_folder_nothing_is_left(kaldi):
    report = parity.cer.evaluate("m", kaldi, recognizer=in_turn(heard))
    assert (report.cer, [row.audio for row in report.worst]) == (5 / 12, [None] * 3)


def test_failed_and_empty_texts_survive_the_hypothesis_file(kaldi, tmp_path):
    def empty_for_a(paths: Sequence[Path]) -> Answers:
        texts = {"a": "", "b": "关\n上", "c": None}
        return [{**item, "text": texts[Path(item["path"]).stem]} for item in heard(paths)]

    (tmp_path / "run").mkdir()  # an empty folder is as good as none
    report = parity.cer.evaluate("m", kaldi, recognizer=in_turn(empty_for_a), out=tmp_path / "run")
    assert (tmp_path / "run" / "hyp.txt").read_text("utf-8") == "a \nb 关 上\n"
    again = score_files(kaldi / "text", tmp_path / "run" / "hyp.txt")
    assert (report.missing, again.missing, again.cer) == (2, 2, report.cer)
    assert report.failed == 1  # c has no text, but no error either


def test_nothing_is_overwritten_unless_asked(kaldi, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(OutputError, match="is not empty; choose another folder, or overwrite"):
        parity.cer.evaluate("m", kaldi, recognizer=in_turn(heard), out=out)
    assert not (out / "cer.json").exists()
    parity.cer.evaluate("m", kaldi, recognizer=in_turn(heard), out=out, overwrite=True)
    assert (out / "notes.txt").read_text("utf-8") == "mine"
    with pytest.raises(OutputError, match="holds a finished run"):
        parity.cer.evaluate("m", kaldi, recognizer=in_turn(heard), out=out)
    with pytest.raises(OutputError, match=r"notes\.txt is a file"):
        parity.cer.evaluate("m", kaldi, recognizer=in_turn(heard), out=out / "notes.txt", overwrite=True)


def never(batches: Iterable[Sequence[Path]]) -> Iterator[Answers]:
    raise AssertionError("called")


def test_a_refused_run_transcribes_nothing(kaldi, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(OutputError):
        parity.cer.evaluate("m", kaldi, recognizer=never, out=tmp_path / "full")
    with pytest.raises(UsageError, match="did you mean 'aishell'"):
        parity.cer.evaluate("m", kaldi, recognizer=never, normalize="ashell")
    with pytest.raises(UsageError, match="no scoring unit"):
        parity.cer.evaluate("m", kaldi, recognizer=never, unit="letter")
    with pytest.raises(UsageError, match="above 0"):
        parity.cer.evaluate("m", kaldi, recognizer=never, batch_seconds=0)


def broken_after(count: int) -> Any:
    """Return a recogniser that answers so many batches and then ends the process's work, as a kill would."""

    def recognize(batches: Iterable[Sequence[Path]]) -> Iterator[Answers]:
        for number, batch in enumerate(batches):
            if number == count:
                raise KeyboardInterrupt
            yield heard(batch)

    return recognize


def test_a_broken_run_goes_on_where_it_was(kaldi, tmp_path):
    out, asked = tmp_path / "run", []
    with pytest.raises(KeyboardInterrupt):
        parity.cer.evaluate("m", kaldi, recognizer=broken_after(2), out=out, batch_seconds=2.5)
    assert sorted(item.name for item in out.iterdir()) == ["journal.jsonl"]

    def note(paths: Sequence[Path]) -> Answers:
        asked.extend(path.stem for path in paths)
        return heard(paths)

    report = parity.cer.evaluate("m", kaldi, recognizer=in_turn(note), out=out, batch_seconds=2.5)
    whole = parity.cer.evaluate("m", kaldi, recognizer=in_turn(heard), out=tmp_path / "whole", batch_seconds=2.5)
    assert len(asked) == 2  # d, whose file is missing, and one other were done before
    assert (report.cer, report.utterances, report.rate_bins) == (whole.cer, whole.utterances, whole.rate_bins)
    for name in ("utterances.jsonl", "hyp.txt", "ref.txt"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "named"),
    [({"batch_seconds": 3.0}, "batch_seconds"), ({"engine": "funasr"}, "engine"), ({"model": "n"}, "model_sha256")],
)
def test_a_changed_model_or_option_refuses_to_go_on(kaldi, tmp_path, change, named):
    with pytest.raises(KeyboardInterrupt):
        parity.cer.evaluate("m", kaldi, recognizer=broken_after(2), out=tmp_path / "run", batch_seconds=2.5)
    options = {"model": "m", "batch_seconds": 2.5, **change}
    with pytest.raises(UsageError, match=f"holds a run with another {named}"):
        parity.cer.evaluate(dataset=kaldi, recognizer=never, out=tmp_path / "run", **options)


def test_a_changed_data_set_refuses_to_go_on(kaldi, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        parity.cer.evaluate("m", kaldi, recognizer=broken_after(2), out=tmp_path / "run", batch_seconds=2.5)
    (kaldi / "text").write_text("a 打 开 灯\nb 关 上 门\nc 三 十 度\nd 停 一 停\n", "utf-8")
    with pytest.raises(UsageError, match="holds a run with another data_sha256"):
        parity.cer.evaluate("m", kaldi, recognizer=never, out=tmp_path / "run", batch_seconds=2.5)


def test_a_finished_journal_is_scored_again_without_the_engine(kaldi, tmp_path):
    out = tmp_path / "run"
    parity.cer.evaluate("m", kaldi, recognizer=in_turn(heard), out=out)
    (out / "cer.json").unlink()
    report = parity.cer.evaluate("m", kaldi, recognizer=never, out=out, normalize="funasr")
    assert (report.cer, report.normalizer) == (5 / 12, "funasr")


def test_what_computed_survives_a_broken_run(kaldi, tmp_path):
    """Two sessions with other numerics: both stand in the report, though the second did not do all of it."""
    first = saying(broken_after(2), lambda: {"engine": "one"})
    with pytest.raises(KeyboardInterrupt):
        parity.cer.evaluate("m", kaldi, recognizer=first, out=tmp_path / "run", batch_seconds=2.5)
    second = saying(in_turn(heard), lambda: {"engine": "two"})
    report = parity.cer.evaluate("m", kaldi, recognizer=second, out=tmp_path / "run", batch_seconds=2.5)
    assert report.numerics == {"engine": "one", "others": [{"engine": "two"}]}
    (tmp_path / "run/cer.json").unlink()
    again = parity.cer.evaluate("m", kaldi, recognizer=never, out=tmp_path / "run", batch_seconds=2.5)
    assert again.numerics == report.numerics


def test_progress_tells_the_rate_so_far(kaldi, tmp_path):
    told: list[tuple[int, int, float]] = []
    parity.cer.evaluate(
        "m", kaldi, recognizer=in_turn(heard), batch_seconds=2.5, progress=lambda *news: told.append(news)
    )
    assert [done for done, _, _ in told] == [0, 1, 2, 3, 4] or told[-1][0] == 4
    assert told[-1] == (4, 4, 5 / 12)


def test_answers_in_another_order_are_refused(kaldi):
    with pytest.raises(ValueError, match="gave 3 results for 3 paths, or in another order"):
        parity.cer.evaluate("m", kaldi, recognizer=in_turn(lambda paths: heard(paths)[::-1]))
    with pytest.raises(ValueError, match="gave 2 results for 3 paths"):
        parity.cer.evaluate("m", kaldi, recognizer=in_turn(lambda paths: heard(paths)[:2]))


def test_two_ids_may_share_one_recording(tmp_path):
    (tmp_path / "a.wav").touch()
    (tmp_path / "wav.scp").write_text("one a.wav\ntwo a.wav\n", "utf-8")
    (tmp_path / "text").write_text("one 打开灯\ntwo 打开\n", "utf-8")
    report = parity.cer.evaluate("m", tmp_path, recognizer=in_turn(heard))
    assert (report.hits, report.insertions) == (5, 1)


def test_an_unknown_engine_is_refused():
    with pytest.raises(UsageError, match=r"'MLX'.*there are: mlx, funasr"):
        open_recognizer("MLX", "model")
    with pytest.raises(UsageError, match=r"'funsar'; did you mean 'funasr'"):
        open_recognizer("funsar", "model")


def test_options_of_the_family_are_refused_recorded_and_part_of_the_journals_key(kaldi, tmp_path):
    """By hand: a run goes on with its own options only; what a family does not have is said before anything starts."""
    model = tmp_path / "converted"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "paraformer"}', "utf-8")
    with pytest.raises(UsageError, match=r"^language: a paraformer has no such option; it has none$"):
        parity.cer.evaluate(model, kaldi, options={"language": "zh"}, out=tmp_path / "none")
    assert not (tmp_path / "none/journal.jsonl").exists()

    def recognizer(batches: Iterable[Sequence[Path]]) -> Iterator[Any]:
        return map(heard, batches)

    asked: Any = {"recognizer": recognizer, "out": tmp_path / "run"}
    report = parity.cer.evaluate(model, kaldi, **asked, options={"language": "zh"})
    assert report.options == {"language": "zh"}
    key = json.loads((tmp_path / "run/journal.jsonl").read_text("utf-8").splitlines()[0])["key"]
    assert key["options"] == {"language": "zh"}
    (tmp_path / "run/cer.json").unlink()  # unfinished, as far as the folder says
    with pytest.raises(UsageError, match="another options"):
        parity.cer.evaluate(model, kaldi, **asked, options={"language": "en"})
    plain = parity.cer.evaluate(model, kaldi, recognizer=recognizer, out=tmp_path / "plain")
    assert plain.options == {}
    assert "options" not in json.loads((tmp_path / "plain/journal.jsonl").read_text("utf-8").splitlines()[0])["key"]


def test_the_mlx_engine_loads_the_model_and_runs_its_batches(kaldi, tmp_path, monkeypatch):
    seen: list[Any] = []

    def load(path: str, role: type) -> SimpleNamespace:
        seen.append(path)
        return SimpleNamespace(Options=ParaformerOptions, tokenizer=SimpleNamespace(tokens=[]))

    def in_batches(
        model: Any, batches: Iterable[Sequence[Path]], *, options: Any, confidence: bool
    ) -> Iterator[list[SimpleNamespace]]:
        assert (options, confidence) == (ParaformerOptions(), True)
        for batch in batches:
            yield [SimpleNamespace(**item, token_ids=[], confidences=None) for item in heard(batch)]

    monkeypatch.setattr("mlx_model.loading.load_as", load)
    monkeypatch.setattr("mlx_model.pipelines.transcribe.in_batches", in_batches)
    monkeypatch.setattr("mlx_model.machine.numerics.numerics", lambda model: {"engine": "the one in force"})
    model = tmp_path / "converted"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "paraformer"}', "utf-8")  # looked at before it is loaded
    report = parity.cer.evaluate(model, kaldi)
    assert seen == [str(model)]
    assert report.numerics == {"engine": "the one in force"}
    assert (report.engine, report.hits, report.failed) == ("mlx", 7, 1)


def test_the_funasr_engine_asks_the_reference(kaldi, monkeypatch):
    def answer(source: str, batches: Iterable[Sequence[Path]], options: object) -> Iterator[Answers]:
        assert (source, options) == ("hf:org/name", {})
        yield from map(heard_but_b, batches)

    reference = SimpleNamespace(transcribe=answer)
    monkeypatch.setitem(sys.modules, "parity.sides.reference", reference)
    monkeypatch.setattr(parity.sides, "reference", reference, raising=False)
    report = parity.cer.evaluate("hf:org/name", kaldi, engine="funasr")
    assert (report.engine, report.hits, report.failed) == ("funasr", 5, 2)
    assert "wall_s and rtf include starting FunASR's process and loading its model" in report.notes


def test_parts_of_one_recording_reach_the_engine_as_files_that_are_deleted(tmp_path):
    """A Kaldi directory with segments: 2 s of a recording, cut in two."""
    soundfile.write(tmp_path / "long.wav", np.arange(32000, dtype=np.int16), 16000, subtype="PCM_16")
    (tmp_path / "wav.scp").write_text("long long.wav\n", "utf-8")
    (tmp_path / "segments").write_text("a long 0.0 0.5\nb long 0.5 2.0\n", "utf-8")
    (tmp_path / "text").write_text("a 打开灯\nb 关上\n", "utf-8")
    seen: dict[Path, int] = {}

    def by_length(paths: Sequence[Path]) -> Answers:
        seen.update({path: len(soundfile.read(path)[0]) for path in paths})
        texts = {8000: "打开灯", 24000: "关上"}
        return [{"path": str(path), "text": texts[seen[path]], "duration_s": seen[path] / 16000} for path in paths]

    report = parity.cer.evaluate("m", tmp_path, recognizer=in_turn(by_length))
    assert (report.cer, report.audio_s, sorted(seen.values())) == (0.0, 2.0, [8000, 24000])
    assert not any(path.exists() for path in seen)
