"""The last step of every reader: audio that is not where the list says is looked for, what is absent is counted.

Stdlib and mlx_model.errors only; no audio is opened here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mlx_model.errors import DatasetError
from parity.cer.lists import quoted, shown
from parity.cer.readers.places import also_tried, found_elsewhere
from parity.cer.readers.testset import Dataset, Utterance


def finish(
    name: str, kind: str, utterances: Iterable[Utterance], notes: list[str], path: Path, *, trusted: bool = True
) -> Dataset:
    """Return the set, with a note where listed audio stands elsewhere or does not exist.

    Args:
        name, kind, utterances: of the set.
        notes: what is to be said of it so far.
        path: the list, or the folder that its paths start at.
        trusted: its user wrote it, so that its paths may also start at another folder.

    Raises:
        DatasetError: no utterance is left, or an id stands twice.
    """
    utterances = list(utterances)
    if not utterances:
        found = "; ".join(notes) or "its lists hold no line"
        raise DatasetError(
            f"{shown(path)}: no utterance with both audio and transcript ({found}); expected at least one"
        )
    folder = path if os.path.isdir(path) else path.parent
    if trusted:
        utterances = found_elsewhere(utterances, folder, notes)
    exists: dict[Path, bool] = {}
    absent: list[Utterance] = []
    for item in utterances:
        if item.path not in exists:
            exists[item.path] = os.path.isfile(item.path)
        if not exists[item.path]:
            absent.append(item)
    if absent:
        first = absent[0]
        # Where some are there, it is not the folder that is wrong.
        hint = also_tried(first.path, folder) if trusted and len(absent) == len(utterances) else ""
        notes.append(
            f"{len(absent)} of {len(utterances)} listed audio files do not exist and count as failed "
            f"(first: {shown(first.utt_id)}, looked for at {shown_path(first.path)}{hint})"
        )
    return Dataset(
        name=shown(name),
        kind=kind,
        utterances=tuple(utterances),
        notes=tuple(notes),
    )


def shown_path(path: Path) -> str:
    """Return the path for a message, shortened where a list holds a line of a million characters."""
    text = shown(path)
    return text if len(text) <= 1000 else quoted(text, 200)
