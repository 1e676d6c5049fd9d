"""FunASR's sentence_info. Oracle: FunASR's own functions, on random words, times and marks that do and do not fit."""

from __future__ import annotations

import json
import random
import subprocess
from dataclasses import asdict
from typing import Any

import pytest

from mlx_model.text import sentence_info
from mlx_model.text.results import SentenceInfo
from tests import forked
from tests.conftest import ROOT

WORDS = ["我", "们", "hello", "A", "中国", "3", "iPhone12", "it's", "好"]
MARKS = ["<unk>", "_", "，", "。", "？", "、"]

FUNASR = """
import json, sys, types
from funasr.auto import auto_model as auto
from funasr.utils.timestamp_tools import timestamp_sentence, timestamp_sentence_en
punc = types.SimpleNamespace(punc_list=json.loads(sys.argv[1]), jieba_usr_dict=None)
answers = []
for case in json.load(sys.stdin):
    ids, times, text, raw = case["ids"], case["times"], case["text"], case["raw"]
    copy = lambda: json.loads(json.dumps(times))
    units = None
    if len(case["words"]) == len(times):
        units = auto._merge_timestamp_units(text, case["words"], copy(), ids, punc)
    answers.append({
        "zh": timestamp_sentence(ids or None, copy(), text, return_raw_text=raw),
        "en": timestamp_sentence_en(ids or None, copy(), text, return_raw_text=raw),
        "joined": auto._join_vad_texts(case["texts"]),
        "surface": auto._punctuate_surface_text(text, ids, punc) if ids else None,
        "cut": auto._timestamp_sentences_from_surface(text, copy(), ids, punc, return_raw_text=raw) if ids else None,
        "units": None if units is None else units[1],
    })
json.dump(answers, sys.stdout)
"""


def case(seed: int) -> dict[str, Any]:
    """One text with times and marks: in two of three cases as many as words."""
    draw = random.Random(seed)
    words = [draw.choice(WORDS) for _ in range(draw.randint(0, 12))]
    off = draw.choice([0, 0, -1, 1])
    tokens = [part for word in words for part in sentence_info.expanded([word])]
    times, at = [], 0
    for _ in range(max(len(tokens) + draw.choice([0, 0, off]), 0)):
        at += draw.randint(0, 300)
        times.append([at, at + draw.randint(10, 400)])
    ids = [draw.choice([1, 1, 1, 2, 3, 4, 5]) for _ in range(max(len(tokens) + off, 0))]
    texts = [draw.choice(["", " ", "我们", "ok", "<|zh|> 好", "A 好"]) for _ in range(4)]
    text = " ".join(tokens)
    return {"ids": ids, "times": times, "text": text, "raw": draw.random() < 0.5, "texts": texts, "words": tokens}


@pytest.fixture(scope="module")
def answers() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What FunASR says of 300 cases."""
    cases = [case(seed) for seed in range(300)]
    done = subprocess.run(
        [forked.python("funasr"), "-c", FUNASR, json.dumps(MARKS)], input=json.dumps(cases), capture_output=True,
        text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    return list(zip(cases, json.loads(done.stdout.splitlines()[-1]), strict=True))


def rows(found: list[SentenceInfo] | None) -> list[dict[str, Any]] | None:
    """Sentences as FunASR has them: without what it leaves out."""
    if found is None:
        return None
    return [{key: value for key, value in asdict(one).items() if value is not None} for one in found]


def test_sentences_at_marks_are_funasrs(answers):
    found = 0
    for given, theirs in answers:
        for name, english in (("zh", False), ("en", True)):
            asked = given["text"], given["times"], given["ids"]
            ours = sentence_info.by_marks(*asked, raw=given["raw"], english=english)
            wanted = [{key: value for key, value in row.items() if value is not None} for row in theirs[name]]
            assert rows(ours) == wanted, given
            found += len(ours)
    assert found > 500


def test_texts_are_joined_as_funasrs(answers):
    assert all(sentence_info.joined(given["texts"]) == theirs["joined"] for given, theirs in answers)


def test_marks_on_the_surface_are_funasrs(answers):
    compared = 0
    for given, theirs in answers:
        if not given["ids"]:
            continue
        tokens = split(given["text"])
        fit = len(tokens) == len(given["ids"])
        ours = sentence_info.on_surface(given["text"], tokens, given["ids"], MARKS) if fit else None
        assert ours == theirs["surface"], given
        cut = None
        if fit:
            cut = sentence_info.from_surface(
                given["text"], given["times"], tokens, given["ids"], MARKS, raw=given["raw"]
            )
        assert rows(cut) == theirs["cut"], given
        compared += fit
    assert compared > 100


def test_times_of_units_are_funasrs(answers):
    compared = 0
    for given, theirs in answers:
        tokens = split(given["text"])
        if len(given["words"]) == len(given["times"]) and len(tokens) == len(given["ids"]):
            assert sentence_info.merged_units(given["words"], given["times"], tokens) == theirs["units"], given
            compared += 1
    assert compared > 50


def split(text: str) -> list[str]:
    """The words of a punctuator without a dictionary, one for every id."""
    from mlx_model.text.word_splitting import funasr_words

    return sentence_info.expanded(funasr_words(text))
