"""Ends what a process has started once that process is gone: `python -I -S reaper.py TOKEN`. Stdlib only.

Its stdin is a pipe that only that process holds, so it closes however the process ends, kill -9 included. Lines on it:
`+ GROUP` a process group has been started, `- GROUP` it has ended, `?` one is about to be started. At the end of stdin
every group that is left is killed, and (where /proc tells) every process that carries TOKEN in its environment: what
was started but not reported yet, and grandchildren that have left their group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

VARIABLE = "MLX_FUNASR_STARTED_BY"  # of every process that `children` starts; its value is TOKEN
PASSES, PAUSE_S = 6, 0.05  # over /proc: a process that is just being started may be missed by the first


def main(token: str) -> None:
    """Read what is told until the other end is gone, then kill what is left."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    groups: set[int] = set()
    coming = 0
    for line in sys.stdin:
        what, _, group = line.strip().partition(" ")
        if what == "?":
            coming += 1
        elif what == "+":
            coming -= 1
            groups.add(int(group))
        else:
            groups.discard(int(group or 0))
            coming -= not group
    if groups or coming > 0:
        kill(groups, token)


def kill(groups: set[int], token: str) -> None:
    """Kill groups, and whatever carries the token."""
    for _ in range(PASSES):
        for group in groups:
            with contextlib.suppress(OSError):
                os.killpg(group, signal.SIGKILL)
        for process in carrying(token):
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(PAUSE_S)


def carrying(token: str) -> list[int]:
    """Return the processes whose mark begins with the token, this one apart; none where the system does not say."""
    wanted, found = f"\0{VARIABLE}={token}".encode(), []
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                if wanted in b"\0" + file.read():
                    found.append(int(name))
    return found


if __name__ == "__main__":
    main(sys.argv[1])
