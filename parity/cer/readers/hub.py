"""Data set ids: `hf:ORG/NAME` on Hugging Face, `ms:ORG/NAME` on ModelScope, with an optional `@REVISION` and `/PART`.

Downloads go through huggingface_hub and modelscope, so their caches, mirrors, tokens and offline switches work as
everywhere else. Only files are fetched; nothing that a repository brings is ever imported or run, and what its lists
say is read as a stranger's word (`Options.trusted`). Must not import convert, which reaches the same hubs for models.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_model.errors import DatasetError, DependencyError
from parity.cer.lists import quoted, shown

_IDENTIFIER = re.compile(
    r"(?P<hub>hf|ms):(?P<name>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w.-]+))?(?:/(?P<part>[\w. /-]+))?(?:#(?P<subset>.*))?"
)
_WHERE = {"hf": "Hugging Face", "ms": "ModelScope"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A data set on a hub; `part` is a folder, a list or a split inside it, `subset` what stood behind a `#`."""

    hub: str
    name: str
    revision: str | None = None
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
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is first imported: no progress bars in a pipe
    folder, note = (_huggingface if reference.hub == "hf" else _modelscope)(reference)
    commit = f" at {folder.name}" if re.fullmatch("[0-9a-f]{40}", folder.name) else ""
    return Snapshot(folder=folder, note=f"{note}: {reference.name}{commit}")


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


def _huggingface(reference: Reference) -> tuple[Path, str]:
    """Fetch from Hugging Face; its library turns to the cache by itself where there is no network."""
    module = _import("huggingface_hub", reference)
    errors = importlib.import_module("huggingface_hub.errors")
    unknown = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)
    unreachable = (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, errors.HFValidationError, OSError)
    try:
        path = module.snapshot_download(reference.name, repo_type="dataset", revision=reference.revision)
    except unknown as error:
        raise _not_there(reference) from error
    except (*unreachable, *_client_errors()) as error:
        raise _not_reached(reference, error) from error
    return Path(path), "from Hugging Face"


def _modelscope(reference: Reference) -> tuple[Path, str]:
    """Fetch from ModelScope; where it cannot be reached, take what its cache has and say so."""
    for name in ("modelscope", "modelscope_hub"):  # the second one since modelscope 1.38
        _import(name, reference)
    module = importlib.import_module("modelscope.hub.snapshot_download")
    logging.getLogger("modelscope_hub").setLevel(logging.ERROR)
    errors = importlib.import_module("modelscope_hub.errors")
    failures = (OSError, ValueError, errors.HubError, *_client_errors())
    options = {"repo_type": "dataset", "revision": reference.revision}
    fetch = functools.partial(module.snapshot_download, reference.name, **options)
    reason: Exception = ConnectionError("offline")
    # ModelScope has no switch of its own.
    if os.environ.get("HF_HUB_OFFLINE", "").lower() not in ("1", "true", "yes", "on"):
        try:
            return Path(fetch()), "from ModelScope"
        except failures as error:
            if isinstance(error, errors.NotExistError) or isinstance(error.__cause__, errors.NotExistError):
                raise _not_there(reference) from error
            reason = error
    try:
        return Path(fetch(local_files_only=True)), "ModelScope was not reached; the copy in its local cache"
    except failures as error:
        raise _not_reached(reference, reason) from error


def _import(name: str, reference: Reference) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DependencyError(f"fetching {reference.name} needs {name}: pip install 'mlx-funasr[hub]'") from error


def _client_errors() -> tuple[type[Exception], ...]:
    """Return the network errors of the HTTP clients in use, which the hubs' packages let through now and then."""
    names = {"httpx": "HTTPError", "httpx2": "HTTPError", "requests": "RequestException"}
    found = [(name, error) for name, error in names.items() if importlib.util.find_spec(name) is not None]
    return tuple(getattr(importlib.import_module(name), error) for name, error in found)


def _describe(reference: Reference) -> str:
    return reference.name + (f" at revision {reference.revision!r}" if reference.revision else "")


def _not_there(reference: Reference) -> DatasetError:
    what = f"{_WHERE[reference.hub]} has no data set {_describe(reference)}"
    return DatasetError(f"{what} (or it is private); check the name and the revision")


def _not_reached(reference: Reference, error: Exception) -> DatasetError:
    where = _WHERE[reference.hub]
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return DatasetError(
        f"{_describe(reference)}: not in the local cache of {where}, and {where} was not reached ({reason}). "
        "Without a network, download it elsewhere and give the folder instead"
    )
