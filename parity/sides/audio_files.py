"""Recordings and folders of them, as a command line names them -> files. Must not import mlx."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mlx_model.errors import UsageError
from mlx_model.files.names import shown

# Of what lies in a folder. A file that is named itself may be called anything: its content tells what it is.
AUDIO_SUFFIXES = frozenset(
    {
        ".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".caf", ".w64",
        ".sph", ".wma", ".webm", ".mka", ".mp4", ".amr",
    }
)  # fmt: skip


def find_files(paths: Sequence[str | Path]) -> list[Path]:
    """Return the files, and the recordings below the folders, in a fixed order.

    Raises:
        UsageError: a path does not exist or cannot be looked at, or there is no recording at all.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        found += _below(path) if _is_folder(path) else [path]
    if not found:
        raise UsageError(f"no recordings in {', '.join(map(shown, paths))}; at least one is needed")
    return found


def _is_folder(path: Path) -> bool:
    try:
        is_folder = path.is_dir()
        if not is_folder and not path.is_file():
            os.stat(path)  # says why
            raise UsageError(f"{shown(path)}: neither a file nor a folder; --audio takes recordings or folders of them")
    except FileNotFoundError:
        raise UsageError(
            f"{shown(path)}: no such file or folder; --audio takes recordings or folders of them"
        ) from None
    except (OSError, ValueError) as error:  # a name of 300 characters, a folder that is closed to us, a NUL
        raise UsageError(f"{shown(path)}: cannot be looked at: {getattr(error, 'strerror', None) or error}") from None
    return is_folder


def _below(folder: Path) -> list[Path]:
    """The recordings in a folder and those below it. What is hidden, as macOS's `._NAME`, is none."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith("._") and path.is_file()
    )
