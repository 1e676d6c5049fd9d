"""The first lines that a command runs: Ctrl-C before its imports are done is one line, too. Imports next to nothing."""

import _signal  # pyright: ignore[reportMissingImports]  what `signal` wraps, without the milliseconds of its import
import os
import sys

INTERRUPT = 2


def is_program() -> bool:
    """Whether this process is the command line, and not somebody's script that imports us."""
    main = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    return os.path.basename(main) in ("mlx-funasr", "mlx_funasr.py", "mlx-funasr-script.py") or main.endswith(
        os.path.join("mlx-funasr", "__main__.py")
    )


def leave_quietly(*_: object) -> None:
    """End the process where nothing has begun."""
    os.write(2, b"interrupted; nothing was begun\n")
    os._exit(128 + INTERRUPT)


if is_program() and _signal.getsignal(INTERRUPT) is _signal.default_int_handler:
    _signal.signal(INTERRUPT, leave_quietly)
