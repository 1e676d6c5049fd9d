"""Random punctuation models through parity: every tap under every engine, marks, windows, texts, and their own faults.

Oracle: FunASR in a process of its own; of a fault, where it was put.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mlx_model.errors import UsageError
from parity import families, record
from parity.families.ct_transformer.cases import cases
from parity.families.family import Family
from parity.faults import Fault
from parity.layers.check import Comparing
from parity.layers.given import find
from parity.layers.run import check
from parity.layers.selftest import judge
from parity.taps.trace import Trace
from tests.parity.families.small import MARKS, TOKENS, made, marks_config, parts, words

pytestmark = [pytest.mark.reference, pytest.mark.slow]
TEXTS = {
    "ct_transformer": [words(67, 1), f"hello World {words(9, 2)} it's 10.5% {words(20, 3)} NBA"],
    "ct_transformer_streaming": [parts([words(12, 4), words(30, 5), f"hello {words(6, 6)}", words(9, 7)])],
}
OWN = ("mini_sentences", "marked_text", "streamed_marks", "sanm_vad")
MADE_UP = {"limit_200_included", "comma_stays_a_comma", "ends_down_to_1", "ends_from_the_last_word"}  # cases.py shows


@pytest.fixture(scope="module", params=TEXTS)
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trace]:
    """A conversion, and FunASR's own run of a few texts."""
    folder, name = tmp_path_factory.mktemp(request.param), request.param
    made(folder, {name: marks_config(stream=name.endswith("streaming"), embed=40 if name == "ct_transformer" else 32)})
    return folder / f"{name}.mlx", record(folder / name, folder / "trace", texts=TEXTS[name])


def test_every_tap_and_outcome_of_a_random_model(recorded: tuple[Path, Trace]):
    model, trace = recorded
    report = check(model, trace.directory)
    assert report.verdict == "pass", report.sentence
    names = {row.name for row in report.taps}
    assert {"embed", "encoder.after_norm", "decoder", "end_to_end.windows", "end_to_end.text"} <= names
    assert all(found.differ == 0 for found in report.outcomes.values())
    assert (report.outcomes["mark"].compared or 0) > 60
    assert any(set(utterance.reference_text) & set(MARKS[2:]) for utterance in report.utterances)
    assert report.words["frame"] == "words"


def test_own_faults_are_caught_where_they_were_put(recorded: tuple[Path, Trace]):
    model, trace = recorded
    table = families.by_name(trace.meta["family"])
    own = [fault for seeds in table.faults if seeds.part in OWN for fault in _of(table, seeds.part)]
    report = judge(trace, model, faults=own)
    seen = [row for row in report.faults if row.visible]
    assert [(row.name, row.engine) for row in seen if not row.caught] == []
    wrong = [(row.name, row.engine, row.address) for row in seen if not row.right_address]
    assert report.right_address >= 0.95 * report.caught, wrong
    assert len(seen) >= 20
    assert {row.name for row in seen if row.right_address} >= MADE_UP
    assert report.false_alarms == 0


def _of(table: Family, part: str) -> list[Fault]:
    return [fault for fault in table.seeded() if fault.seed.__module__ == f"parity.faults.{part}"]


def test_a_mark_that_differs_is_explained_by_its_margin_alone(recorded: tuple[Path, Trace]):
    model, trace = recorded
    comparing = Comparing(trace, families.candidate(model), pictures=0, engines=0)
    utterance, arrays = next(iter(trace.read()))
    run = comparing.candidate
    run.take(arrays.plain)
    found = run.run(arrays.plain, {}, {}, steps=False)
    truth = arrays.propagated["decoder"][0][0]
    best = int(truth[3].argmax())
    found.taps["decoder"][0, 3] = truth[3]
    found.taps["decoder"][0, 3, (best + 1) % len(MARKS)] = truth[3, best] + 1.0
    (row,) = [each for each in comparing.decisions.decide(utterance, arrays, found) if each.kind == "mark"]
    assert (row.position, row.explained) == (3, False)  # moved by 1 where rounding moves by 1e-6


def test_cases_hold_what_they_say():
    found = {case.name: case.calls[0] for case in cases(TOKENS, MARKS, stream=False)}
    marks = [MARKS[TOKENS.index(character) % len(MARKS)] for character in found["a stop at word 2 of 45"]]
    assert [place for place, mark in enumerate(marks) if mark == "。"] == [2]
    assert len(found["no stop in 260 words"]) == 260


def test_texts_and_recordings_are_not_mixed(tmp_path: Path):
    with pytest.raises(UsageError, match="takes recordings, or it takes texts"):
        find(["a.wav"], ["今天"])
    (tmp_path / "texts").write_text("一\n\n二\n", "utf-8")
    assert find([], [f"@{tmp_path / 'texts'}", "三"]).items == [("texts:1", "一"), ("texts:3", "二"), ("text 3", "三")]
    with pytest.raises(UsageError, match="no text with a word"):
        find([], ["  "])
