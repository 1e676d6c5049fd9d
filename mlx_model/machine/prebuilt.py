"""What a wheel carries of compiled code: every C file in every body for this kind of machine, and the wheel's tag.

Stdlib only: a wheel is built in an environment without MLX and NumPy (`wheel_hook.py`). What does not compile here is
left out, and compiled where the wheel is used, as in an editable install and from a checkout.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from mlx_model.errors import OutputError
from mlx_model.machine.bodies import PACKAGE, builds
from mlx_model.machine.compiler import compile_to, compiler, shipped

PURE = "MLX_FUNASR_PURE_WHEEL"  # =1: the wheel for all other machines, whatever compiler is here
VERSIONED = re.compile(rb"GLIBC_(\d+)\.(\d+)")  # as a library names what it needs of glibc


def build(folder: Path, say: Callable[[str], None], package: Path = PACKAGE) -> dict[str, Path]:
    """Return {path inside the wheel: the library}, made in a folder; {} where nothing can be compiled, which is said.

    `say` takes a line for who builds the wheel.
    """
    if os.environ.get(PURE) == "1":
        say(f"{PURE}=1: a pure wheel; its C files are compiled where it is used")
        return {}
    if compiler() is None:
        say("no C compiler here: a pure wheel; its C files are compiled where it is used, if there is one")
        return {}
    made: dict[str, Path] = {}
    for source, body in builds(package):
        inside = shipped(source, *body.options)
        target = folder / inside.name
        try:
            compile_to(target, source, *body.options)
        except (OSError, OutputError) as error:
            say(f"{source.name} {body.words}: left out, {error}")
            continue
        name = inside.relative_to(package.parent).as_posix()
        made[name] = target
        say(f"{name}: {body.words or 'any processor'}")
    return made


def platform_tag(libraries: Iterable[Path]) -> str:
    """Return the wheel's platform: the oldest glibc that the libraries run with (PEP 600), this macOS, or this system.

    They need nothing of the machine but its C library.
    """
    machine = platform.machine()
    if sys.platform == "darwin":
        major, minor = [*platform.mac_ver()[0].split("."), "0"][:2]
        return f"macosx_{major}_{0 if int(major) > 10 else minor}_{machine}"
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        found = [tuple(map(int, pair)) for path in libraries for pair in VERSIONED.findall(path.read_bytes())]
        return "manylinux_{}_{}_{}".format(*max(found, default=(2, 17)), machine)
    return f"{sys.platform}_{machine}"
