"""Random command lines and damaged files: whatever is typed, one clear line and exit code 0, 1 or 2, never a traceback.

The seed is fixed, so a failure can be repeated; benchmarks/fuzz.py goes on for as long as one likes, with others.
"""

from __future__ import annotations

import random
import shlex
from pathlib import Path

import pytest

from tests.fuzz.commands import Writer
from tests.fuzz.corpus import make
from tests.fuzz.runner import Outcome, running

COMMANDS = 100


def outcome(code: int | None, out: str = "", err: str = "", left: tuple[str, ...] = ()) -> Outcome:
    return Outcome(words=["x"], code=code, out=out, err=err, left=list(left))


@pytest.mark.parametrize(
    ("ended", "complaint"),
    [
        (outcome(0, "text"), None),
        (outcome(2, err="error: no such file"), None),
        (outcome(None), "did not end"),
        (outcome(1, err="Traceback (most recent call last):\n  x"), "traceback"),
        (outcome(139), "exit code 139"),
        (outcome(2), "exit code 2 without a word"),
        (outcome(2, err="error: a\nerror: b\n"), "more than one error"),
        (outcome(2, err="error: " + "x" * 3000), "an error of more than 2000 characters"),
        (outcome(0, left=("mlx-funasr-1",)), "left behind: mlx-funasr-1"),
    ],
)
def test_the_judge_knows_what_is_wrong(ended: Outcome, complaint: str | None):
    assert ended.complaint() == complaint


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_command_line_ends_in_a_traceback(tmp_path: Path):
    complaints, codes = [], []
    with running() as runner:
        (tmp_path / "corpus").mkdir()
        writer = Writer(make(tmp_path / "corpus", runner), random.Random(20261130))
        for number in range(COMMANDS):
            folder = tmp_path / f"{number}"
            folder.mkdir()
            ended = runner.run(writer.next(folder), folder)
            codes.append(ended.code)
            if complaint := ended.complaint():
                complaints.append(f"{complaint}: mlx-funasr {shlex.join(ended.words)}\n{ended.err[-2000:]}")
    assert not complaints, "\n\n".join(complaints)
    assert codes.count(0) > COMMANDS * 0.1, "hardly any command was right: the fuzzer tries nothing but the parser"
    assert codes.count(2) > COMMANDS * 0.3
