"""AISHELL-2: folders with wav.scp (`ID<tab>wav/SPEAKER/ID.wav`), trans.txt (`ID<tab>text`) and wav/.

Stdlib only. The corpus is iOS/data; the development and test sets are {iOS,Android,Mic}/{dev,test}. Their ids begin
with I, A and M, so that several parts can be read as one set; `condition` says which part an utterance is of.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from parity.cer.lists import merge_repeated, read_id_lines, shown
from parity.cer.readers.finishing import finish
from parity.cer.readers.kaldi import scp_audio
from parity.cer.readers.testset import Dataset, Options, Utterance, count_unpaired

_CHANNELS = ("iOS", "IOS", "Android", "Mic")
_SPLITS = ("data", "train", "dev", "test")
_PARTS = (".", *_SPLITS, *(f"{channel}/{split}" for channel in _CHANNELS for split in _SPLITS))
_ROOTS = (".", "AISHELL-2", "AISHELL-DEV-TEST-SET", "AISHELL2-DEV-TEST-SET")


def find(path: Path) -> list[Path]:
    """Return [folder] where it holds wav.scp and trans.txt, itself or in its parts, or where the file is one of them.

    A folder with Kaldi's `text` is a Kaldi data directory, whatever else lies in it.
    """
    if os.path.isfile(path):
        return [path.parent] if path.name in ("wav.scp", "trans.txt") and _is_part(path.parent) else []
    return [path] if parts(path) else []


def _is_part(folder: Path) -> bool:
    present = [os.path.isfile(folder / name) for name in ("wav.scp", "trans.txt", "text")]
    return present == [True, True, False]


def parts(path: Path) -> dict[str, Path]:
    """Return {part as seen from `path`: folder} of every folder below that holds a wav.scp and a trans.txt."""
    found: dict[str, Path] = {}
    seen: set[tuple[int, int]] = set()
    for name in dict.fromkeys(os.path.normpath(f"{root}/{part}") for root in _ROOTS for part in _PARTS):
        folder = path if name == "." else path / name
        if not _is_part(folder):
            continue
        state = os.stat(folder)  # iOS and IOS are one folder on a disk that ignores case
        if (state.st_dev, state.st_ino) not in seen:
            seen.add((state.st_dev, state.st_ino))
            found[name] = folder
    return found


def read(path: Path, options: Options) -> Dataset:
    """Return every part at or below `path` as one set; `speaker` is the folder that holds the recording."""
    notes = list(options.notes)
    utterances: list[Utterance] = []
    for name, folder in parts(path).items():
        utterances += _read_part(folder, "/".join(folder.parts[-2:]) if name == "." else name, options, notes)
    counts = Counter(item.condition for item in utterances)
    if len(counts) > 1:
        notes.append("utterances: " + ", ".join(f"{part} {count}" for part, count in counts.items()))
    return finish(path.name, "aishell2", utterances, notes, path, trusted=options.trusted)


def _read_part(folder: Path, condition: str, options: Options, notes: list[str]) -> list[Utterance]:
    sources = merge_repeated(read_id_lines(folder / "wav.scp"), notes)
    texts = merge_repeated(read_id_lines(folder / "trans.txt"), notes)
    count_unpaired(set(sources), set(texts), notes)
    found = []
    for utt_id, line in sources.items():
        if utt_id not in texts:
            continue
        audio, command = scp_audio(line, folder, options)
        speaker = None if command or audio.parent.name in ("", "wav") else audio.parent.name
        found.append(
            Utterance(
                utt_id=utt_id,
                path=audio,
                text=texts[utt_id].rest,
                speaker=speaker,
                condition=shown(condition),
                command=command,
            )
        )
    return found
