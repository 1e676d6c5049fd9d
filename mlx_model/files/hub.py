"""Repositories on Hugging Face and ModelScope, and their files on this machine: what models and data sets share.

Downloads go through huggingface_hub and modelscope, so their caches, mirrors, tokens and offline switches
(MODELSCOPE_ENDPOINT, HF_ENDPOINT, HF_HUB_OFFLINE, ...) work as everywhere else. Only files are fetched; nothing that a
repository brings is ever imported or run. Both packages are optional, and imported when something is asked of a hub.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_model.errors import DependencyError, MlxFunasrError

HUBS = {"hf": "Hugging Face", "ms": "ModelScope"}
NAME = r"[\w.-]+/[\w.-]+"  # ORG/NAME on either
# What the HTTP clients raise that the hubs' packages let through now and then.
CLIENTS = {
    "httpx": ("HTTPError", "InvalidURL"), "httpx2": ("HTTPError", "InvalidURL"), "requests": ("RequestException",)
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository on a hub; `hub` is "hf" or "ms", `revision` a branch, tag or commit, or None for the default."""

    hub: str
    name: str
    revision: str | None = None

    def described(self) -> str:
        """Return its name for a message, with the revision that was asked for."""
        return self.name + (f" at revision {self.revision!r}" if self.revision else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The folder of a repository's files; `cached` where its hub was not reached and its cache had them."""

    folder: Path
    cached: bool = False

    @property
    def commit(self) -> str | None:
        """The commit, where the cache's layout tells it."""
        found = self.folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", self.folder.name)
        return self.folder.name if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is fetched: the hubs' word for it, ours, and the class of the errors about it."""

    repo_type: str
    words: str
    error: type[MlxFunasrError]


def fetch(
    repository: Repository, kind: Kind, patterns: Sequence[str] | None = None, *, cached_only: bool = False
) -> Fetched:
    """Return the repository's files that the patterns name, None for all, downloaded where the cache lacks them.

    Raises:
        DependencyError: the hub's package is not installed.
        MlxFunasrError: of the kind's class: no such repository or revision, or no network and nothing in the cache.
    """
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is first imported: no progress bars in a pipe
    options: dict[str, Any] = {"revision": repository.revision, "repo_type": kind.repo_type}
    if patterns is not None:
        options["allow_patterns"] = list(patterns)
    if repository.hub == "hf":
        return _huggingface(repository, kind, options)
    return _modelscope(repository, kind, options, cached_only)


def _huggingface(repository: Repository, kind: Kind, options: dict[str, Any]) -> Fetched:
    """Fetch from Hugging Face; its library turns to the cache by itself where there is no network."""
    module = _import("huggingface_hub", repository)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    errors = importlib.import_module("huggingface_hub.errors")
    unknown = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)
    unreachable = (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, errors.HFValidationError, OSError)
    try:
        return Fetched(folder=Path(module.snapshot_download(repository.name, **options)))
    except unknown as error:
        raise _not_there(repository, kind) from error
    except (*unreachable, *client_errors()) as error:
        raise _not_reached(repository, kind, error) from error


def _modelscope(repository: Repository, kind: Kind, options: dict[str, Any], cached_only: bool) -> Fetched:
    """Fetch from ModelScope; where it cannot be reached, take what its cache has and say so."""
    for name in ("modelscope", "modelscope_hub"):  # the second one since modelscope 1.38
        _import(name, repository)
    module = importlib.import_module("modelscope.hub.snapshot_download")
    logging.getLogger("modelscope_hub").setLevel(logging.ERROR)
    errors = importlib.import_module("modelscope_hub.errors")
    failures = (OSError, ValueError, errors.HubError, *client_errors())
    reason: Exception = ConnectionError("offline")
    # ModelScope has no switch of its own.
    if not (cached_only or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")):
        try:
            return Fetched(folder=Path(module.snapshot_download(repository.name, **options)))
        except failures as error:
            if isinstance(error, errors.NotExistError) or isinstance(error.__cause__, errors.NotExistError):
                raise _not_there(repository, kind) from error
            reason = error
    try:
        path = module.snapshot_download(repository.name, local_files_only=True, **options)
    except failures as error:
        raise _not_reached(repository, kind, reason) from error
    return Fetched(folder=Path(path), cached=True)


def _import(name: str, repository: Repository) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DependencyError(f"fetching {repository.name} needs {name}: pip install 'mlx-funasr[hub]'") from error


def client_errors() -> tuple[type[Exception], ...]:
    """Return the errors of the HTTP clients that are installed."""
    found = [(name, words) for name, words in CLIENTS.items() if importlib.util.find_spec(name) is not None]
    return tuple(getattr(importlib.import_module(name), word) for name, words in found for word in words)


def _not_there(repository: Repository, kind: Kind) -> MlxFunasrError:
    what = f"{HUBS[repository.hub]} has no {kind.words} {repository.described()}"
    return kind.error(f"{what} (or it is private); check the name and the revision")


def _not_reached(repository: Repository, kind: Kind, error: Exception) -> MlxFunasrError:
    where = HUBS[repository.hub]
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return kind.error(
        f"{repository.described()} is not in the local cache of {where}, and {where} was not reached ({reason}). "
        "Without a network, download it elsewhere and give the directory instead"
    )
