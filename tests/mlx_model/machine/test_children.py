"""Children end with their parent, however it ends, and with them what they have started. Oracle: the process table."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlx_model.machine import children
from tests.conftest import ROOT

# A child, and a grandchild that has left the child's group; both write their process ids.
CHILD = (
    "import subprocess, sys, os, time; "
    "g = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True); "
    "print(os.getpid(), g.pid, flush=True); time.sleep(60)"
)
PARENT = f"""
import subprocess, sys
from mlx_model.machine import children
with children.started([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE, text=True) as child:
    print(child.stdout.readline().strip(), flush=True)
    {{then}}
"""


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"  # a zombie waits for init


def gone(processes: list[int], within_s: float = 10.0) -> bool:
    end = time.monotonic() + within_s
    while any(map(lives, processes)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(lives, processes))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="grandchildren are found through /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_parent_that_is_killed_takes_all_along(how: signal.Signals):
    code = PARENT.format(then="import time; time.sleep(60)")
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    processes = [int(word) for word in parent.stdout.readline().split()]
    assert len(processes) == 2
    assert all(map(lives, processes))
    os.kill(parent.pid, how)
    parent.communicate()
    assert gone(processes)


def test_a_child_that_was_about_to_be_reported_is_found_too(monkeypatch: pytest.MonkeyPatch):
    """Killed between the start of a child and the line that tells its group."""
    code = PARENT.format(then="import os; os._exit(9)").replace(
        "with children", "tell = children._reaper.tell\n"
        "children._reaper.tell = lambda line: tell(line) if line == '?' else None\nwith children",
    )  # fmt: skip
    if not Path("/proc/self/environ").exists():
        pytest.skip("processes are found through /proc")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert gone([int(word) for word in done.stdout.split()])


def test_leaving_the_block_ends_the_child():
    with pytest.raises(KeyError), children.started([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        raise KeyError
    assert child.returncode == -signal.SIGKILL


def test_what_a_process_printed_and_how_it_ended():
    assert children.run([sys.executable, "-c", "import sys; print('out'); sys.exit('err')"]) == (1, "out\n", "err\n")
    with pytest.raises(subprocess.TimeoutExpired):
        children.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.2)
    with pytest.raises(FileNotFoundError):
        children.run(["/no/such/program"])


def test_an_orderly_process_leaves_no_reaper():
    code = "from mlx_model.machine import children; children.run(['true']); print(children._reaper.process.pid)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert gone([int(done.stdout)], within_s=5.0)
