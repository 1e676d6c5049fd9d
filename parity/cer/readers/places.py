"""Where a path in a list leads: how it may be spelt, and from which folder it starts. Stdlib only.

Kaldi's and FunASR's recipes write paths as seen from the recipe's folder, two or three above the list. So a relative
path is looked for in the list's own folder, in the current one, and in the folders above the list; a downloaded list's
in its own folder only, as nothing in it may point outside.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mlx_model.errors import DatasetError
from parity.cer.lists import quoted, shown
from parity.cer.readers.testset import Utterance

ABOVE = 4  # folders above the list
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def audio_path(value: str, folder: Path, where: str, *, trusted: bool = True) -> Path:
    r"""Return where a path in a list leads, as seen from the list's own folder (see `found_elsewhere`).

    An absolute path is fine in a list that its user wrote for this machine, and so are `~` and `file://`; `..` may move
    inside the folder only. Where no file has the name as it stands, blanks around it, quotes and `\` are taken off.

    Raises:
        DatasetError: empty, holds a NUL, is a URL, climbs out of the folder, or is absolute though the list is not
            `trusted`.
    """
    if not value or "\0" in value:
        raise DatasetError(f"{where}: {quoted(value)} is no path; expected the path of an audio file")
    value = _spelt(_local(value, where), folder, trusted)
    if os.path.isabs(value):
        if trusted:
            return Path(value)
        raise DatasetError(f"{where}: {quoted(value)} is absolute; a downloaded list may only name files of its own")
    if ".." not in value:
        return folder / value
    inside = os.path.normpath(value)
    if inside.split(os.sep)[0] == "..":
        raise DatasetError(
            f"{where}: {quoted(value)} climbs out of {shown(folder)}; expected a path inside the list's own folder"
            + (", or an absolute one" if trusted else "")
        )
    return folder / inside


def _local(value: str, where: str) -> str:
    """Return the path of a file:// URL; any other URL is refused."""
    match = _URL.match(value.strip())
    if match is None:
        return value
    parts = urllib.parse.urlsplit(value.strip())
    if match[1].lower() == "file" and parts.netloc in ("", "localhost") and parts.path:
        return urllib.parse.unquote(parts.path)
    raise DatasetError(
        f"{where}: {quoted(value)} is a URL, and nothing is downloaded here; download the recordings first, and list "
        "their paths"
    )


def _spelt(value: str, folder: Path, trusted: bool) -> str:
    """Return the path without what editors and other systems leave in it, unless a file is called just so."""
    odd = value != value.strip() or "\\" in value or value[0] in "\"'~"
    if not odd or os.path.isfile(folder / value):
        return value
    plain = value.strip()
    if len(plain) > 2 and plain[0] == plain[-1] and plain[0] in "\"'":
        plain = plain[1:-1].strip()
    if "\\" in plain and not _DRIVE.match(plain) and not os.path.isfile(folder / plain):
        plain = plain.replace("\\", "/")
    if plain.startswith("~") and trusted:
        plain = os.path.expanduser(plain)
    return plain or value


def bases(folder: Path) -> list[Path]:
    """Return the folders that a relative path may start at besides the list's own, nearest first."""
    near = [Path(os.getcwd()), *list(folder.parents)[:ABOVE]]
    return [base for base in dict.fromkeys(near) if base != folder]


def found_elsewhere(utterances: Iterable[Utterance], folder: Path, notes: list[str]) -> list[Utterance]:
    """Return the utterances, those whose audio is not beside the list where it was found; the notes say where."""
    started: Counter[Path] = Counter()
    tried = bases(folder)
    exists: dict[Path, Path] = {}
    moved: list[Utterance] = []
    for item in utterances:
        if item.path not in exists:
            exists[item.path], base = _find(item.path, folder, tried)
            if base is not None:
                started[base] += 1
                tried.sort(key=lambda other: other != base)  # the next one is most likely there, too
        found = exists[item.path]
        moved.append(item if found is item.path else replace(item, path=found))
    for base, count in started.items():
        notes.append(f"paths of {count} audio files start at {shown(base)}, not at the list's own folder")
    return moved


def located(path: Path, folder: Path) -> Path:
    """Return one file that a list names, where it is."""
    return _find(path, folder, bases(folder))[0]


def _find(path: Path, folder: Path, tried: Iterable[Path]) -> tuple[Path, Path | None]:
    """Return the file and the folder that its path starts at; the path as it is and None where that is not needed."""
    if os.path.isfile(path) or not path.is_relative_to(folder):
        return path, None
    inside = path.relative_to(folder)
    for base in tried:
        if os.path.isfile(base / inside):
            return base / inside, base
    return path, None


def also_tried(path: Path, folder: Path) -> str:
    """Return what a message adds about the folders in which a file was looked for in vain."""
    if _DRIVE.match(path.name) or (path.is_relative_to(folder) and _DRIVE.match(str(path.relative_to(folder)))):
        return "; it is a path of Windows: list paths of this machine"
    if not path.is_relative_to(folder):
        return ""
    names = ", ".join(shown(base) for base in bases(folder))
    return f"; its path was also tried from {names}: start the command where the paths start, or list absolute ones"
