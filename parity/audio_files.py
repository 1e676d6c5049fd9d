"""Recordings and folders of them, as a command line names them -> files. Must not import mlx."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mlx_model.errors import UsageError

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".aif", ".aiff", ".wma", ".webm", ".mp4"}
)


def find_files(paths: Sequence[str | Path]) -> list[Path]:
    """Return the files, and the recordings below the folders, in a fixed order.

    Raises:
        UsageError: a path does not exist, or there is no recording at all.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not os.path.exists(path):  # Path.exists raises where a name is too long
            raise UsageError(f"{path}: no such file or folder; --audio takes recordings or folders of them")
        found += [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    if not found:
        raise UsageError(f"no recordings in {', '.join(map(str, paths))}; at least one is needed")
    return found
