"""Hub ids: `iic/NAME` on ModelScope, `hf:ORG/NAME` on Hugging Face, both with an optional `@revision`.

Downloads go through modelscope and huggingface_hub, so their caches, mirrors, tokens and offline switches
(MODELSCOPE_ENDPOINT, HF_ENDPOINT, HF_HUB_OFFLINE, ...) work as everywhere else. Only data files are fetched; nothing
that a repository brings is ever imported or run.
"""

from __future__ import annotations

import fnmatch
import importlib
import json
import logging
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mlx_model.errors import DependencyError, UsageError

# Everything but the weights, which are asked for by name once configuration.json is known.
SMALL_FILES = (
    "configuration.json", "config.yaml", "am.mvn", "tokens.json", "tokens.txt", "seg_dict", "*bpe.model",
    "README.md", "*LICEN[CS]E*", "NOTICE*",
)  # fmt: skip
WEIGHT_FILES = ("model.pt", "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
IDENTIFIER = re.compile(r"(?P<hub>hf:|ms:)?(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
# FunASR's own short names mean different models on the two hubs, so they are explained rather than guessed.
ALIASES = ("paraformer", "paraformer-zh", "paraformer-en", "paraformer-zh-streaming", "fsmn-vad", "ct-punc", "cam++")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubReference:
    """A repository on a hub; `hub` is "hf" or "ms", `revision` a branch, tag or commit, or None for the default."""

    hub: str
    name: str
    revision: str | None


def parse(text: str, revision: str | None = None) -> HubReference | None:
    """Return the repository that `text` names, None where it cannot be a hub id.

    Raises:
        UsageError: an alias, an id with two revisions, or what is rather a mistyped path.
    """
    if text in ALIASES:
        raise UsageError(
            f"{text!r} is an alias whose model depends on the hub; name the repository, e.g. "
            "iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-pytorch or hf:funasr/paraformer-zh"
        )
    match = IDENTIFIER.fullmatch(text)
    if match is None or ".." in text:
        return None
    first = match["name"].split("/")[0]
    if match["hub"] is None and (first.startswith(".") or Path(first).is_dir()):
        return None  # a mistyped path, not a question for the network
    if revision is not None and match["revision"] is not None and revision != match["revision"]:
        raise UsageError(f"{text} names revision {match['revision']!r}, the option {revision!r}; give one of them")
    hub = "hf" if match["hub"] == "hf:" else "ms"
    return HubReference(hub=hub, name=match["name"], revision=revision or match["revision"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A repository's files on this machine; `reference` names the commit where the cache's layout tells it."""

    directory: Path
    reference: HubReference
    notes: tuple[str, ...] = ()


def download(reference: HubReference) -> Snapshot:
    """Return the repository's files, downloaded where the cache lacks them.

    Raises:
        DependencyError: the hub's package is not installed.
        UsageError: no such repository or revision, or no network and nothing in the cache.
    """
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is first imported: no progress bars in a pipe
    fetch = _huggingface if reference.hub == "hf" else _modelscope
    found = fetch(reference, SMALL_FILES, False)
    named = _named_files(found.directory)
    return found if not named else fetch(found.reference, named, bool(found.notes))


def download_files(reference: HubReference, patterns: tuple[str, ...]) -> Snapshot:
    """Return those files of a repository that the patterns name, as of a conversion; errors as `download`'s."""
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # as in `download`
    return (_huggingface if reference.hub == "hf" else _modelscope)(reference, patterns, False)


def _snapshot(directory: Path, reference: HubReference, *notes: str) -> Snapshot:
    if directory.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", directory.name):
        reference = HubReference(hub=reference.hub, name=reference.name, revision=directory.name)
    return Snapshot(directory=directory, reference=reference, notes=notes)


def _named_files(directory: Path) -> tuple[str, ...]:
    """Return patterns for the weights, and for files that configuration.json calls by other names."""
    try:
        document = json.loads((directory / "configuration.json").read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        return WEIGHT_FILES  # sources.py says what is wrong with it
    metas = document.get("file_path_metas") if isinstance(document, dict) else None
    metas = metas if isinstance(metas, dict) else {}
    named: list[str] = []
    for value in metas.values():
        named += [item for item in (value.values() if isinstance(value, dict) else [value]) if _is_plain(item)]
    weights = metas.get("init_param")
    wanted = [name for name in named if not any(fnmatch.fnmatch(name, pattern) for pattern in SMALL_FILES)]
    return tuple(dict.fromkeys(wanted)) if _is_plain(weights) else (*WEIGHT_FILES, *wanted)


def _is_plain(name: Any) -> bool:
    if not isinstance(name, str) or not name or set(name) & set("*?[\0\\"):
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _huggingface(reference: HubReference, patterns: tuple[str, ...], _cached_only: bool) -> Snapshot:
    """Fetch from Hugging Face; its library turns to the cache by itself where there is no network."""
    module = _import("huggingface_hub", reference)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    errors = importlib.import_module("huggingface_hub.errors")
    unknown = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)
    unreachable = (
        errors.HfHubHTTPError,
        errors.LocalEntryNotFoundError,
        errors.HFValidationError,
        *client_errors(),
        OSError,
    )
    try:
        path = module.snapshot_download(reference.name, revision=reference.revision, allow_patterns=list(patterns))
    except unknown as error:
        raise _not_there(reference) from error
    except unreachable as error:
        raise _not_reached(reference, error) from error
    return _snapshot(Path(path), reference)


def _modelscope(reference: HubReference, patterns: tuple[str, ...], cached_only: bool) -> Snapshot:
    """Fetch from ModelScope; where it cannot be reached, take what its cache has and say so."""
    for name in ("modelscope", "modelscope_hub"):  # the second one since modelscope 1.38
        _import(name, reference)
    logging.getLogger("modelscope_hub").setLevel(logging.ERROR)
    module = importlib.import_module("modelscope.hub.snapshot_download")
    errors = importlib.import_module("modelscope_hub.errors")
    options: dict[str, Any] = {"revision": reference.revision, "allow_patterns": list(patterns)}
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in (
        "1",
        "true",
        "yes",
        "on",
    )  # ModelScope has no switch of its own
    if not (cached_only or offline):
        try:
            return _snapshot(Path(module.snapshot_download(reference.name, **options)), reference)
        except (OSError, ValueError, errors.HubError) as error:
            if isinstance(error, errors.NotExistError) or isinstance(error.__cause__, errors.NotExistError):
                raise _not_there(reference) from error
            reason: Exception = error
    else:
        reason = ConnectionError("offline")
    try:
        path = module.snapshot_download(reference.name, local_files_only=True, **options)
    except (OSError, ValueError, errors.HubError) as error:
        raise _not_reached(reference, reason) from error
    return _snapshot(
        Path(path), reference, f"ModelScope was not reached; {reference.name} is the copy in its local cache"
    )


def _import(name: str, reference: HubReference) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DependencyError(f"fetching {reference.name} needs {name}: pip install 'mlx-funasr[hub]'") from error


def client_errors() -> tuple[type[Exception], ...]:
    """Return what huggingface_hub lets through of the HTTP client beneath it: requests, httpx or httpx2, by version."""
    bases = importlib.import_module("huggingface_hub.errors").HfHubHTTPError.__bases__
    client = sys.modules[bases[0].__module__.partition(".")[0]]
    return (*bases, *filter(None, [getattr(client, "InvalidURL", None)]))


def _describe(reference: HubReference) -> tuple[str, str]:
    where = "Hugging Face" if reference.hub == "hf" else "ModelScope"
    return reference.name + (f" at revision {reference.revision!r}" if reference.revision else ""), where


def _not_there(reference: HubReference) -> UsageError:
    what, where = _describe(reference)
    return UsageError(f"{where} has no model {what} (or it is private); check the name and the revision")


def _not_reached(reference: HubReference, error: Exception) -> UsageError:
    what, where = _describe(reference)
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return UsageError(
        f"{what} is not in the local cache of {where}, and {where} was not reached ({reason}). Without a network, "
        "download it elsewhere and give the directory instead"
    )
