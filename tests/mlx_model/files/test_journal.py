"""The journal of a run: killed at any byte, by kill -9, full, locked, changed. Oracle: what was appended."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlx_model.errors import OutputError, UsageError
from mlx_model.files.journal import NAME, Journal
from tests.conftest import ROOT

KEY = {"engine": "mlx", "model_sha256": "1" * 64, "data_sha256": "2" * 64}
ANSWERS = [(f"utt{number}", {"text": f"打开{number}", "error": None}) for number in range(6)]


def write(folder: Path, answers=ANSWERS, key=KEY) -> bytes:
    with Journal(folder, key) as journal:
        for start in range(0, len(answers), 2):
            journal.append(answers[start : start + 2])
    return (folder / NAME).read_bytes()


def test_answers_come_back_in_any_order(tmp_path):
    write(tmp_path)
    with Journal(tmp_path, KEY) as journal:
        assert (len(journal), "utt3" in journal, "utt9" in journal) == (6, True, False)
        found = list(journal.answers(["utt5", "nowhere", "utt0"]))
    assert found == [{"utt_id": "utt5", "text": "打开5", "error": None}, None, {"utt_id": "utt0", **ANSWERS[0][1]}]


def test_torn_at_any_byte_nothing_whole_is_lost_and_nothing_stands_twice(tmp_path):
    """Every prefix of a journal is a journal that may be found after a kill."""
    whole = write(tmp_path / "whole")
    for size in range(len(whole)):
        folder = tmp_path / "torn"
        folder.mkdir(exist_ok=True)
        (folder / NAME).write_bytes(whole[:size])
        with Journal(folder, KEY) as journal:
            left = [pair for pair in ANSWERS if pair[0] not in journal]
            assert len(journal) == max(0, whole[:size].count(b"\n") - 1)
            journal.append(left)
        assert (folder / NAME).read_bytes() == whole


def test_an_utterance_is_never_answered_twice(tmp_path):
    write(tmp_path)
    with Journal(tmp_path, KEY) as journal:
        with pytest.raises(ValueError, match="answered twice"):
            journal.append([("new", {}), ANSWERS[0]])
        with pytest.raises(ValueError, match="answered twice"):
            journal.append([("new", {}), ("new", {})])
        assert "new" not in journal


def test_a_line_that_stands_twice_or_is_damaged_is_refused(tmp_path):
    whole = write(tmp_path).splitlines(keepends=True)
    for lines, message in (
        ([*whole, whole[2]], r"journal\.jsonl:8: 'utt1' stands there twice"),
        ([*whole[:3], b"{broken\n", *whole[3:]], r"journal\.jsonl:4: damaged"),
        ([b'{"schema": "cer-journal/9", "key": {}}\n'], "'cer-journal/9', expected 'cer-journal/1'"),
    ):
        (tmp_path / NAME).write_bytes(b"".join(lines))
        with pytest.raises(OutputError, match=message), Journal(tmp_path, KEY):
            pass


def test_another_key_is_refused_and_named(tmp_path):
    before = write(tmp_path)
    with (
        pytest.raises(UsageError, match=r"another model_sha256, beam \(there 1{16}, now 3{16}\)"),
        Journal(tmp_path, {**KEY, "model_sha256": "3" * 64, "beam": 4}),
    ):
        pass
    assert (tmp_path / NAME).read_bytes() == before


def test_two_runs_may_not_write_one_journal(tmp_path):
    code = (
        "from pathlib import Path; from mlx_model.files.journal import Journal\n"
        f"Journal(Path({str(tmp_path)!r}), {KEY!r}).__enter__()"
    )
    with Journal(tmp_path, KEY):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert "another run writes it" in done.stderr


def test_a_full_disk_leaves_the_last_whole_line(tmp_path, monkeypatch):
    whole = write(tmp_path)
    with Journal(tmp_path, KEY) as journal:

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left on device; make room"):
            journal.append([("new", {"text": "x"})])
        assert "new" not in journal
    assert (tmp_path / NAME).read_bytes() == whole


WRITER = """
import sys
from pathlib import Path
from mlx_model.files.journal import Journal
with Journal(Path(sys.argv[1]), {key!r}) as journal:
    for batch in range(100000):
        if f"{{batch}}-0" not in journal:
            journal.append([(f"{{batch}}-{{n}}", {{"text": "字" * 50}}) for n in range(20)])
            print(batch, flush=True)
"""


def test_killed_again_and_again_it_goes_on(tmp_path):
    """kill -9 while it writes; what had been reported as written is there, every batch once."""
    reported = -1
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER.format(key=KEY), str(tmp_path)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.1)
        child.send_signal(signal.SIGKILL)
        reported = max([reported, *map(int, child.stdout.read().split())])
        child.wait()
        child.stdout.close()
    with Journal(tmp_path, KEY) as journal:
        assert all(f"{batch}-{n}" in journal for batch in range(reported + 1) for n in range(20))
    lines = (tmp_path / NAME).read_text("utf-8").splitlines()[1:]
    ids = [json.loads(line)["utt_id"] for line in lines]
    assert len(ids) == len(set(ids)) >= 20 * (reported + 1) > 20
