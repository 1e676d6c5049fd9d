"""Programs forked from a process that has done the slow imports already: FunASR's take eight seconds, a fork none.

`python(kind)` is a path that takes the place of sys.executable: `-c CODE ARGUMENTS` or `FILE ARGUMENTS` run as they
would in a fresh interpreter, with the caller's environment, directory and standard streams, as `__main__`. Behind it
is a small program (CALLER) that hands all this to the server of the kind and passes on the exit code; when it is
killed, so is the program. tests/conftest.py starts the servers, which import at the first request and end with it.

Where processes do not fork well (everything but Linux), `python` is sys.executable. What is tested of starting and
killing processes uses sys.executable itself. Standard library only.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import types
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
VARIABLE = "MLX_FUNASR_TEST_FORKED"  # the folder of sockets and callers, for the test processes
# What each kind has imported. MLX is in neither: its threads would not survive a fork, and torch's BLAS would be ours.
KINDS = {
    "funasr": ("torch", "funasr", "funasr.auto.auto_model", "numpy", "yaml", "soundfile", "kaldi_native_fbank"),
    "command": (
        *("soundfile", "soxr", "jaxtyping", "mlx_funasr", "convert.planning", "parity.cer.evaluate"),
        *("reports.render", "reports.terminal"),
    ),
}
CALLER = """#!{python} -IS
import array, os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect({address!r})
words = ["\\0".join(sys.argv[1:]), os.getcwd(), "\\0".join(f"{{k}}={{v}}" for k, v in os.environ.items())]
data = "\\1".join(words).encode("utf-8", "surrogateescape")
line.sendmsg([len(data).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
line.sendall(data)
code = line.recv(4)
if len(code) < 4:
    sys.exit("the server of forked programs has ended")
code = int.from_bytes(code, "big", signed=True)
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code % 256)
"""


def python(kind: str) -> str:
    """Return what runs Python programs with the imports of `kind` done, or sys.executable."""
    folder = os.environ.get(VARIABLE)
    return sys.executable if folder is None else str(Path(folder) / kind)


class Servers:
    """Both servers, for one run of the tests. Their end is the end of their standard input."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="forked-")
        self._processes = []
        os.environ[VARIABLE] = self._folder.name
        for kind in KINDS:
            address = str(Path(self._folder.name) / f"{kind}.socket")
            caller = Path(python(kind))
            caller.write_text(CALLER.format(python=sys.executable, address=address), "utf-8")
            caller.chmod(0o700)
            command = [sys.executable, str(Path(__file__).resolve()), kind, address]
            streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": ROOT}
            # One thread while importing: no others that a fork would lack.
            environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
            process = subprocess.Popen(command, start_new_session=True, env=environment, **streams)
            assert process.stdout is not None
            process.stdout.readline()  # it listens
            self._processes.append(process)

    def close(self) -> None:
        """End them, and what runs of theirs still."""
        os.environ.pop(VARIABLE, None)
        for process in self._processes:
            process.communicate()
        self._folder.cleanup()


# ---- the server


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    words: list[str]  # -c CODE ARGUMENTS, or FILE ARGUMENTS
    folder: str
    environment: dict[str, str]
    streams: list[int]


class _Server:
    """Forks for every call, and tells each caller how its program ended."""

    def __init__(self, kind: str, address: str) -> None:
        self._kind = kind
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(address)
        self._listening.listen(16)
        self._ended, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake)
        self._running: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        for source in (self._listening, self._ended, sys.stdin):
            self._selector.register(source, selectors.EVENT_READ)
        print("listening", flush=True)

    def serve(self) -> _Call | None:
        """Answer calls until the tests end, then return None; in a fork, return its call."""
        while True:
            for source in [key.fileobj for key, _ in self._selector.select()]:
                if source is sys.stdin:
                    for pid in self._running:
                        _kill(pid)
                    return None
                if source == self._ended:
                    os.read(self._ended, 4096)
                    self._tell()
                elif source is not self._listening:  # a caller that was killed: nothing else makes its line readable
                    self._selector.unregister(source)
                    _kill(next(pid for pid, line in self._running.items() if line is source))
                elif (call := self._answer()) is not None:
                    return call

    def _answer(self) -> _Call | None:
        line, _ = self._listening.accept()
        call = _received(line)
        for name in KINDS[self._kind]:
            with contextlib.suppress(ImportError), contextlib.redirect_stdout(sys.stderr):
                import_module(name)
        assert "mlx.core" not in sys.modules
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            for inherited in (self._listening, line, *self._running.values()):
                inherited.close()
            os.close(self._ended)
            os.close(self._wake)
            return call
        with contextlib.suppress(OSError):  # the fork does the same; whoever is first
            os.setpgid(pid, pid)
        for stream in call.streams:
            os.close(stream)
        self._running[pid] = line
        self._selector.register(line, selectors.EVENT_READ)
        return None

    def _tell(self) -> None:
        """Send the exit codes of those that have ended."""
        for pid in list(self._running):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                line = self._running.pop(pid)
                with contextlib.suppress(KeyError):
                    self._selector.unregister(line)
                with contextlib.suppress(OSError):
                    line.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
                line.close()


def _received(line: socket.socket) -> _Call:
    size, ancillary, _, _ = line.recvmsg(4, socket.CMSG_SPACE(3 * 4))
    streams = array.array("i")
    for _, _, data in ancillary:
        streams.frombytes(data)
    wanted, found = int.from_bytes(size, "big"), b""
    while len(found) < wanted:
        found += line.recv(wanted - len(found))
    words, folder, environment = found.decode("utf-8", "surrogateescape").split("\1")
    variables = dict(entry.split("=", 1) for entry in environment.split("\0") if entry)
    return _Call(words=words.split("\0"), folder=folder, environment=variables, streams=list(streams))


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


# ---- the program


def _become(call: _Call) -> NoReturn:
    """Turn this fork into what was called, with its streams, directory and environment, and end as it ends."""
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    for number, stream in enumerate(call.streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(call.folder)
    os.environ.clear()
    os.environ.update(call.environment)
    tempfile.tempdir = None
    if "torch" in sys.modules and "OMP_NUM_THREADS" in os.environ:  # which it reads while it is imported
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115
    sys.argv = call.words
    code = _ended(sys.argv)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code % 256)


def _ended(words: list[str]) -> int:
    """Run `-c CODE` or FILE, and return its exit code."""
    module: Any = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    if words[0] == "-c":
        text, where = words.pop(1), "<string>"
        sys.path[0] = ""
    else:
        where = words[0]
        text, module.__file__ = Path(where).read_text("utf-8"), where
        sys.path[0] = str(Path(where).resolve().parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [path for path in paths if path and path not in sys.path]
    try:
        exec(compile(text, where, "exec"), module.__dict__)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        return 1
    return 0


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    called = _Server(*sys.argv[1:]).serve()
    if called is not None:
        _become(called)
