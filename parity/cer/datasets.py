"""Test sets on disk or on a hub -> `Dataset`; the kinds that can be read are the table in parity/cer/readers.

Stdlib and mlx_model.errors only; no audio is opened here. What a list leaves out, repeats or names in vain is counted
in `Dataset.notes`, never silent. Audio that is listed but absent keeps its utterance, which then counts as deletions.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mlx_model.errors import DatasetError, UsageError
from parity.cer.lists import quoted, shown
from parity.cer.readers import KINDS, Kind, expected, hub
from parity.cer.readers.testset import Dataset, Options, Utterance

__all__ = ["Dataset", "Utterance", "fingerprint", "read_dataset"]


def read_dataset(path: str | os.PathLike[str], *, allow_pipes: bool = False, kind: str | None = None) -> Dataset:
    """Return the test set at `path`: a folder, a list file, or `hf:ORG/NAME[/PART]`, `ms:ORG/NAME[/PART]`.

    A folder that is several kinds at once is read as the first of them in the table; the notes say so, and the path of
    a list picks that list. `FILE#SUBSET` chooses a subset of WenetSpeech. Relative paths in lists are taken from the
    list's own folder and may not climb out of it; absolute ones are for lists on this machine only.

    Args:
        path: as above.
        allow_pipes: keep the commands of a wav.scp, to be run when the audio is needed; else they are refused.
        kind: a name in the table, to be read as nothing else.

    Raises:
        DatasetError: nothing of these kinds is there, a list cannot be read or contradicts itself, or the set is empty.
        DependencyError: a hub's package is not installed.
        UsageError: no kind is called `kind`.
    """
    kinds = KINDS if kind is None else [_find_kind(kind)]
    text = os.fspath(path)
    reference = None if os.path.exists(text) else hub.parse(text)
    if reference is None:
        place, part = _split_part(text)
        return _read(Path(os.path.abspath(place)), kinds, Options(allow_pipes=allow_pipes, part=part))
    snapshot = hub.download(reference)
    options = Options(trusted=False, part=reference.subset, notes=(snapshot.note,))
    inside = hub.place(reference, snapshot.folder)
    if not any(item.find(inside) for item in kinds):
        raise DatasetError(f"{text}: no test set of a known kind; {hub.contents(snapshot.folder)}")
    return replace(_read(inside, kinds, options), name=text)


def _find_kind(name: str) -> Kind:
    names = [kind.name for kind in KINDS]
    if name in names:
        return KINDS[names.index(name)]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"no kind of test set is called {quoted(name)}{hint} (there are: {', '.join(names)})")


def _split_part(text: str) -> tuple[str, str | None]:
    """Return the path and what stands behind its `#`, unless the path exists as it is."""
    place, mark, part = text.rpartition("#")
    return (text, None) if not mark or not place or os.path.exists(text) else (place, part)


def _read(path: Path, kinds: Sequence[Kind], options: Options) -> Dataset:
    if not os.path.exists(path):
        raise DatasetError(f"{shown(path)}: no such file or folder; expected {expected()}")
    found = {kind.name: kind.find(path) for kind in kinds}
    chosen = next((kind for kind in kinds if found[kind.name]), None)
    if chosen is None:
        only = kinds[0] if len(kinds) == 1 else None
        if only is None or not only.one_file or not os.path.isfile(path):
            what = "holds no test set" if os.path.isdir(path) else "not a list of a known kind"
            layouts = expected() if only is None else f"{only.title} ({only.layout})"
            raise DatasetError(f"{shown(path)}: {what}; expected {layouts}")
        chosen, found = only, {only.name: [path]}  # told what it is: its name need not say so
    places = found.pop(chosen.name)
    if len(places) > 1:
        names = ", ".join(shown(item.name) for item in places)
        raise DatasetError(
            f"{shown(path)}: {len(places)} {chosen.name} lists ({names}); give the path of the one to read"
        )
    if options.part is not None and not chosen.has_parts:
        raise DatasetError(f"{shown(path)}: {chosen.title} has no subsets; leave out {quoted('#' + options.part)}")
    others = {item: None for items in found.values() for item in items if item != places[0]}
    if os.path.isdir(path) and others:
        names = ", ".join(shown(os.path.relpath(item, path)) for item in others)
        note = f"read as {chosen.title}; the folder also holds {names}: give that file's path to read it instead"
        options = replace(options, notes=(*options.notes, note))
    return chosen.read(places[0], options)


def fingerprint(dataset: Dataset) -> str:
    """Return a sha256 (hex) of what a run depends on: kind, ids, texts, which part of which file, its size and mtime.

    It sees an utterance added, removed, moved, renamed or re-worded, a segment shifted, audio replaced by a file of
    another size or date, audio that appears or vanishes. It does not see audio rewritten in place with its size and
    date kept (no audio is read, so that 100,000 utterances take seconds), nor where the set lies: a folder moved or
    copied with its dates (`mv`, `rsync -a`) keeps its fingerprint. Speakers, conditions and durations are not part of
    it, because no hypothesis depends on them.
    """
    digest = hashlib.sha256(f"dataset/1 {dataset.kind}\n".encode())
    states: dict[Path, tuple[int, int] | None] = {}
    for item in dataset.utterances:
        if item.path not in states:
            states[item.path] = _state(item.path)
        part = [item.start_s, item.end_s, item.channel, item.member, item.command]
        entry = [item.utt_id, item.text, item.path.name, states[item.path], part]
        digest.update(json.dumps(entry).encode() + b"\n")  # JSON: no two different entries look alike
    return digest.hexdigest()


def _state(path: Path) -> tuple[int, int] | None:
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return state.st_size, state.st_mtime_ns
