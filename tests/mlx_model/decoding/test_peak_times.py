"""Times by peaks. Oracles: FunASR's own functions in a process of their own, to the millisecond; cases by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_model.decoding.peak_times import funasr_times, spaced, token_spans, words_of
from mlx_model.parts.integrals import PEAK, integrals
from mlx_model.text.tokenizer import join_tokens

VOCABULARY = (
    "你", "好", "7", "@", "<unk>", "he@@", "llo", "a", "b", "c", "'", "-", "%", "it's", "k@@", "3@@", "<sil>", " ", "é",
)  # fmt: skip
FUNASR = """
import json, sys
import torch
from funasr.utils.postprocess_utils import sentence_postprocess
from funasr.utils.timestamp_tools import ts_prediction_lfr6_standard
answers = []
for case in json.load(open(sys.argv[1])):
    alphas, peaks = torch.tensor(case["alphas"]), torch.tensor(case["peaks"])
    try:
        _, times = ts_prediction_lfr6_standard(alphas, peaks, list(case["tokens"]), vad_offset=case["offset"])
        text, times, words = sentence_postprocess(case["tokens"], times)
        answers.append([text, words, times])
    except IndexError:
        answers.append(None)
json.dump(answers, open(sys.argv[2], "w"))
"""


def peaked(rng: np.random.Generator, frames: int, tokens: float) -> tuple[np.ndarray, np.ndarray]:
    """Return second alphas that add up to so many tokens, silences among them, and their peaks."""
    alphas = rng.random(frames).astype(np.float32) ** 4 * (np.sin(np.arange(frames) / rng.uniform(2, 30)) > -0.3)
    alphas = (alphas * np.float32(tokens / max(alphas.sum(), 1e-6))).astype(np.float32)
    return alphas, integrals(alphas[None], PEAK)[0]


def case(number: int) -> dict[str, Any]:
    """Return one of many cases: with one end mark as in released models, with none or two, with all kinds of tokens."""
    rng = np.random.default_rng(number)
    some = VOCABULARY[:2] if number % 4 == 0 else VOCABULARY[6:9] if number % 4 == 1 else VOCABULARY
    tokens = [str(token) for token in rng.choice(some, size=rng.integers(0, 14))]
    count = len(tokens) + [1, 1, 0, 2][number // 4 % 4]
    alphas, peaks = peaked(rng, int(rng.integers(1, 150)), count)
    if number % 50 == 49:
        alphas, peaks = np.zeros_like(alphas), np.zeros_like(peaks)
    offset = [0, 0, 770, 1234][number // 16 % 4]
    return {"tokens": tokens, "alphas": alphas.tolist(), "peaks": peaks.tolist(), "offset": offset}


@pytest.mark.reference
def test_text_words_and_times_are_funasrs_to_the_millisecond(tmp_path: Path):
    cases = [case(number) for number in range(3000)]
    (tmp_path / "cases.json").write_text(json.dumps(cases), "utf-8")
    command = [sys.executable, "-c", FUNASR, str(tmp_path / "cases.json"), str(tmp_path / "answers.json")]
    subprocess.run(command, check=True, capture_output=True)
    errors = 0
    for given, answer in zip(cases, json.loads((tmp_path / "answers.json").read_text("utf-8")), strict=True):
        alphas, peaks = (np.array(given[key], np.float32) for key in ("alphas", "peaks"))
        if answer is None:
            errors += 1
            with pytest.raises(IndexError):
                funasr_times(alphas, peaks, given["tokens"], offset_ms=given["offset"])
            continue
        found = funasr_times(alphas, peaks, given["tokens"], offset_ms=given["offset"])
        assert [found.text, found.words, found.times] == answer, given["tokens"]
    assert 50 < errors < 1000


def fires(*frames: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    alphas = np.zeros(size, np.float32)
    for frame in frames:
        alphas[frame] += 1.0
    return alphas, integrals(alphas[None], PEAK)[0]


def test_by_default_every_token_has_its_own_peak():
    """Peaks 10, 15, 40 and 45: 20 ms frames less 1.5, 12 frames at most; the last one, the end mark, ends the third."""
    spans = token_spans(*fires(10, 15, 40, 45, size=60), 4, closed=True, frame_ms=60)
    assert spans[:3] == [[170, 270], [270, 510], [770, 1035]]  # (60 + 43.5) / 2 frames: half into the silence
    assert spans[:3] == funasr_times(*fires(10, 15, 40, 45, size=60), ["你", "好", "吗"]).times


def test_a_token_that_is_not_printed_keeps_its_time_and_moves_no_other():
    given = fires(10, 15, 20, 25, size=30)
    spans = token_spans(*given, 4, closed=True, frame_ms=60)
    tokens = ["你", "<unk>", "好"]
    assert [(word.text, word.start_ms, word.end_ms) for word in words_of(tokens, spans)] == [
        ("你", 170, 270), ("好", 370, 535),
    ]  # fmt: skip
    assert funasr_times(*given, tokens).times == [[170, 270], [270, 370]]  # FunASR's list has the unknown one's


def test_times_stay_within_the_recording_where_funasrs_are_negative():
    given = fires(0, 6, 8, size=9)
    assert token_spans(*given, 3, closed=True, frame_ms=60)[0] == [0, 90]
    assert funasr_times(*given, ["你", "好"]).times[0] == [-30, 90]


def test_without_an_end_mark_the_last_token_ends_where_it_may():
    assert token_spans(*fires(10, 15, size=40), 2, closed=False, frame_ms=60) == [[170, 270], [270, 510]]
    assert token_spans(*fires(10, 15, size=20), 2, closed=False, frame_ms=60)[1] == [270, 400]


def test_tokens_that_the_loop_has_no_frame_left_for_are_found_by_the_sum():
    """FunASR's loop fires once a frame: here once for three tokens, and its list is empty without a word."""
    alphas = np.array([0, 0, 0, 3.0], np.float32)
    given = alphas, integrals(alphas[None], PEAK)[0]
    assert token_spans(*given, 3, closed=True, frame_ms=60) == [[30, 30], [30, 80], [80, 80]]
    assert funasr_times(*given, ["你", "好"]).times == []
    with pytest.raises(IndexError):
        funasr_times(*given, ["你", "llo"])


@pytest.mark.parametrize("tokens", [0, 1, 3])
def test_no_weight_has_no_times(tokens: int):
    nothing = np.zeros(12, np.float32)
    assert token_spans(nothing, nothing, tokens, closed=True, frame_ms=60) == []
    if tokens:
        with pytest.raises(IndexError):
            funasr_times(nothing, nothing, ["你"] * tokens)


def test_one_peak_is_one_token():
    assert token_spans(*fires(5, size=12), 1, closed=False, frame_ms=60) == [[70, 240]]
    assert token_spans(*fires(5, size=12), 1, closed=True, frame_ms=60) == [[70, 70]]


def test_words_are_merged_and_make_up_the_text():
    tokens = ["你", "he@@", "llo", "a", "b", "c", "好", "7"]
    spans = [[100 * place, 100 * place + 90] for place in range(len(tokens))]
    words = words_of(tokens, spans)
    assert [(word.text, word.start_ms, word.end_ms) for word in words] == [
        ("你", 0, 90), ("hello", 100, 290), ("ABC", 300, 590), ("好", 600, 690), ("7", 700, 790),
    ]  # fmt: skip
    assert "".join(" " * word.spaced + word.text for word in words) == join_tokens(tokens) == "你hello ABC好7"
    assert spaced(tokens) == "你 hello ABC 好 7"
