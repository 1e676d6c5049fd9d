"""How commands end: codes and single lines, for errors and signals of all kinds. Oracle: the contract of the codes."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from reports import ending
from tests.conftest import ROOT

PROGRAM = """
import signal, sys, threading, time
from reports import ending
def call():
{body}
sys.exit(ending.run(call, lambda error: None))
"""


# A job in a script's background ignores SIGINT, one under nohup SIGHUP; what it starts inherits that.
HEARD = """import signal
signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGHUP, signal.SIG_DFL)"""


def program(body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return subprocess.run(
        [sys.executable, "-c", HEARD + PROGRAM.format(body=lines)], cwd=ROOT, capture_output=True, text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("open('/no/such/file')", "error: /no/such/file: No such file or directory"),
        ("raise OSError(5, 'Input/output error')", "error: a file (at <string>:7): Input/output error"),
        ("raise MemoryError", "error: out of memory"),
        ("call()", "error: something given is nested too deeply"),
        ("b'\\xff'.decode('utf-8')", "error: text that is not in the encoding it should be in"),
        ("{}['key']", "error: a fault of mlx-funasr itself: KeyError at"),
    ],
)
def test_what_nobody_foresaw_is_one_line_with_a_place(error: str, says: str):
    done = program(error)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert says.split("(at")[0] in done.stderr


def test_a_traceback_is_shown_on_demand():
    assert "Traceback" in program("{}['key']", MLX_FUNASR_TRACEBACK="1").stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_unwinds_and_is_one_line(name: str):
    done = program(f"try:\n    signal.raise_signal(signal.{name})\nfinally:\n    print('cleaned')")
    assert done.returncode == 128 + getattr(signal, name)
    assert done.stdout == "cleaned\n"
    assert done.stderr == f"{ending.SIGNALS[name]}; nothing was left half-written\n"


def test_what_goes_on_is_said():
    done = program("with ending.going_on(lambda: '3 of 7 are kept'):\n    signal.raise_signal(signal.SIGINT)")
    assert (done.returncode, done.stderr) == (130, "interrupted; 3 of 7 are kept\n")


def test_what_a_library_makes_of_a_signal_is_a_signal_still():
    """Ray's compiled code turns it into a SystemError."""
    body = "try:\n    signal.raise_signal(2)\nexcept BaseException as stop:\n    raise SystemError('odd') from stop"
    done = program(body)
    assert (done.returncode, done.stderr) == (130, "interrupted; nothing was left half-written\n")


def test_a_second_signal_does_not_wait():
    body = "try:\n    signal.raise_signal(2)\nfinally:\n    signal.raise_signal(2)\n    print('never')"
    done = program(body)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_signal_in_a_finaliser_is_not_lost():
    body = (
        "class Last:\n    def __del__(self):\n        signal.raise_signal(signal.SIGINT)\n"
        "item = Last()\ndel item\ntime.sleep(5)\nprint('never')"
    )
    done = program(body)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted; nothing was left half-written\n"


def test_an_ignored_signal_stays_ignored():
    """As `nohup`, or a script's background."""
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)" + PROGRAM.format(
        body="    signal.raise_signal(signal.SIGHUP)\n    print('goes on')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "goes on\n")


def test_handlers_of_a_script_that_imports_us_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    assert ending.run(lambda: 1, lambda error: None) == 1
    assert signal.getsignal(signal.SIGINT) is before
