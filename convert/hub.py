"""Hub ids: `iic/NAME` on ModelScope, `hf:ORG/NAME` on Hugging Face, FunASR's short names; optionally `@revision`.

Downloads go through mlx_model/files/hub.py. Only data files are fetched: the small ones first, then the weights that
configuration.json names.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from convert.named_files import flat_metas
from convert.names import BY_HUB, MODELSCOPE
from mlx_model.errors import UsageError
from mlx_model.files.hub import HUBS, NAME, Kind, Repository, fetch

# Everything but the weights, which are asked for by name once configuration.json is known.
SMALL_FILES = (
    "configuration.json", "config.yaml", "am.mvn", "tokens.json", "tokens.txt", "seg_dict", "*bpe.model",
    "jieba_usr_dict", "README.md", "*LICEN[CS]E*", "NOTICE*",
)  # fmt: skip
WEIGHT_FILES = ("model.pt", "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
IDENTIFIER = re.compile(rf"(?P<hub>hf:|ms:)?(?P<name>{NAME})(?:@(?P<revision>[\w./-]+))?")
SHORT = re.compile(r"(?P<hub>hf:|ms:)?(?P<name>[\w.+/-]+)(?:@(?P<revision>[\w./-]+))?")
MODEL = Kind(repo_type="model", words="model", error=UsageError)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubReference(Repository):
    """A model on a hub; `short` is FunASR's short name where the user gave one."""

    short: str | None = None

    def described(self) -> str:
        """Return its name for a message, with the revision and the short name that were asked for."""
        return Repository.described(self) + (f" (FunASR's {self.short})" if self.short else "")


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
    fetched = fetch(reference, MODEL, patterns, cached_only=cached_only)
    notes = (f"ModelScope was not reached; {reference.name} is the copy in its local cache",) * fetched.cached
    reference = replace(reference, revision=fetched.commit or reference.revision)
    return Snapshot(directory=fetched.folder, reference=reference, notes=notes)


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
