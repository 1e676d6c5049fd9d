"""How a command ends, whatever ends it: one line on stderr and an exit code, never a traceback. Stdlib only.

Codes: 0 passed, 1 ran and the thing checked failed, 2 wrong usage or bad input, 128 + N stopped by signal N (Ctrl-C:
130; a reader of stdout that has gone: 141, silently). `MLX_FUNASR_TRACEBACK=1` shows what nobody foresaw in full.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from reports import start, streams

ROOT = Path(__file__).resolve().parent.parent
TRACEBACK = "MLX_FUNASR_TRACEBACK"
LOADER = "<frozen importlib._bootstrap_external>"
AGAIN_S = 0.02  # until a signal that came at a bad moment is looked at again
SIGNALS = {
    name: word
    for name, word in (("SIGINT", "interrupted"), ("SIGTERM", "terminated"), ("SIGHUP", "hung up"))
    if hasattr(signal, name)
}
LEFT = "nothing was left half-written"


class Stopped(BaseException):
    """A signal asks the command to end. No KeyboardInterrupt: libraries print their own words for that."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


class _State:
    running = False  # a command is: it can end in order
    stopping = False  # it has been asked to
    number = 0  # by this signal


def begin() -> None:
    """Be ready for signals and closed streams from the first import on, where this process is the command line."""
    if start.is_program():
        streams.fill()
        _listen()


def run(call: Callable[[], int | None], line_of: Callable[[BaseException], str | None]) -> int:
    """Call, and return the exit code; where a signal has stopped it, the process ends here, whatever threads are at.

    Args:
        call: the command; it returns a code, or None for 0.
        line_of: the line for an error that was foreseen ("" for none), None for any other.
    """
    before = _listen()
    _State.running, _State.stopping, _State.number = True, False, 0
    hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook, threading.excepthook = _unraisable, _in_thread
    try:
        code = _ended(call, line_of)
        if _State.stopping and start.is_program():
            os._exit(code)
        return code
    finally:
        _State.running, _State.stopping = False, True
        if not start.is_program():
            sys.unraisablehook, threading.excepthook = hooks
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def going_on(words: Callable[[], str]) -> Iterator[None]:
    """Where a command is stopped in the block, these words tell what goes on, and how; a script's own is left alone."""
    try:
        yield
    except BaseException as error:
        if _State.running and (_State.stopping or isinstance(error, (Stopped, KeyboardInterrupt))):
            error.add_note(words())
        raise


def _ended(call: Callable[[], int | None], line_of: Callable[[BaseException], str | None]) -> int:
    try:
        streams.prepare()
        if streams.stdout_is_closed():
            return _failed("error: stdout is closed; expected it to be open, results are printed there")
        code = call() or 0
        sys.stdout.flush()
        if (remark := streams.remark()) is not None:
            _say(f"note: {remark}")
        return code
    except (Stopped, KeyboardInterrupt) as stop:
        return _stopped(stop)
    except streams.StdoutError as error:
        streams.abandon()
        return 128 + signal.SIGPIPE if error.broken else _failed(f"error: stdout cannot be written: {error}")
    except SystemExit as error:  # of a library
        return error.code if isinstance(error.code, int) else _failed(str(error.code)) if error.code else 0
    except Exception as error:
        if _State.stopping:  # what a library makes of it
            return _stopped(error)
        line = line_of(error)
        if line is None and os.environ.get(TRACEBACK):
            traceback.print_exc()
        return _failed(unforeseen(error) if line is None else line)


def _stopped(error: BaseException) -> int:
    number = _State.number or signal.SIGINT
    _say(f"{SIGNALS[signal.Signals(number).name]}; {'; '.join(getattr(error, '__notes__', [])) or LEFT}")
    return 128 + number


def _failed(line: str) -> int:
    with contextlib.suppress(streams.StdoutError):
        sys.stdout.flush()
    if line:
        _say(line)
    return 2


def unforeseen(error: BaseException) -> str:
    """Return the line for an error that no part of the program has put in words."""
    where = _place(error)
    if isinstance(error, OSError) and error.strerror:
        name = error.filename
        about = os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else f"a file (at {where})"
        return f"error: {about}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"error: out of memory (at {where}); give it less at once, or a larger machine"
    if isinstance(error, RecursionError):
        return f"error: something given is nested too deeply to be read (at {where})"
    if isinstance(error, UnicodeError):
        return f"error: text that is not in the encoding it should be in (at {where}): {error}"
    words = " ".join(str(error).split())[:300]
    return (
        f"error: a fault of mlx-funasr itself: {type(error).__name__} at {where}{': ' * bool(words)}{words}; "
        f"please report it, with what {TRACEBACK}=1 shows"
    )


def _place(error: BaseException) -> str:
    """Return the last line of ours that the error passed."""
    frames = traceback.extract_tb(error.__traceback__)
    folders = ("mlx_model", "convert", "parity", "reports", "mlx_funasr.py")
    ours = [frame for frame in frames if os.path.relpath(frame.filename, ROOT).split(os.sep)[0] in folders]
    last = (ours or frames)[-1:]
    return "".join(f"{os.path.relpath(frame.filename, ROOT)}:{frame.lineno}" for frame in last) or "an unknown place"


def _say(line: str) -> None:
    """Print one line on stderr, in red where it is an error and somebody looks."""
    line = " ".join(line.splitlines())
    with contextlib.suppress(OSError, ValueError):
        if line.startswith("error") and sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
            line = f"\x1b[31m{line}\x1b[0m"
        print(line, file=sys.stderr, flush=True)


# ---- signals


def _listen() -> dict[int, Any]:
    """Have signals end the command in order; one that is ignored (nohup, a script's background) stays ignored."""
    before: dict[int, Any] = {}
    if threading.current_thread() is not threading.main_thread():
        return before
    for name in SIGNALS:
        number = getattr(signal, name)
        before[number] = signal.getsignal(number)
        if before[number] in (signal.SIG_DFL, signal.default_int_handler, start.leave_quietly):
            signal.signal(number, _stop)
    return before


def _stop(number: int, frame: FrameType | None) -> None:
    """The first signal unwinds; the second, or one before or after the command, ends the process as it stands."""
    if _State.running and not _State.stopping:
        if _in_extension(frame):
            _again(number)
            return
        _State.stopping, _State.number = True, number
        raise Stopped(number)
    if not _State.stopping:
        os.write(2, f"{SIGNALS[signal.Signals(number).name]}; nothing was begun\n".encode())
    os._exit(128 + number)


def _again(number: int) -> None:
    """Have a signal that came at a bad moment looked at a little later."""
    signal.signal(signal.SIGALRM, lambda _, frame: _stop(number, frame))
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S)


def _in_extension(frame: FrameType | None) -> bool:
    """Whether a compiled module is being loaded: an exception inside may abort the process (MLX's does)."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename == LOADER and code.co_qualname.startswith("ExtensionFileLoader."):
            return True
        frame = frame.f_back
    return False


def _unraisable(args: Any) -> None:
    """A signal that arrived where nothing can be raised (a finaliser) arrives again; other faults are not for users."""
    if isinstance(args.exc_value, Stopped):
        _State.stopping = False
        _again(args.exc_value.number)
    elif os.environ.get(TRACEBACK):
        sys.__unraisablehook__(args)


def _in_thread(args: Any) -> None:
    if os.environ.get(TRACEBACK):
        threading.__excepthook__(args)
    elif args.exc_value is not None and args.exc_type is not SystemExit:
        _say(f"warning: in a thread, {unforeseen(args.exc_value).removeprefix('error: ')}")
