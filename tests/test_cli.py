"""The command line as scripts see it: exit codes, one-line errors, the fields of `--json`. Runs mlx_funasr.py."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from parity.demo import MODEL, SPEECH
from tests.conftest import ROOT

FIRST = SPEECH / "wav/test/D0001/DEMOD0001W0001.wav"


def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run one command; neither side may show a traceback."""
    command = [sys.executable, str(ROOT / "mlx_funasr.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "model"
    done = run("convert", MODEL, out, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "conversion/1"
    assert document["family"] == "paraformer"
    assert document["parameters"] == 1_937_064
    assert set(document["tensors"][0]) == {"source", "target", "op", "shape", "dtype", "reason"}
    assert len(document["sha256"]["model.pt"]) == 64
    return out


def test_transcribe_json_in_input_order(converted: Path):
    second = FIRST.with_name("DEMOD0001W0002.wav")
    done = run("transcribe", converted, second, FIRST, "--json")
    assert done.returncode == 0
    results = json.loads(done.stdout)["results"]
    assert [row["path"] for row in results] == [str(second), str(FIRST)]
    assert [row["text"] for row in results] == ["现在中午四点十分", "号码是九零四二七零八八"]
    assert all(row["error"] is None and row["token_ids"] and row["duration_s"] > 1 for row in results)


def test_transcribe_goes_on_after_a_bad_file(converted: Path, tmp_path: Path):
    junk = tmp_path / "junk.wav"
    junk.write_bytes(b"RIFF....nonsense")
    done = run("transcribe", converted, junk, FIRST)
    assert done.returncode == 1
    assert done.stdout == "\n号码是九零四二七零八八\n"
    assert str(junk) in done.stderr
    assert run("transcribe", converted, junk).returncode == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--format", "docx"), "docx"),
        ((FIRST, "--format", "srt"), "one recording, not 2"),
        (("--words",), "--words is for json and tsv"),
        (("--format", "tsv", "--nbest", "3"), "--nbest needs --json"),
    ],
)
def test_formats_that_cannot_be_given(converted: Path, words: tuple[str, ...], says: str):
    done = run("transcribe", converted, FIRST, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_words_without_a_vad(converted: Path):
    """The digits of the bundled recording: as many words, and each sure to the same digits in both forms."""
    lines = [line.split(" ") for line in run("transcribe", converted, FIRST, "--format", "ctm").stdout.splitlines()]
    assert "".join(line[4] for line in lines) == "号码是九零四二七零八八"
    assert all(line[:2] == [FIRST.stem, "1"] for line in lines)
    document = json.loads(run("transcribe", converted, FIRST, "--json", "--words", "--nbest", "2").stdout)
    (row,) = document["results"]
    assert [f"{word['confidence']:.4f}" for word in row["words"]] == [line[5] for line in lines]
    assert row["alternatives"][0]["text"] == row["text"]
    assert len(row["alternatives"]) == 2


def test_nothing_is_overwritten_unasked(converted: Path):
    before = (converted / "config.json").stat().st_mtime_ns
    done = run("convert", MODEL, converted)
    assert done.returncode == 2
    assert "--overwrite" in done.stderr
    assert (converted / "config.json").stat().st_mtime_ns == before
    assert run("convert", MODEL, converted, "--overwrite").returncode == 0


def test_the_source_is_never_the_target():
    assert run("convert", MODEL, MODEL, "--overwrite").returncode == 2
    assert (MODEL / "model.pt").is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("convert", "/nowhere/model", "/tmp/never-made"), "/nowhere/model"),
        (("transcribe", "/nowhere/model", FIRST), "no such directory"),
        (("transcribe", MODEL, FIRST), "convert it first"),
        (("cer", "score", "/nowhere/ref", "/nowhere/hyp"), "/nowhere/ref"),
        (("cer", "score", "/nowhere/ref"), "two arguments, REF and HYP"),
        (("cer", "compare", "/nowhere/a"), "two arguments, RUN_A and RUN_B"),
        (("cer", "compare", "/nowhere/a", "/nowhere/b"), "no cer.json"),
        (("cer", MODEL), "MODEL and DATASET"),
        (("cer", MODEL, SPEECH, "--normalize", "aishel"), "did you mean 'aishell'"),
        (("cer", MODEL, SPEECH, "--unit", "letter"), "char, word, mixed"),
        (("cer", MODEL, SPEECH, "--engine", "mlxx"), "mlx, funasr"),
        (("cer", MODEL, "/nowhere/data"), "/nowhere/data"),
        (("report", "/nowhere"), "/nowhere"),
        (("parity", "run", MODEL, "--audio", "/nowhere"), "/nowhere"),
        (("parity", "check", "/nowhere", "/nowhere"), "no trace.json"),
        (("parity", "run", MODEL), "--audio"),
        (("parity", "run", MODEL, FIRST), "--audio"),
        (("parity", "run", MODEL, "--audio", FIRST, "/nowhere"), "/nowhere"),  # --audio PATH...
        (("convert", MODEL, "/tmp/never-made", "--bits", "many"), "--bits"),
        (("transcribe",), "MODEL"),
        (("frobnicate",), "frobnicate"),
    ],
)
def test_wrong_usage_exits_with_2_and_one_line(words: tuple, says: str):
    done = run(*words)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.reference
def test_audio_takes_several_paths(converted: Path, tmp_path: Path):
    """The contract's `--audio PATH...`; what a trace holds is said in `record --json`."""
    second = SPEECH / "wav/test/D0001/DEMOD0001W0002.wav"
    done = run("parity", "record", MODEL, tmp_path / "trace", "--audio", FIRST, second, "--no-steps", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["schema"], document["utterances"]) == ("record/1", 2)
    done = run("parity", "check", converted, tmp_path / "trace", "--out", tmp_path / "check", "--json")
    assert json.loads(done.stdout)["verdict"] == "pass"
    pages = json.loads(run("report", tmp_path / "check", "--json").stdout)
    summary = run("report", tmp_path / "check", "--markdown").stdout
    assert "PASS" in summary.upper()
    assert not summary.startswith("<")
    assert (pages["schema"], [Path(page).name for page in pages["pages"]]) == ("report/1", ["parity.html"])


@pytest.mark.parametrize("damage", ["truncated", "pickle", "no_tokens", "no_mvn", "no_config", "vocabulary", "escape"])
def test_broken_sources_leave_nothing_behind(tmp_path: Path, damage: str):
    src, out = tmp_path / "src", tmp_path / "out"
    shutil.copytree(MODEL, src)
    if damage == "truncated":
        (src / "model.pt").write_bytes((MODEL / "model.pt").read_bytes()[:100_000])
    elif damage == "pickle":
        (src / "model.pt").write_bytes(b"\x80\x04cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR.")
    elif damage == "vocabulary":
        tokens = json.loads((src / "tokens.json").read_text("utf-8"))
        (src / "tokens.json").write_text(json.dumps([*tokens, "多"], ensure_ascii=False), "utf-8")
    elif damage == "escape":
        names = json.loads((src / "configuration.json").read_text("utf-8"))
        names["file_path_metas"]["frontend_conf"]["cmvn_file"] = "../../../etc/passwd"
        (src / "configuration.json").write_text(json.dumps(names), "utf-8")
    else:
        (src / {"no_tokens": "tokens.json", "no_mvn": "am.mvn", "no_config": "config.yaml"}[damage]).unlink()
    done = run("convert", src, out)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["src"]


def test_cer_json_and_its_exit_code(converted: Path, tmp_path: Path):
    out = tmp_path / "run"
    done = run("cer", converted, SPEECH, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "cer/1"
    wanted = {"cer", "substitutions", "deletions", "insertions", "hits", "reference_length", "utterances", "missing",
              "failed", "ci95", "ser", "normalizer"}  # fmt: skip
    assert wanted <= set(document)
    errors = document["substitutions"] + document["deletions"] + document["insertions"]
    assert document["cer"] == pytest.approx(errors / document["reference_length"])
    assert 0 < document["cer"] < 0.1
    assert document["ci95"][0] <= document["cer"] <= document["ci95"][1]
    assert (out / "cer.json").is_file()
    assert (out / "cer.html").is_file()
    assert (out / "utterances.jsonl").read_text("utf-8").count("\n") == document["utterances"]
    assert run("cer", converted, SPEECH, "--out", out).returncode == 2
    assert "finished run" in run("cer", converted, SPEECH, "--out", out).stderr


def test_a_killed_evaluation_goes_on_with_the_same_command(converted: Path, tmp_path: Path):
    """kill -9 once the journal holds some answers; then the texts are those of a run that was never killed."""
    words = ("cer", converted, SPEECH, "--batch-seconds", "3", "--out")
    child = subprocess.Popen([sys.executable, "mlx_funasr.py", *map(str, words), str(tmp_path / "killed")], cwd=ROOT)
    journal, deadline = tmp_path / "killed/journal.jsonl", time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        if journal.is_file() and journal.read_bytes().count(b"\n") > 5:
            break
        time.sleep(0.01)
    child.kill()
    assert child.wait() != 0
    before = journal.read_bytes()
    assert 5 < before.count(b"\n") < 41
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["journal.jsonl"]
    assert run(*words, tmp_path / "killed").returncode == 0
    assert journal.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    assert run(*words, tmp_path / "whole").returncode == 0
    for name in ("utterances.jsonl", "hyp.txt"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_compare_json_and_refusal(tmp_path: Path):
    (tmp_path / "ref").write_text("a 一二三\nb 四五\n", "utf-8")
    (tmp_path / "hyp").write_text("a 一二三\nb 四五六\n", "utf-8")
    for name, hyp, options in (("one", "ref", ()), ("two", "hyp", ()), ("other", "hyp", ("--normalize", "funasr"))):
        words = ("cer", "score", tmp_path / "ref", tmp_path / hyp, "--out", tmp_path / name, *options)
        assert run(*words).returncode == 0
    document = json.loads(run("cer", "compare", tmp_path / "one", tmp_path / "two", "--json").stdout)
    assert document["schema"] == "cer_compare/1"
    assert {"difference", "ci95", "probability_of_improvement", "p_mapsswe"} <= set(document)
    assert (document["difference"], document["a"]["cer"], document["b"]["insertions"]) == (0.2, 0.0, 1)
    done = run("cer", "compare", tmp_path / "one", tmp_path / "other")
    assert (done.returncode, "not scored alike" in done.stderr) == (2, True)
    assert len(done.stderr.strip().splitlines()) == 1


def test_commands_in_lists_run_only_when_allowed(converted: Path, tmp_path: Path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/wav.scp").write_text(f"a cat {FIRST.resolve()} |\n", "utf-8")
    (tmp_path / "set/text").write_text("a 号码是九零四二七零八八\n", "utf-8")
    done = run("cer", converted, tmp_path / "set")
    assert (done.returncode, "--allow-pipes" in done.stderr) == (2, True)
    document = json.loads(run("cer", converted, tmp_path / "set", "--allow-pipes", "--json").stdout)
    assert (document["cer"], document["hits"]) == (0.0, 11)


def test_score_counts_a_missing_line_as_deletions(tmp_path: Path):
    """By hand: 3 of 5 characters right, one utterance of 2 characters missing."""
    (tmp_path / "ref").write_text("a 一二三\nb 四五\n", "utf-8")
    (tmp_path / "hyp").write_text("a 一二三\n", "utf-8")
    document = json.loads(run("cer", "score", tmp_path / "ref", tmp_path / "hyp", "--json").stdout)
    assert (document["cer"], document["deletions"], document["missing"]) == (0.4, 2, 1)


def test_version_and_help():
    assert run("--version").stdout.strip() == "0.1.0"
    assert "transcribe" in run("--help").stdout


def test_quiet_in_a_pipe(converted: Path):
    """No progress bar and no escape codes where nobody watches."""
    done = run("transcribe", converted, FIRST)
    assert "\x1b" not in done.stdout + done.stderr
    assert np.array_equal(done.stdout.splitlines(), ["号码是九零四二七零八八"])
