"""AISHELL-1: wav/{train,dev,test}/SPEAKER/ID.wav beside transcript/*.txt of `ID word word ...` lines.

Stdlib only. Audio and transcripts are two lists here, and they differ (141,925 recordings, 141,600 transcripts): what
stands on one side only is left out and counted.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from mlx_model.errors import DatasetError
from parity.cer.lists import merge_repeated, read_id_lines, shown
from parity.cer.readers.finishing import finish
from parity.cer.readers.testset import Dataset, Options, Utterance, count_unpaired
from parity.sides.audio_files import AUDIO_SUFFIXES

_ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")
_SPLITS = frozenset({"train", "dev", "test"})


def find(path: Path) -> list[Path]:
    """Return [path] where it is a tree, or a folder inside the wav/ of one (down to one speaker)."""
    return [path] if os.path.isdir(path) and _root(path) is not None else []


def _root(path: Path) -> Path | None:
    if os.path.isdir(path / "wav") and os.path.isdir(path / "transcript"):
        return path
    for folder in (path, *list(path.parents)[:2]):
        if folder.name == "wav" and os.path.isdir(folder.parent / "transcript"):
            return folder.parent
    return None


def read(path: Path, options: Options) -> Dataset:
    """Return the tree at `path`, or its part inside wav/; `speaker` and `condition` (train, dev, test) are folders."""
    root = _root(path)
    if root is None:
        raise DatasetError(f"{shown(path)}: not an AISHELL-1 tree; expected wav/ and transcript/ in it")
    notes = list(options.notes)
    audio = audio_by_stem(root / "wav" if path == root else path, notes)
    folder = root / "transcript"
    files = sorted(item for item in folder.glob("*.txt") if not item.name.startswith(".") and os.path.isfile(item))
    if not files:
        raise DatasetError(f"{shown(folder)}: no *.txt; expected aishell_transcript_v0.8.txt or the like")
    texts = merge_repeated([line for file in files for line in read_id_lines(file)], notes)
    utterances = [
        Utterance(
            utt_id=utt_id,
            path=file,
            text=texts[utt_id].rest,
            speaker=_speaker(file),
            condition=_split(file.relative_to(root)),
        )
        for utt_id, file in audio.items()
        if utt_id in texts
    ]
    count_unpaired(set(audio), set(texts), notes)
    # train, dev and test together are no test set: say what was counted.
    parts = Counter(item.path.relative_to(root).parent.parts[:2] for item in utterances)
    if parts:
        found = ", ".join(f"{shown('/'.join(part))} {count}" for part, count in sorted(parts.items()))
        notes.append(f"utterances: {found}")
    return finish("/".join((root.name, *path.relative_to(root).parts)), "aishell", utterances, notes, path)


def _speaker(file: Path) -> str | None:
    """Return the folder of the recording, which AISHELL names after its speaker (None where it is a whole split)."""
    return None if file.parent.name in {"wav", *_SPLITS} else shown(file.parent.name)


def _split(inside: Path) -> str | None:
    return inside.parts[1] if inside.parts[1] in _SPLITS else None


def audio_by_stem(top: Path, notes: list[str]) -> dict[str, Path]:
    """Return {file stem: path} in path order; archives still packed and repeated stems are counted in `notes`.

    Links are followed, each folder once, so that a link to a parent does not go round for ever.

    Raises:
        DatasetError: a folder cannot be read, so nobody can say what is missing.
    """
    found: dict[str, Path] = {}
    seen: set[tuple[int, int]] = set()
    repeated = archives = 0
    for folder, subfolders, names in os.walk(top, followlinks=True, onerror=_refuse):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        subfolders.sort()
        for name in sorted(names):
            archives += name.endswith(_ARCHIVE_SUFFIXES)
            # "._x.wav" is what macOS leaves beside x.wav on foreign disks; it holds no audio.
            if name.startswith(".") or os.path.splitext(name)[1].lower() not in AUDIO_SUFFIXES:
                continue
            file = Path(folder, name)
            repeated += found.setdefault(file.stem, file) is not file
    if repeated:
        notes.append(f"{repeated} audio files repeat the name of another one (the id is the file's stem): left out")
    if archives:
        notes.append(f"{shown(top)}: {archives} archives (.tar.gz) are not unpacked; their audio is not in this set")
    return found


def _refuse(error: OSError) -> None:
    raise DatasetError(f"{shown(str(error.filename))}: cannot be read: {error.strerror}") from error
