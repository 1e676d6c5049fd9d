"""LibriSpeech and what copies its layout: SPLIT/SPEAKER/CHAPTER/ID.flac beside SPEAKER-CHAPTER.trans.txt.

Stdlib only. Recordings and transcripts are paired by id, as in an AISHELL tree: what stands on one side only is left
out and counted.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mlx_model.errors import DatasetError
from parity.cer.lists import merge_repeated, read_id_lines, shown
from parity.cer.readers.aishell import audio_by_stem
from parity.cer.readers.finishing import finish
from parity.cer.readers.testset import Dataset, Options, Utterance, count_unpaired

# A chapter, a speaker, a split, the whole corpus. Speakers and chapters are numbers.
_PLACES = ("", "[0-9]*/", "[0-9]*/[0-9]*/", "*/[0-9]*/[0-9]*/")


def find(path: Path) -> list[Path]:
    """Return [path] where it is a corpus, a split, a speaker or a chapter."""
    return [path] if os.path.isdir(path) and next(_transcripts(path), None) else []


def _transcripts(path: Path) -> Iterator[Path]:
    for place in _PLACES:
        yield from sorted(item for item in path.glob(f"{place}*.trans.txt") if os.path.isfile(item))


def read(path: Path, options: Options) -> Dataset:
    """Return every chapter at or below `path`; `condition` is the split, `speaker` the speaker's number."""
    notes = list(options.notes)
    files = list(_transcripts(path))
    if not files:
        raise DatasetError(f"{shown(path)}: no *.trans.txt; expected SPLIT/SPEAKER/CHAPTER/*.trans.txt")
    texts = merge_repeated([line for file in files for line in read_id_lines(file)], notes)
    audio: dict[str, Path] = {}
    for folder in dict.fromkeys(file.parent for file in files):
        for stem, file in audio_by_stem(folder, notes).items():
            if audio.setdefault(stem, file) is not file:
                other = shown(audio[stem])
                raise DatasetError(f"{shown(file)}: another file has this id, {other}; read one split at a time")
    count_unpaired(set(audio), set(texts), notes)
    utterances = [
        Utterance(
            utt_id=utt_id,
            path=file,
            text=texts[utt_id].rest,
            speaker=shown(file.parent.parent.name) or None,
            condition=shown(file.parent.parent.parent.name) or None,
        )
        for utt_id, file in audio.items()
        if utt_id in texts
    ]
    counts = Counter(item.condition or "" for item in utterances)
    if len(counts) > 1:
        notes.append("utterances: " + ", ".join(f"{split} {count}" for split, count in sorted(counts.items())))
    return finish(path.name, "librispeech", utterances, notes, path)
