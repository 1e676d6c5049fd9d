"""Data set ids: `hf:ORG/NAME` on Hugging Face, `ms:ORG/NAME` on ModelScope, with an optional `@REVISION` and `/PART`.

Downloads go through mlx_model/files/hub.py. What a repository's lists say is read as a stranger's word
(`Options.trusted`).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from mlx_model.errors import DatasetError
from mlx_model.files.hub import HUBS, NAME, Kind, Repository, fetch
from parity.cer.lists import quoted, shown

_IDENTIFIER = re.compile(
    rf"(?P<hub>hf|ms):(?P<name>{NAME}?)(?:@(?P<revision>[\w.-]+))?(?:/(?P<part>[\w. /-]+))?(?:#(?P<subset>.*))?"
)
_DATASET = Kind(repo_type="dataset", words="data set", error=DatasetError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference(Repository):
    """A data set on a hub; `part` is a folder, a list or a split inside it, `subset` what stood behind a `#`."""

    part: str | None = None
    subset: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The files of a repository on this machine."""

    folder: Path
    note: str


def parse(text: str) -> Reference | None:
    """Return the data set that `text` names; None where it has no `hf:` or `ms:` before it.

    Raises:
        DatasetError: it has one, but what follows is no id.
    """
    if not text.startswith(("hf:", "ms:")):
        return None
    match = _IDENTIFIER.fullmatch(text)
    if match is None or ".." in text:
        raise DatasetError(f"{quoted(text)}: no data set id; expected hf:ORG/NAME or ms:ORG/NAME, with /PART at most")
    return Reference(**match.groupdict())


def download(reference: Reference) -> Snapshot:
    """Return the repository's files, downloaded where the cache lacks them.

    Raises:
        DependencyError: the hub's package is not installed.
        DatasetError: no such repository, or the hub was not reached and the cache does not have it.
    """
    fetched = fetch(reference, _DATASET)
    hub = HUBS[reference.hub]
    note = f"{hub} was not reached; the copy in its local cache" if fetched.cached else f"from {hub}"
    commit = f" at {fetched.commit}" if fetched.commit else ""
    return Snapshot(folder=fetched.folder, note=f"{note}: {reference.name}{commit}")


def place(reference: Reference, folder: Path) -> Path:
    """Return the folder or list that the id means: the whole, a folder of that name, or a list called after a split.

    Raises:
        DatasetError: the repository holds nothing of that name, or several lists.
    """
    if reference.part is None:
        return folder
    for inside in (folder, folder / "data"):
        if os.path.exists(inside / reference.part):
            return inside / reference.part
        lists = [inside / f"{reference.part}.{suffix}" for suffix in ("jsonl", "tsv", "csv", "list", "json")]
        found = [path for path in lists if os.path.isfile(path)]
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise DatasetError(f"{reference.name}: {names} are all called {reference.part}; give the whole name")
        if found:
            return found[0]
    raise DatasetError(f"{reference.name}: holds no {quoted(reference.part)}; {contents(folder)}")


def contents(folder: Path) -> str:
    """Return what the repository holds, for a message: its reader cannot look."""
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    tables = any(folder.glob("**/*.parquet"))
    hint = "; its audio lies inside parquet tables: write it to files first" if tables else ""
    return f"it holds {', '.join(shown(name) for name in names[:20]) or 'nothing'}{more}{hint}"
