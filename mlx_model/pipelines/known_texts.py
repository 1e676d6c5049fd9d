"""Which text belongs to which recording, as a command line names both. Pairs go by key; nothing is left over unsaid.

A recording's key is its file's name without the ending, in a wav.scp its own; a text's the first word of its line
(`KEY TEXT`, Kaldi's), "key" in jsonl, or the name of its file (KEY.txt).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mlx_model.errors import UsageError
from mlx_model.files.names import shown

SUFFIXES = frozenset(  # of recordings in a folder
    {".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".caf", ".w64", ".sph",
     ".wma", ".webm", ".mka", ".mp4", ".amr"}
)  # fmt: skip
PATHS = re.compile(r"(?:~|\.{0,2}/).*|\S+(?:/|\.(?:txt|jsonl|list|scp|trn))")  # what names a file, there or not
KEY = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z_-])[A-Za-z0-9._/-]{4,}|0[0-9]{2,}")  # what a line begins with in a list
LISTS = (".jsonl", ".list")  # a JSON object a line
KEYS, TEXTS = ("key", "utt", "id"), ("text", "txt", "target")  # of such an object
MAX_BYTES = 256 << 20  # the largest text file that is read


def pairs(audio: Sequence[str], text: str, *, spare: bool = False) -> list[tuple[Path, str]]:
    """Return (recording, what is said in it) of each, in the order of `audio`.

    Args:
        audio: files, folders of them, or a wav.scp.
        text: the text itself, where there is one recording; or a file (`@FILE`, or the path of one), or a folder.
        spare: texts without a recording are left be.

    Raises:
        UsageError: something is missing, cannot be read, or keys do not pair.
    """
    recordings = _recordings(audio)
    path = _path_of(text)
    if path is None:
        if len(recordings) != 1:
            raise UsageError(
                f"one text for {len(recordings)} recordings: give a file of `KEY TEXT` lines, or a folder of KEY.txt"
            )
        return [(file, text) for file in recordings.values()]
    if len(recordings) == 1 and path.is_file() and path.suffix not in LISTS:
        ((key, file),) = recordings.items()
        content = _read(path)
        lines = [line.split(maxsplit=1) for line in content.splitlines() if line.strip()]
        if key not in (line[0] for line in lines):
            if path.stem == key or not _list(lines):
                return [(file, " ".join(content.split("\n")).strip())]
            raise UsageError(
                f"{shown(path)}: no text for {key}: its lines are `KEY TEXT` ({lines[0][0]} ...); to align such a file "
                f"as one text, call it {key}.txt"
            )
    texts = _texts(path)
    if spare:
        texts = {key: said for key, said in texts.items() if key in recordings}
    return _paired(recordings, texts, path)


def _list(lines: Sequence[Sequence[str]]) -> bool:
    """Whether these are `KEY TEXT` lines, as no text that is said begins each of its own."""
    return all(KEY.fullmatch(line[0]) for line in lines) and any(len(line) > 1 for line in lines)


def _path_of(text: str) -> Path | None:
    """The file or folder that is meant; None where the text itself is given."""
    if text.startswith("@"):
        path = Path(text[1:])
        if not path.exists():
            raise UsageError(f"{shown(path)}: no such file or folder (a text that begins with @ names one)")
        return path
    try:
        if text and Path(text).exists():
            return Path(text)
    except (OSError, ValueError):  # longer than a name may be, or with a NUL: a text
        return None
    if PATHS.fullmatch(text):
        raise UsageError(f"{shown(Path(text))}: no such file or folder; to align that as a text, put it into a file")
    return None


def _recordings(audio: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for item in audio:
        for key, path in _named(Path(item)):
            if key in found:
                raise UsageError(f"two recordings have the key {key}: {shown(found[key])} and {shown(path)}")
            found[key] = path
    if not found:
        raise UsageError(f"no recordings in {', '.join(map(shown, audio))}; at least one is needed")
    return found


def _named(path: Path) -> Iterator[tuple[str, Path]]:
    if path.suffix == ".scp":
        for key, value in _lines(path):
            if value.endswith("|") or not value:
                raise UsageError(f"{shown(path)}: {key}: expected the path of a recording, commands are not run")
            beside = path.parent / value
            yield key, beside if beside.exists() or not Path(value).exists() else Path(value)
    elif path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in SUFFIXES and not file.name.startswith("._") and file.is_file():
                yield file.stem, file
    else:
        yield path.stem, path


def _texts(path: Path) -> dict[str, str]:
    if path.is_dir():
        listed = path / "text"
        if listed.is_file():
            return _once(_lines(listed), listed)
        files = sorted(path.glob("*.txt"))
        if not files:
            raise UsageError(f"{shown(path)}: neither `text` nor KEY.txt files in it")
        return {file.stem: " ".join(_read(file).split("\n")).strip() for file in files}
    return _once(_objects(path) if path.suffix in LISTS else _lines(path), path)


def _once(pairs: Iterable[tuple[str, str]], path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, text in pairs:
        if key in found:
            raise UsageError(f"{shown(path)}: two texts have the key {key}")
        found[key] = text
    return found


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in _read(path).splitlines():
        if line.strip():
            key, *rest = line.split(maxsplit=1)
            yield key, rest[0].strip() if rest else ""


def _objects(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_read(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        values = [next((row[name] for name in names if name in row), None) for names in (KEYS, TEXTS)] if (
            isinstance(row, dict)) else [None]  # fmt: skip
        if not all(isinstance(value, str) for value in values):
            raise UsageError(f'{shown(path)}:{number}: expected {{"key": ..., "text": ...}}')
        yield str(values[0]), str(values[1])


def _read(path: Path) -> str:
    try:
        if os.path.getsize(path) > MAX_BYTES:
            raise UsageError(f"{shown(path)}: {os.path.getsize(path)} bytes are too many for a list or a text")
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown(path)}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read: {error.strerror}") from None


def _paired(recordings: dict[str, Path], texts: dict[str, str], path: Path) -> list[tuple[Path, str]]:
    missing, surplus = [key for key in recordings if key not in texts], [key for key in texts if key not in recordings]
    said = [
        f"{what}: {len(keys)} of {count} (first: {keys[0]})"
        for what, keys, count in (
            ("recordings without a text", missing, len(recordings)), ("texts without a recording", surplus, len(texts)),
        )
        if keys
    ]  # fmt: skip
    if said:
        raise UsageError(
            f"{shown(path)}: {'; '.join(said)}; a recording's key is its file's name without the ending, a text's the "
            "first word of its line"
        )
    return [(file, texts[key]) for key, file in recordings.items()]
