"""Published figures, reproduced from ../shared/data/cer: Kaldi's decode of AISHELL S0150 and a FunASR system's output.

Oracles: expected.json (a plain Levenshtein that reproduces Kaldi's own totals), per_utt of Kaldi, the FunASR system's
published corpus and per-utterance rates, and kaldialign on the same texts.
"""

import json
from pathlib import Path

import pytest

from parity.cer import score_files
from parity.cer.score import utterance_errors

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "cer"
AISHELL_TEST = SHARED.parent / "aishell_transcripts" / "test.text"
KALDI, BASELINE = SHARED / "kaldi_s0150", SHARED / "funasr_command_baseline"
pytestmark = [pytest.mark.shared, pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is absent")]


@pytest.mark.parametrize("decode", ["7_0.0", "12_0.5", "17_1.0"])
def test_kaldi_character_totals(decode):
    expected = json.loads((KALDI / "expected.json").read_text("utf-8"))[decode]
    report = score_files(KALDI / "ref.txt", KALDI / expected["hyp"])
    assert report.normalizer == "aishell"
    assert report.utterances == expected["utts"] == 500
    assert report.reference_length == expected["ref_chars"] == 6678
    assert report.substitutions + report.deletions + report.insertions == expected["char_errors"]
    assert round(report.cer * 100, 4) == expected["cer_percent"]
    assert (report.missing, report.failed) == (0, 0)
    assert report.ci95[0] < report.cer < report.ci95[1]


def test_every_kaldi_utterance_against_a_second_scorer():
    kaldialign = pytest.importorskip("kaldialign", reason="the second scorer is not installed")
    report = score_files(KALDI / "ref.txt", KALDI / "hyp_17_1.0.txt")
    for row in report.rows:
        total = kaldialign.edit_distance(list(row.reference), list(row.hypothesis or ""))["total"]
        assert utterance_errors(row) == total, row.utt_id


def test_the_texts_scored_are_those_kaldi_aligned():
    # per_utt pads both sides with ***; without the padding and the spaces they are what was scored.
    report = score_files(KALDI / "ref.txt", KALDI / "hyp_17_1.0.txt")
    sides: dict[tuple[str, str], str] = {}
    for line in (KALDI / "per_utt_17_1.0").read_text("utf-8").splitlines():
        utt_id, side, *words = line.split()
        sides[utt_id, side] = "".join(word for word in words if word != "***")
    assert len(report.rows) == 500
    for row in report.rows:
        assert (row.reference, row.hypothesis) == (sides[row.utt_id, "ref"], sides[row.utt_id, "hyp"])


def test_the_funasr_baseline_reproduces_its_published_rates():
    # Raw scoring, empty hypotheses (lines with an id only) counted as deletions; dropping them would give 0.3435.
    report = score_files(BASELINE / "ref.txt", BASELINE / "hyp.txt", normalize="none")
    assert (report.utterances, report.reference_length) == (1364, 9515)
    assert report.substitutions + report.deletions + report.insertions == 5084
    assert round(report.cer, 4) == 0.5343
    assert round(report.mean_utterance_cer, 4) == 0.5868
    assert sum(row.hypothesis == "" for row in report.rows) == 424
    published = {
        entry["key"]: entry["published_cer"]
        for entry in map(json.loads, (BASELINE / "pairs.jsonl").read_text("utf-8").splitlines())
    }
    ours = {row.utt_id: round(utterance_errors(row) / len(row.reference), 4) for row in report.rows}
    assert ours == published


def test_hypotheses_that_are_not_there_count_as_deletions(tmp_path):
    # Keep every second line of the FunASR system's output: the other references become deletions, every one of them.
    whole = score_files(BASELINE / "ref.txt", BASELINE / "hyp.txt", normalize="none")
    lines = (BASELINE / "hyp.txt").read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "half.txt").write_text("".join(lines[::2]), "utf-8")
    half = score_files(BASELINE / "ref.txt", tmp_path / "half.txt", normalize="none")
    assert half.missing == 682
    lost = sum(len(row.reference) for row in whole.rows[1::2])
    kept = sum(utterance_errors(row) for row in whole.rows[::2])
    assert half.substitutions + half.deletions + half.insertions == kept + lost
    assert half.reference_length == 9515


@pytest.mark.skipif(not AISHELL_TEST.is_file(), reason=f"{AISHELL_TEST} is absent")
def test_the_aishell_test_set_against_itself_has_the_official_size_and_no_error():
    # Oracle: the official corpus, 7,176 utterances and 104,765 characters.
    report = score_files(AISHELL_TEST, AISHELL_TEST)
    assert (report.utterances, report.reference_length, report.hits) == (7176, 104765, 104765)
    assert (report.cer, report.ser, report.ci95) == (0.0, 0.0, [0.0, 0.0])
