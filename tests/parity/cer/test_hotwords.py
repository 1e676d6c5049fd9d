"""Hotwords' recall, precision and F1. Oracles: examples counted by hand; AISHELL-1-NE's lists against `str.count`."""

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mlx_funasr
from mlx_model.errors import UsageError
from parity.cer.files import score_files
from parity.cer.hotwords import HotwordTally
from parity.cer.normalize import find_normalizer
from parity.cer.score import score_utterance
from reports import schema

SHARED = Path(__file__).resolve().parents[4] / "shared"


def tally(words, *texts, normalize="none", unit="char"):
    normalizer = find_normalizer(normalize)
    found = HotwordTally(words, normalizer, unit)
    for number, (reference, hypothesis) in enumerate(texts):
        found.add(score_utterance(str(number), reference, hypothesis, normalizer, unit))
    return found.report()


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),  # in references, in hypotheses, found, right; errors inside, outside
    [
        ("去阿里上班", "去阿里上班", (1, 1, 1, 1, 0, 0)),
        ("去阿里上班", "去阿立上班", (1, 0, 0, 0, 1, 0)),
        ("去阿立上班", "去阿里上班", (0, 1, 0, 0, 0, 1)),
        ("去阿里上班", None, (1, 0, 0, 0, 2, 3)),
        ("去阿里上班", "阿里去上班", (1, 1, 1, 1, 0, 2)),  # 去 moved: an error on either side, none inside
        ("去阿里上班", "去阿的里上班", (1, 0, 0, 0, 1, 0)),  # put in between: inside
        ("去阿里上班", "去的阿里上班", (1, 1, 1, 1, 0, 1)),  # put in before: outside
        ("阿里", "阿里阿里", (1, 2, 1, 1, 0, 2)),
        ("阿里阿里", "阿里", (2, 1, 1, 1, 2, 0)),
        ("阿里巴巴", "阿里巴巴", (1, 1, 1, 1, 0, 0)),  # the longest: not 阿里 within it
        ("阿里巴巴", "阿里爸爸", (1, 1, 0, 1, 2, 0)),  # what was heard, 阿里, is right; what was said is not found
        ("上班", "上班", (0, 0, 0, 0, 0, 0)),
    ],
)
def test_one_utterance_by_hand(reference, hypothesis, counts):
    found = tally(["阿里", "阿里巴巴", "从不"], (reference, hypothesis))
    assert (found.reference, found.hypothesis, found.found, found.right) == counts[:4]
    assert (found.inside_errors, found.outside_errors) == counts[4:]
    assert found.inside_length + found.outside_length == len(reference)


def test_rates_and_lists_by_hand():
    heard = [("阿里", "阿里"), ("阿里去", "阿力去"), ("在通义", "在通义"), ("他说", "阿里")]
    found = tally(["阿里", "通义", "从不"], *heard)
    assert (found.hotwords, found.occurring) == (3, 2)
    assert (found.recall, found.precision) == (2 / 3, 2 / 3)
    assert found.f1 == pytest.approx(2 / 3)
    assert (found.inside_cer, found.outside_cer) == (1 / 6, 2 / 4)
    (missed,), (invented,) = found.missed, found.invented
    assert (missed.hotword, missed.reference, missed.found) == ("阿里", 2, 1)
    assert (invented.hotword, invented.hypothesis, invented.right) == ("阿里", 2, 1)


def test_nothing_to_rate_is_no_rate():
    found = tally(["阿里"], ("上班", "上班"))
    assert (found.recall, found.precision, found.f1, found.inside_cer) == (None, None, None, None)
    assert (found.outside_cer, found.missed, found.invented) == (0.0, [], [])
    nothing_right = tally(["阿里"], ("阿里", "上班"), ("上班", "阿里"))
    assert (nothing_right.recall, nothing_right.precision, nothing_right.f1) == (0.0, 0.0, 0.0)


def test_words_are_units_of_their_own_where_errors_are_counted_in_words():
    found = tally(["art"], ("the art of it", "the start of it"), ("an art", "an art"), unit="word")
    assert (found.reference, found.found, found.hypothesis) == (2, 1, 1)
    spaced = tally(["New York"], ("in new york now", "in new york now"), normalize="wenet")
    assert (spaced.reference, spaced.found) == (1, 1)  # the list is normalised as the texts are


def test_random_texts_against_a_count_without_an_alignment():
    """Where the hypothesis is the reference, everything found is what str.count finds of words that do not overlap."""
    draw = random.Random(3)
    signs = "阿里巴通义"
    texts = ["".join(draw.choices(signs, k=40)) for _ in range(50)]
    for word in ("阿里", "巴", "通义阿"):
        found = tally([word], *[(text, text) for text in texts])
        assert found.reference == found.found == found.hypothesis == sum(text.count(word) for text in texts)
        assert found.inside_length == len(word) * found.reference


@pytest.mark.shared
def test_every_hotword_of_aishell_1_ne_occurs_in_its_test_set():
    folder = SHARED / "data/aishell_transcripts/hotword_test"
    found = score_files(folder / "text", folder / "text", hotwords=str(folder / "hotword.txt")).hotwords
    assert found is not None
    assert (found.hotwords, found.recall, found.precision, found.f1) == (400, 1.0, 1.0, 1.0)
    assert found.occurring >= 395  # README: every one occurs; some only within a longer one
    assert (found.inside_errors, found.outside_errors) == (0, 0)


def test_the_command_and_the_report(tmp_path):
    (tmp_path / "ref.txt").write_text("u1 去阿里上班\nu2 在通义\n", encoding="utf-8")
    (tmp_path / "hyp.txt").write_text("u1 去阿里上班\nu2 在同义\n", encoding="utf-8")
    (tmp_path / "list.txt").write_text("阿里 20\n通义 20\n", encoding="utf-8")
    command = ["cer", "score", str(tmp_path / "ref.txt"), str(tmp_path / "hyp.txt"), "--json"]
    command += ["--hotwords", str(tmp_path / "list.txt"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(mlx_funasr.app, command)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["hotwords"]
    assert (found["recall"], found["precision"], found["f1"]) == (0.5, 1.0, pytest.approx(2 / 3))
    report = schema.read(tmp_path / "out" / "cer.json")
    assert report.hotwords.missed[0].hotword == "通义"
    page = (tmp_path / "out" / "cer.html").read_text("utf-8")
    assert "Hotword recall" in page
    assert "Missed most often" in page
    missing = CliRunner().invoke(mlx_funasr.app, [*command[:4], "--hotwords", "missing.txt"])
    assert isinstance(missing.exception, UsageError)
