"""What a comparison is given: recordings, or texts where a model takes those; one list, as a command names them.

Which of the two a family takes, its table says (`Family.takes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mlx_model.audio.files import load_audio
from mlx_model.errors import UsageError
from mlx_model.files.names import shown
from parity.families.family import Family
from parity.sides.audio_files import find_files
from parity.sides.candidate import Candidate
from parity.taps.takes import RECORDINGS, TEXTS

OPTION = {RECORDINGS: "--audio PATH...", TEXTS: "--texts TEXT...|@FILE"}


class Given(NamedTuple):
    """(utt_id, path or text) of everything to compare on, and which of the two it is."""

    takes: str
    items: list[tuple[str, str | Path]]


def find(audio: Sequence[str | Path], texts: Sequence[str] = (), limit: int | None = None) -> Given:
    """Return what recordings, or what texts, stand for.

    Raises:
        UsageError: both are given, a path does not exist, a file is no text, or there is nothing at all.
    """
    if audio and texts:
        raise UsageError("--audio and --texts: a model takes recordings, or it takes texts")
    return Given(TEXTS, [*find_texts(texts, limit)]) if texts else Given(RECORDINGS, [*find_audio(audio, limit)])


def find_audio(paths: Sequence[str | Path], limit: int | None = None) -> list[tuple[str, Path]]:
    """Return (utt_id, path) for files and, recursively, for folders; ids are file stems, made unique by their folder.

    Raises:
        UsageError: a path does not exist, or there is no audio at all.
    """
    files = find_files(paths)
    stems = [file.stem for file in files]
    found = [(s if stems.count(s) == 1 else f"{f.parent.name}/{f.name}", f) for s, f in zip(stems, files, strict=True)]
    return found[:limit]


def find_texts(given: Sequence[str], limit: int | None = None) -> list[tuple[str, str]]:
    """Return (utt_id, text) of texts, and of files of them, `@FILE`, one text a line; empty lines are none.

    Raises:
        UsageError: a file cannot be read as UTF-8, or there is no text at all.
    """
    found: list[tuple[str, str]] = []
    for text in given:
        if text.startswith("@"):
            lines = _lines(Path(text[1:]))
            found += [(f"{Path(text[1:]).name}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]
        elif text.strip():
            found.append((f"text {len(found) + 1}", text))
    if not found:
        raise UsageError("no text with a word in it; --texts takes texts, or @FILE of one a line")
    return found[:limit]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown(path)}: not text in UTF-8 ({error.reason} at byte {error.start})") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{shown(path)}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def accept(given: Given, family: Family, candidate: Candidate) -> None:
    """Raise what says why a family cannot be compared on what is given, before the reference is started.

    Raises:
        UsageError: it takes texts and is given recordings, or the other way round.
        AudioError: a recording cannot be read.
    """
    refuse_other(given.takes, family)
    if given.takes == RECORDINGS:
        for _, path in given.items:
            load_audio(path, candidate.rate)


def refuse_other(takes: str, family: Family) -> None:
    """Raise UsageError where a family does not take what is given."""
    if takes != family.takes:
        raise UsageError(f"a {family.funasr_class} takes {family.takes}, not {takes}: {OPTION[family.takes]}")
