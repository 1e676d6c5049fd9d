"""Hub ids: `iic/NAME` on ModelScope, `hf:ORG/NAME` on Hugging Face, FunASR's short names; optionally `@revision`.

Downloads go through modelscope and huggingface_hub, so their caches, mirrors, tokens and offline switches
(MODELSCOPE_ENDPOINT, HF_ENDPOINT, HF_HUB_OFFLINE, ...) work as everywhere else. Only data files are fetched; nothing
that a repository brings is ever imported or run.
"""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import json
import logging
import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from convert.named_files import flat_metas
from convert.names import BY_HUB, MODELSCOPE
from mlx_model.errors import DependencyError, UsageError

# Everything but the weights, which are asked for by name once configuration.json is known.
SMALL_FILES = (
    "configuration.json", "config.yaml", "am.mvn", "tokens.json", "tokens.txt", "seg_dict", "*bpe.model",
    "README.md", "*LICEN[CS]E*", "NOTICE*",
)  # fmt: skip
WEIGHT_FILES = ("model.pt", "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
IDENTIFIER = re.compile(r"(?P<hub>hf:|ms:)?(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
SHORT = re.compile(r"(?P<hub>hf:|ms:)?(?P<name>[\w.+/-]+)(?:@(?P<revision>[\w./-]+))?")
HUBS = {"hf": "Hugging Face", "ms": "ModelScope"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HubReference:
    """A repository on a hub; `hub` is "hf" or "ms", `revision` a branch, tag or commit, or None for the default.

    `short` is FunASR's short name where the user gave one.
    """

    hub: str
    name: str
    revision: str | None
    short: str | None = None


def parse(text: str, revision: str | None = None) -> HubReference | None:
    """Return the repository that `text` names, None where it cannot be a hub id.

    A short name of FunASR's stands for the repository that FunASR 1.4.16 takes it for, at the revision it asks for.

    Raises:
        UsageError: an id with two revisions.
    """
    match = SHORT.fullmatch(text)
    hub = "ms" if match is None or match["hub"] is None else match["hub"][:2]
    short = match["name"] if match is not None and match["name"] in BY_HUB[hub] else None
    if short is None:
        match = IDENTIFIER.fullmatch(text)
    if match is None or ".." in text:
        return None
    first = match["name"].split("/")[0]
    if short is None and match["hub"] is None and (first.startswith(".") or Path(first).is_dir()):
        return None  # a mistyped path, not a question for the network
    if revision is not None and match["revision"] is not None and revision != match["revision"]:
        raise UsageError(f"{text} names revision {match['revision']!r}, the option {revision!r}; give one of them")
    revision = revision or match["revision"]
    if short is None:
        return HubReference(hub=hub, name=match["name"], revision=revision)
    default = "master" if hub == "ms" else None  # what FunASR asks for
    return HubReference(hub=hub, name=BY_HUB[hub][short], revision=revision or default, short=short)


def no_id(text: str) -> str:
    """Return why `text` is no hub id, with FunASR's short name that is nearest."""
    near = difflib.get_close_matches(text.removeprefix("hf:").removeprefix("ms:"), MODELSCOPE, n=1, cutoff=0.7)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"not a hub id (iic/NAME on ModelScope, hf:ORG/NAME, or a short name of FunASR's, as paraformer-zh){hint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A repository's files on this machine; `reference` names the commit where the cache's layout tells it."""

    directory: Path
    reference: HubReference
    notes: tuple[str, ...] = ()


def download(reference: HubReference, extra: tuple[str, ...] | None = ()) -> Snapshot:
    """Return the repository's files, downloaded where the cache lacks them.

    Args:
        reference: which repository.
        extra: further files that are wanted, by name; None: no weights, only what stands beside them.

    Raises:
        DependencyError: the hub's package is not installed.
        UsageError: no such repository or revision, or no network and nothing in the cache.
    """
    found = download_files(reference, SMALL_FILES)
    named = _named_files(found.directory, weights=extra is not None)
    if more := (*named, *filter(_is_plain, extra or ())):
        found = download_files(found.reference, more, cached_only=bool(found.notes))
    if reference.short is not None:
        note = f"{reference.short} is FunASR's short name for {reference.name} on {HUBS[reference.hub]}"
        revision = f", revision {found.reference.revision}" if found.reference.revision else ""
        found = replace(found, notes=(f"{note}{revision}", *found.notes))
    return found


def download_files(reference: HubReference, patterns: tuple[str, ...], *, cached_only: bool = False) -> Snapshot:
    """Return those files of a repository that the patterns name; errors as `download`'s."""
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is first imported: no progress bars in a pipe
    return (_huggingface if reference.hub == "hf" else _modelscope)(reference, patterns, cached_only)


def _snapshot(directory: Path, reference: HubReference, *notes: str) -> Snapshot:
    if directory.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", directory.name):
        reference = replace(reference, revision=directory.name)
    return Snapshot(directory=directory, reference=reference, notes=notes)


def _named_files(directory: Path, *, weights: bool) -> tuple[str, ...]:
    """Return patterns for the weights, and for files that configuration.json calls by other names."""
    usual = WEIGHT_FILES if weights else ()
    try:
        document = json.loads((directory / "configuration.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return usual  # sources.py says what is wrong with it
    metas = flat_metas(document) if isinstance(document, dict) else {}
    named = metas.get("init_param")
    wanted = [
        name for key, name in metas.items()
        if _is_plain(name) and (weights or key != "init_param")
        and not any(fnmatch.fnmatch(name, pattern) for pattern in SMALL_FILES)
    ]  # fmt: skip
    return tuple(dict.fromkeys(wanted)) if _is_plain(named) else (*usual, *wanted)


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
    what = reference.name + (f" at revision {reference.revision!r}" if reference.revision else "")
    return what + (f" (FunASR's {reference.short})" if reference.short else ""), HUBS[reference.hub]


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
