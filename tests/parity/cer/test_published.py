"""Published figures, reproduced from ../shared/data/cer: Kaldi's decode of AISHELL S0150, a FunASR system's output, and
the test data of NIST's sclite.

Oracles: expected.json (a plain Levenshtein that reproduces Kaldi's own totals), per_utt of Kaldi, the FunASR system's
published corpus and per-utterance rates, what sclite writes (.pra, .raw), and kaldialign on the same texts.
"""

import json
import re
from pathlib import Path

import kaldialign
import pytest

from parity.cer.lists import read_id_lines
from parity.cer.normalize import Normalizer, find_normalizer
from parity.cer.score import score_utterance, utterance_errors
from parity.cer.tally import Tally
from reports.schema import CerUtterance

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "cer"
AISHELL_TEST = SHARED.parent / "aishell_transcripts" / "test.text"
KALDI, BASELINE, SCLITE = SHARED / "kaldi_s0150", SHARED / "funasr_command_baseline", SHARED / "sclite"
RAW, AISHELL = find_normalizer("none"), find_normalizer("aishell")
pytestmark = [pytest.mark.shared, pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is absent")]


def scored(ref: Path, hyp: Path, normalizer: Normalizer = AISHELL) -> tuple[list[CerUtterance], Tally]:
    """Score one file of `ID text` lines against another, as `cer score` does."""
    heard = {line.utt_id: line.rest for line in read_id_lines(hyp)}
    rows, tally = [], Tally()
    for line in read_id_lines(ref):
        rows.append(score_utterance(line.utt_id, line.rest, heard.get(line.utt_id), normalizer))
        tally.add(rows[-1])
    return rows, tally


@pytest.mark.parametrize("decode", ["7_0.0", "12_0.5", "17_1.0"])
def test_kaldi_character_totals(decode):
    expected = json.loads((KALDI / "expected.json").read_text("utf-8"))[decode]
    total = scored(KALDI / "ref.txt", KALDI / expected["hyp"])[1].total
    assert total.utterances == expected["utts"] == 500
    assert total.reference_length == expected["ref_chars"] == 6678
    assert total.errors == expected["char_errors"]
    assert round(total.cer * 100, 4) == expected["cer_percent"]
    assert total.missing == 0


def test_every_kaldi_utterance_against_a_second_scorer():
    for row in scored(KALDI / "ref.txt", KALDI / "hyp_17_1.0.txt")[0]:
        total = kaldialign.edit_distance(list(row.reference), list(row.hypothesis or ""))["total"]
        assert utterance_errors(row) == total, row.utt_id


def test_the_texts_scored_are_those_kaldi_aligned():
    # per_utt pads both sides with ***; without the padding and the spaces they are what was scored.
    rows, _ = scored(KALDI / "ref.txt", KALDI / "hyp_17_1.0.txt")
    sides: dict[tuple[str, str], str] = {}
    for line in (KALDI / "per_utt_17_1.0").read_text("utf-8").splitlines():
        utt_id, side, *words = line.split()
        sides[utt_id, side] = "".join(word for word in words if word != "***")
    assert len(rows) == 500
    for row in rows:
        assert (row.reference, row.hypothesis) == (sides[row.utt_id, "ref"], sides[row.utt_id, "hyp"])


def kaldi_rows(decode: str):
    texts = {line.utt_id: line.rest for line in read_id_lines(KALDI / "ref.txt")}
    heard = {line.utt_id: line.rest for line in read_id_lines(KALDI / f"hyp_{decode}.txt")}
    return [score_utterance(utt_id, text, heard.get(utt_id), RAW, "word") for utt_id, text in texts.items()]


@pytest.mark.parametrize("decode", ["7_0.0", "12_0.5", "17_1.0"])
def test_kaldi_word_and_sentence_totals(decode):
    expected = json.loads((KALDI / "expected.json").read_text("utf-8"))[decode]
    tally = Tally()
    for row in kaldi_rows(decode):
        tally.add(row)
    total = tally.total
    assert (total.errors, total.reference_length, total.wrong) == (
        expected["word_errors"],
        expected["ref_words"],
        expected["sentences_with_error"],
    )


def test_kaldi_counts_of_every_utterance():
    lines = (KALDI / "per_utt_17_1.0").read_text("utf-8").splitlines()
    csid = {line.split()[0]: tuple(map(int, line.split()[2:])) for line in lines if line.split()[1] == "#csid"}
    rows = kaldi_rows("17_1.0")
    assert [row.utt_id for row in rows] == list(csid)
    assert all(utterance_errors(row) == sum(csid[row.utt_id][1:]) for row in rows)
    assert all(
        row.hits + row.substitutions + row.deletions == sum(csid[row.utt_id][i] for i in (0, 1, 3)) for row in rows
    )
    # The total is unique, the split is not: of the many minimal alignments ours and Kaldi's differ in one utterance.
    ours = {row.utt_id: (row.hits, row.substitutions, row.insertions, row.deletions) for row in rows}
    assert [utt_id for utt_id in ours if ours[utt_id] != csid[utt_id]] == ["BAC009S0150W0400"]


def test_the_funasr_baseline_reproduces_its_published_rates():
    # Raw scoring, empty hypotheses (lines with an id only) counted as deletions; dropping them would give 0.3435.
    rows, tally = scored(BASELINE / "ref.txt", BASELINE / "hyp.txt", RAW)
    total = tally.total
    assert (total.utterances, total.reference_length, total.errors) == (1364, 9515, 5084)
    assert round(total.cer, 4) == 0.5343
    assert round(tally.mean_utterance_cer, 4) == 0.5868
    assert sum(row.hypothesis == "" for row in rows) == 424
    published = {
        entry["key"]: entry["published_cer"]
        for entry in map(json.loads, (BASELINE / "pairs.jsonl").read_text("utf-8").splitlines())
    }
    assert {row.utt_id: round(utterance_errors(row) / len(row.reference), 4) for row in rows} == published


def test_hypotheses_that_are_not_there_count_as_deletions(tmp_path):
    # Keep every second line of the FunASR system's output: the other references become deletions, every one of them.
    rows, _ = scored(BASELINE / "ref.txt", BASELINE / "hyp.txt", RAW)
    lines = (BASELINE / "hyp.txt").read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "half.txt").write_text("".join(lines[::2]), "utf-8")
    half = scored(BASELINE / "ref.txt", tmp_path / "half.txt", RAW)[1].total
    lost = sum(len(row.reference) for row in rows[1::2])
    kept = sum(utterance_errors(row) for row in rows[::2])
    assert (half.missing, half.errors, half.reference_length) == (682, kept + lost, 9515)


@pytest.mark.skipif(not AISHELL_TEST.is_file(), reason=f"{AISHELL_TEST} is absent")
def test_the_aishell_test_set_against_itself_has_the_official_size_and_no_error():
    # Oracle: the official corpus, 7,176 utterances and 104,765 characters.
    total = scored(AISHELL_TEST, AISHELL_TEST)[1].total
    assert (total.utterances, total.reference_length, total.hits) == (7176, 104765, 104765)
    assert (total.cer, total.ser) == (0.0, 0.0)


# What our format has no word for: optionally deletable words "(x)", and fragments "x-" that -F lets match their word.
FRAGMENTS = {("test12", "ma_0029_b-001"), ("test12", "ma_0029_b-002")} | {
    (name, "i_4") for name in ("test7", "test7_6", *(f"test7-utf8-{size}bytes" for size in (2, 3, 4)))
}
UTTERANCE = re.compile(
    r"^id: \((?P<id>.*)\)\n(?:File: (?P<file>.*)\n)?(?:Channel:.*\n)?"
    r"Scores: \(#C #S #D #I\) (?P<c>\d+) (?P<s>\d+) (?P<d>\d+) (?P<i>\d+)\nREF: (?P<ref>.*)\nHYP: (?P<hyp>.*)\n",
    re.MULTILINE,
)


def sclite_text(name: str) -> str:
    return (SCLITE / "expected" / name).read_bytes().decode("gb18030" if re.match("test(9|1[012])", name) else "utf-8")


def sclite_utterances(name: str):
    """(id, reference, hypothesis, (C, S, D, I)) of every utterance of a .pra that our format can express.

    The .pra capitalises errors and pads with asterisks; alternations are resolved.
    """
    for found in UTTERANCE.finditer(sclite_text(f"{name}.pra")):
        optional = re.search(r"\(\S+\)", found["ref"]) or (name.startswith("test15_") and "(" in found["ref"])
        if optional or (name, found["id"]) in FRAGMENTS:
            continue
        sides = (
            " ".join(word for word in found[side].lower().split() if set(word) != {"*"}) for side in ("ref", "hyp")
        )
        yield found["id"], *sides, tuple(int(found[count]) for count in "csdi")


def test_sclite_counts_of_every_utterance_our_format_can_express():
    names = sorted(path.stem for path in (SCLITE / "expected").glob("*.pra"))
    compared = 0
    for name in names:
        for utt_id, reference, hypothesis, expected in sclite_utterances(name):
            row = score_utterance(utt_id, reference, hypothesis, RAW, "word")
            assert (row.hits, row.substitutions, row.deletions, row.insertions) == expected, (name, utt_id)
            compared += 1
    assert (compared, sum(len(UTTERANCE.findall(sclite_text(f"{name}.pra"))) for name in names)) == (272, 433)


@pytest.mark.parametrize(
    "name", ["test8", "test9", "test9_1", "test10", "test10_1", "test11", "test15_c", "test15_d", "test17"]
)
def test_sclite_sums_per_speaker(name):
    speaker = re.compile(r"[-_]?[^-_]*$") if name != "test8" else re.compile("c0.*$")
    tally = Tally()
    for utt_id, reference, hypothesis, _ in sclite_utterances(name):
        row = score_utterance(utt_id, reference, hypothesis, RAW, "word", speaker=speaker.sub("", utt_id))
        tally.add(row)
    line = re.compile(r"\| (\S+) +\| +(\d+) +(\d+) \|((?: +\d+){6}) \|")
    expected = [
        (found[1], int(found[2]), int(found[3]), *map(int, found[4].split()[4:]))
        for found in line.finditer(sclite_text(f"{name}.raw"))
    ]
    ours = [(g.name, g.utterances, g.reference_length, g.errors, g.wrong) for g in (*tally.speakers(), tally.total)]
    assert ours == [*expected[:-1], ("all", *expected[-1][1:])]
    assert expected[-1][0] == "Sum"


def mandarin():
    """(id, reference, hypothesis) of sclite's Mandarin test, cut out of its STM and CTM by the words' start times."""
    folder = SCLITE / "input_utf8"
    words = [line.split() for line in (folder / "mand_hyp.ctm").read_text("utf-8").splitlines()]
    numbers: dict[str, int] = {}
    for line in (folder / "mand_ref.stm").read_text("utf-8").splitlines():
        _, channel, speaker, begin, end, *text = line.split()
        heard = [word[4] for word in words if word[1] == channel and float(begin) <= float(word[2]) < float(end)]
        number = numbers[speaker] = numbers.get(speaker, -1) + 1
        yield f"{speaker.lower()}-{number:03}", " ".join(text), " ".join(heard)


@pytest.mark.parametrize(
    ("name", "unit", "hyphens"),
    [("test9", "char", True), ("test9_1", "char", False), ("test10", "mixed", True), ("test10_1", "mixed", False)],
)
def test_sclite_mandarin_from_its_input(name, unit, hyphens):
    # -c counts characters, -c NOASCII our mixed units; DH (the _1 runs) removes hyphens first.
    expected = {utt_id: counts for utt_id, _, _, counts in sclite_utterances(name)}
    normalizer, ours = AISHELL if unit == "char" else RAW, {}
    for utt_id, *texts in mandarin():
        reference, hypothesis = texts if hyphens else (text.replace("-", "") for text in texts)
        row = score_utterance(utt_id, reference, hypothesis, normalizer, unit)
        ours[utt_id] = (row.hits, row.substitutions, row.deletions, row.insertions)
    assert ours == expected


def test_sclite_leaves_an_empty_reference_without_a_rate():
    # test7, speaker `empty`: 2 sentences without a word, 13 insertions, both wrong; .sys shows 13* in place of a rate.
    assert re.search(r"\| empty +\| +2 +0 \| +0\* +0\* +0\* +13\* +13\* +100\.0 \|", sclite_text("test7.sys"))
    tally = Tally()
    for utt_id, reference, hypothesis, _ in sclite_utterances("test7"):
        if utt_id.startswith("empty"):
            tally.add(score_utterance(utt_id, reference, hypothesis, RAW, "word"))
    total = tally.total
    assert (total.utterances, total.reference_length, total.insertions, total.errors, total.ser) == (2, 0, 13, 13, 1.0)
    assert tally.notes() == [
        "2 references are empty after normalisation: insertions count, but they have no rate of their own in the mean "
        "per utterance (first: empty-1)"
    ]
