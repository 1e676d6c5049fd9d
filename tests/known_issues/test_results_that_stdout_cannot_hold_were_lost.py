"""A stdout that is ascii, latin-1, full, closed or a closed pipe: traceback after all work, nothing was printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

COMMAND = f"{sys.executable} {ROOT / 'mlx_funasr.py'}"
NAMED = os.fsdecode("好\U0001f600".encode() + b"\xff")  # Chinese, an emoji, a byte that is no text


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=False, env={**os.environ, **environment})
    assert b"Traceback" not in done.stderr + done.stdout
    assert b"Exception ignored" not in done.stderr
    return done


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A command whose result holds a name that no narrow encoding can."""
    folder = tmp_path_factory.mktemp("names") / NAMED
    folder.mkdir()
    (folder / "ref").write_text("a 好的\n", "utf-8")
    (folder / "hyp").write_text("a 好\n", "utf-8")
    return f"cd {folder.parent}; {COMMAND} cer score */ref */hyp"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk", "utf-8:strict", "utf-8", "utf-16"])
def test_json_stays_json_in_every_encoding(scored: str, encoding: str):
    done = shell(f"{scored} --json", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.decode(encoding.partition(":")[0]))
    assert document["dataset"] == "好\U0001f600\\xff/ref"  # as mlx_model.files.names.written has it
    assert "的" in str(document["confusions"])


def test_text_is_escaped_and_that_is_said_once(scored: str):
    done = shell(scored, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert b"\\u7684" in done.stdout  # 的
    assert done.stderr.count(b"PYTHONIOENCODING=utf-8") == 1
    assert b"note:" not in shell(scored, PYTHONIOENCODING="utf-8").stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", ["--help", "--version", None])
def test_a_full_and_a_closed_stdout_are_one_line(scored: str, words: str | None):
    line = scored if words is None else f"{COMMAND} {words}"
    for where, says in ((">/dev/full", b"No space left on device"), (">&-", b"stdout is closed")):
        done = shell(f"{line} {where}")
        assert done.returncode == 2
        assert says in done.stderr
        assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_silent(scored: str, unbuffered: str):
    done = shell(f"set -o pipefail; {scored} --json | head -c 1", PYTHONUNBUFFERED=unbuffered)
    assert (done.stdout, done.stderr) == (b"{", b"")
    assert done.returncode in (0, 141)  # 0: the pipe took it all


def test_talk_that_nobody_can_read_stops_nothing(scored: str):
    for where in ("2>/dev/full", "2>&-"):
        assert shell(f"{scored} {where}").returncode == 0
