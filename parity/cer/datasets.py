"""Test sets on disk -> `Dataset`: an AISHELL tree, a Kaldi data directory, or a FunASR jsonl list.

Stdlib and mlx_model.errors only; no audio is opened here. What a list leaves out, repeats or names in vain is counted
in `Dataset.notes`, never silent. Audio that is listed but absent keeps its utterance, which then counts as deletions.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_model.errors import DatasetError
from parity.cer.lists import IdLine, merge_repeated, read_id_lines, read_lines

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".aif", ".aiff", ".wma", ".webm", ".mp4"}
)
_ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")
_EXPECTED = (
    "an AISHELL directory (wav/ and transcript/, or a folder inside its wav/), a Kaldi data directory (wav.scp and "
    "text), or a FunASR list (*.jsonl with key, source, target)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One recording and what was said in it, as the list spells it. `path` may not exist: the notes count those."""

    utt_id: str
    path: Path
    text: str
    speaker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A test set in its own order. `kind` is "aishell", "kaldi" or "jsonl"; `notes` say what was left out, and why."""

    name: str
    kind: str
    utterances: tuple[Utterance, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        repeated = [utt_id for utt_id, count in Counter(item.utt_id for item in self.utterances).items() if count > 1]
        if repeated:
            raise DatasetError(f"{self.name}: id {repeated[0]!r} stands for several utterances; expected each id once")


def read_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Return the test set at `path`: a folder of one of the three kinds, or the list file itself.

    A folder that is several kinds at once is read as an AISHELL tree before a Kaldi directory before a single jsonl
    file; the notes say so. A file picks explicitly: `*.jsonl`, or `wav.scp` for its Kaldi directory. Relative paths in
    lists are taken from the list's own folder.

    Raises:
        DatasetError: nothing of the three kinds is there, a list cannot be read or contradicts itself, or the set is
            empty.
    """
    path = Path(os.path.abspath(path))
    if path.is_file():
        if path.name == "wav.scp":
            return _read_kaldi(path.parent, [])
        if path.suffix == ".jsonl":
            return _read_jsonl(path, [])
        raise DatasetError(f"{path}: not a list of a known kind; expected {_EXPECTED}")
    if not path.is_dir():
        raise DatasetError(f"{path}: no such file or folder; expected {_EXPECTED}")
    return _read_folder(path)


def _read_folder(path: Path) -> Dataset:
    tree = _aishell_root(path)
    lists = sorted(path.glob("*.jsonl"))
    kaldi = (path / "wav.scp").is_file()
    if tree is not None:
        others = [*(["wav.scp"] if kaldi else []), *(item.name for item in lists)]
        return _read_aishell(path, tree, _choice_notes("an AISHELL tree", others))
    if kaldi:
        return _read_kaldi(path, _choice_notes("a Kaldi data directory", [item.name for item in lists]))
    if len(lists) > 1:
        names = ", ".join(item.name for item in lists)
        raise DatasetError(f"{path}: {len(lists)} jsonl lists ({names}); give the path of the one to read")
    if lists:
        return _read_jsonl(lists[0], [])
    raise DatasetError(f"{path}: holds no test set; expected {_EXPECTED}")


def _choice_notes(chosen: str, others: list[str]) -> list[str]:
    if not others:
        return []
    return [f"read as {chosen}; the folder also holds {', '.join(others)}: give that file's path to read it instead"]


def _aishell_root(path: Path) -> Path | None:
    """Return the folder with wav/ and transcript/ that `path` is, or whose wav/ it lies in (down to one speaker)."""
    if (path / "wav").is_dir() and (path / "transcript").is_dir():
        return path
    for folder in (path, *list(path.parents)[:2]):
        if folder.name == "wav" and (folder.parent / "transcript").is_dir():
            return folder.parent
    return None


def _read_aishell(path: Path, root: Path, notes: list[str]) -> Dataset:
    whole = path == root
    top = root / "wav" if whole else path
    audio = _audio_by_stem(top, notes)
    files = sorted(item for item in (root / "transcript").glob("*.txt") if not item.name.startswith("."))
    if not files:
        raise DatasetError(f"{root / 'transcript'}: no *.txt; expected aishell_transcript_v0.8.txt or the like")
    texts = merge_repeated([line for file in files for line in read_id_lines(file)], notes)
    utterances = tuple(
        Utterance(utt_id=utt_id, path=file, text=texts[utt_id].rest, speaker=_speaker(file))
        for utt_id, file in audio.items()
        if utt_id in texts
    )
    _count_unpaired(set(audio), set(texts), notes)
    # train, dev and test together are no test set: say what was counted.
    parts = Counter(item.path.relative_to(root).parent.parts[:2] for item in utterances)
    notes.append("utterances: " + ", ".join(f"{'/'.join(part)} {count}" for part, count in sorted(parts.items())))
    return _finish("/".join((root.name, *path.relative_to(root).parts)), "aishell", utterances, notes, path)


def _speaker(file: Path) -> str | None:
    """Return the folder of the recording, which AISHELL names after its speaker (None where it is a whole split)."""
    return None if file.parent.name in {"wav", "train", "dev", "test"} else file.parent.name


def _audio_by_stem(top: Path, notes: list[str]) -> dict[str, Path]:
    """Return {file stem: path} in path order; archives still packed and repeated stems are counted in `notes`."""
    found: dict[str, Path] = {}
    repeated = archives = 0
    for folder, subfolders, names in os.walk(top, followlinks=True):
        subfolders.sort()
        for name in sorted(names):
            archives += name.endswith(_ARCHIVE_SUFFIXES)
            # "._x.wav" is what macOS leaves beside x.wav on foreign disks; it holds no audio.
            if name.startswith(".") or Path(name).suffix.lower() not in AUDIO_SUFFIXES:
                continue
            file = Path(folder, name)
            repeated += found.setdefault(file.stem, file) is not file
    if repeated:
        notes.append(f"{repeated} audio files repeat the name of another one (the id is the file's stem): left out")
    if archives:
        notes.append(f"{top}: {archives} archives (.tar.gz) are not unpacked; their audio is not in this set")
    return found


def _read_kaldi(folder: Path, notes: list[str]) -> Dataset:
    if (folder / "segments").exists():
        raise DatasetError(
            f"{folder / 'segments'}: lists with segments are not supported yet; expected one audio file per utterance "
            "(cut the recordings first, or use Kaldi's extract-segments)"
        )
    if not (folder / "text").is_file():
        raise DatasetError(f"{folder}: wav.scp without text; a Kaldi data directory needs both to be scored")
    sources = merge_repeated(read_id_lines(folder / "wav.scp"), notes)
    texts = merge_repeated(read_id_lines(folder / "text"), notes)
    speakers: dict[str, str] = {}
    if (folder / "utt2spk").is_file():
        lines = merge_repeated(read_id_lines(folder / "utt2spk"), notes)
        speakers = {utt_id: line.rest.strip() for utt_id, line in lines.items() if line.rest}
        without = sum(utt_id not in speakers for utt_id in sources)
        if without:
            notes.append(f"utt2spk: {without} of {len(sources)} utterances have no speaker there")
    audio = {utt_id: folder / _scp_path(line) for utt_id, line in sources.items()}
    utterances = tuple(
        Utterance(utt_id=utt_id, path=path, text=texts[utt_id].rest, speaker=speakers.get(utt_id))
        for utt_id, path in audio.items()
        if utt_id in texts
    )
    _count_unpaired(set(audio), set(texts), notes)
    return _finish(folder.name, "kaldi", utterances, notes, folder)


def _scp_path(line: IdLine) -> str:
    value = line.rest.strip()
    if not value:
        raise DatasetError(f"{line.where}: id {line.utt_id!r} without a path; expected `ID path`")
    if "|" in value:
        raise DatasetError(
            f"{line.where}: {value!r} is a command (it holds a pipe `|`), and commands from lists are never run; "
            "write the audio to files and list their paths"
        )
    if re.search(r"\.ark:\d+$", value):
        raise DatasetError(f"{line.where}: {value!r} points into a Kaldi archive; expected the path of an audio file")
    return value


def _read_jsonl(path: Path, notes: list[str]) -> Dataset:
    sources: list[IdLine] = []
    texts: dict[str, str] = {}
    for number, line in read_lines(path):
        key, source, target = _jsonl_fields(line, f"{path}:{number}")
        if texts.setdefault(key, target) != target:
            raise DatasetError(f"{path}:{number}: key {key!r} stands before with another target; keep one of the two")
        sources.append(IdLine(path=path, number=number, utt_id=key, rest=source))
    table = merge_repeated(sources, notes)
    utterances = tuple(
        Utterance(utt_id=key, path=path.parent / line.rest, text=texts[key]) for key, line in table.items()
    )
    return _finish(f"{path.parent.name}/{path.name}", "jsonl", utterances, notes, path)


def _jsonl_fields(line: str, where: str) -> tuple[str, str, str]:
    try:
        entry: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise DatasetError(f"{where}: not JSON ({error.msg} at column {error.colno}); expected one object") from error
    if not isinstance(entry, dict):
        raise DatasetError(f"{where}: holds a {type(entry).__name__}; expected an object with key, source, target")
    for name in ("key", "source", "target"):
        if not isinstance(entry.get(name), str):
            found = "is missing" if name not in entry else f"is {entry[name]!r}, not a string"
            raise DatasetError(f"{where}: {name!r} {found}; expected key, source and target as strings")
    if any("\ud800" <= character <= "\udfff" for name in ("key", "source", "target") for character in entry[name]):
        raise DatasetError(f"{where}: holds half of a surrogate pair (\\ud8..), which is no character; mend the escape")
    # Hypotheses are written as `key text` lines, which a key with white space would break.
    if not entry["key"] or re.search(r"\s", entry["key"]) or not entry["source"]:
        found = f"key {entry['key']!r}, source {entry['source']!r}"
        raise DatasetError(f"{where}: {found}; expected both filled in, and no white space in the key")
    return entry["key"], entry["source"], entry["target"]


def _count_unpaired(audio: set[str], texts: set[str], notes: list[str]) -> None:
    """Note the ids that stand on one side only; they are not part of the set."""
    if silent := sorted(audio - texts):
        notes.append(f"{len(silent)} of {len(audio)} recordings have no transcript: left out (first: {silent[0]})")
    if unheard := sorted(texts - audio):
        notes.append(f"{len(unheard)} of {len(texts)} transcripts have no audio here: left out (first: {unheard[0]})")


def _finish(name: str, kind: str, utterances: tuple[Utterance, ...], notes: list[str], path: Path) -> Dataset:
    if not utterances:
        found = "; ".join(notes) or "its lists hold no line"
        raise DatasetError(f"{path}: no utterance with both audio and transcript ({found}); expected at least one")
    absent = [item for item in utterances if not item.path.is_file()]
    if absent:
        notes.append(
            f"{len(absent)} of {len(utterances)} listed audio files do not exist and count as failed "
            f"(first: {absent[0].utt_id}, looked for at {absent[0].path})"
        )
    return Dataset(name=name, kind=kind, utterances=utterances, notes=tuple(notes))
