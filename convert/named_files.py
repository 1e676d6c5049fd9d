"""Files that a model's configuration names: where FunASR would take am.mvn, the vocabulary and the rest from.

configuration.json's names stay inside the directory. config.yaml of a trainer names files by absolute paths, those of
the model that training began with: such a path is followed for a local directory, never for a download; a path with
`..` never. What is not there comes from `--base`. Imports neither torch nor mlx.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_model.errors import AssetError, CheckpointError, ConfigError
from mlx_model.files.funasr_directory import CONFIGURATION

# Old configuration.json files (ModelScope, 2022) name the files inside model.model_config.
OLD_METAS = {
    "am_model_name": "init_param", "am_model_config": "config", "mvn_file": "cmvn_file",
    "vad_model_name": "init_param", "vad_model_config": "config", "vad_mvn_file": "cmvn_file",
    "punc_model_name": "init_param", "punc_model_config": "config",
    "sv_model_name": "init_param", "sv_model_config": "config",
}  # fmt: skip
# The same files by their usual names, for a directory that has no configuration.json either.
OLD_NAMES = {"config": "vad.yaml", "init_param": "vad.pb", "cmvn_file": "vad.mvn"}
SIZE_LIMIT = 32_000_000  # bytes of a file that lies elsewhere; the largest vocabulary has 3 MB
BASE_HINT = "give the model that training began with: --base MODEL_DIR|HUB_ID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Where missing files come from: what `--base` named, and its files."""

    named: str
    files: dict[str, Path | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A model directory that is being read. `local`: the user's own, so that absolute paths may be followed."""

    directory: Path
    metas: dict[str, Any]
    raw: dict[str, Any]
    local: bool
    base: Base | None = None
    notes: list[str] = field(default_factory=list)


def flat_metas(document: dict[str, Any]) -> dict[str, Any]:
    """Return the file names of configuration.json by FunASR's key, flattened; empty where it names none."""
    flat: dict[str, Any] = {}
    metas = document.get("file_path_metas")
    for key, value in (metas if isinstance(metas, dict) else {}).items():
        flat.update(value if isinstance(value, dict) else {key: value})
    model = document.get("model")
    old = model.get("model_config", model) if isinstance(model, dict) else {}
    for key, modern in OLD_METAS.items():
        if isinstance(old, dict) and isinstance(old.get(key), str):
            flat.setdefault(modern, old[key])
    return flat


def follow(
    directory: Path, value: Any, key: str, error: type[ConfigError | CheckpointError | AssetError]
) -> Path | None:
    """Return the file that a configuration names, None where it names none; refuse whatever leaves the directory."""
    if value is None:
        return None
    if not isinstance(value, str) or not value or "\0" in value or len(value) > 4096:
        raise error(f"{directory}: {key} is {str(value)[:80]!r}, expected a file name")
    relative = os.path.normpath(value)
    if os.path.isabs(value) or relative.split(os.sep)[0] == ".." or relative == ".":
        raise error(
            f"{directory}: {key} names {value!r}, outside the model directory; copy the file in and name it there"
        )
    path = directory / relative
    if not stays_inside(path, directory) and relative != Path(relative).name:
        raise error(
            f"{directory}: {key} names {value!r}, a link that leaves the model directory; copy the file in instead"
        )
    return path


def stays_inside(path: Path, directory: Path) -> bool:
    """Return whether `path`, links followed, lies in `directory` (or in the blob store of a Hugging Face snapshot)."""
    real, root = path.resolve(), directory.resolve()
    blobs = root.parent.parent / "blobs" if root.parent.name == "snapshots" else root
    return real.is_relative_to(root) or real.is_relative_to(blobs)


def find(folder: Folder, key: str, usual: tuple[str, ...], *, required: bool = True) -> Path | None:
    """Return the file for `key`; None where nothing names one and none of the `usual` names is there.

    In this order: named by configuration.json, under a usual name, named by config.yaml, from `--base`.

    Raises:
        AssetError: one is named and is nowhere to be found, or a name leads where it may not.
    """
    named = follow(folder.directory, folder.metas.get(key), key, AssetError)
    if named is not None and named.is_file():
        return named
    values = _values(folder.raw, key)
    for name in usual if named is None else ():
        if (folder.directory / name).is_file():
            # A fine-tuned model's config.yaml still names the files of the machine it was trained on.
            folder.notes.extend(
                f"config.yaml names {key} {value!r}; not followed, {name} beside it was used"
                for value in values if value != name and Path(value) != folder.directory / name
            )  # fmt: skip
            return folder.directory / name
    for value in values:
        if path := _by_config(folder, key, value):
            return path
    if folder.base is not None and (path := folder.base.files.get(key)) is not None:
        folder.notes.append(f"{key}: {path.name} of {folder.base.named} (--base)")
        return path
    if required and (named is not None or values):
        raise AssetError(_nowhere(folder, key, named, values))
    return None


def _values(raw: dict[str, Any], key: str) -> list[str]:
    sections = (raw, raw.get("tokenizer_conf"), raw.get("frontend_conf"))
    return [section[key] for section in sections if isinstance(section, dict) and isinstance(section.get(key), str)]


def _by_config(folder: Folder, key: str, value: str) -> Path | None:
    """Return the file that config.yaml names, None where it is not there."""
    directory = folder.directory
    inside = os.path.isabs(value) and Path(os.path.normpath(value)).is_relative_to(directory.absolute())
    if inside:
        value = os.path.relpath(value, directory.absolute())
    if not os.path.isabs(value):
        path = follow(directory, value, key, AssetError)
        return path if path is not None and path.is_file() else None
    if not folder.local or ".." in Path(value).parts or "\0" in value:
        raise AssetError(
            f"{directory}: {key} names {value!r}, outside the model directory; copy the file in and name it there"
        )
    path = Path(value)
    if not _is_expected(path, key):
        return None
    folder.notes.append(f"{key}: {path}, which config.yaml names; it is not in the model directory")
    return path


def _is_expected(path: Path, key: str) -> bool:
    """Return whether a file elsewhere is there; raise where it is not of the kind that the key means."""
    try:
        if not path.exists():
            return False
        if not path.is_file() or path.stat().st_size > SIZE_LIMIT:
            raise AssetError(f"config.yaml names {key} {str(path)!r}, which is no file of that kind (at most "
                             f"{SIZE_LIMIT} bytes)")  # fmt: skip
        with path.open("rb") as stream:
            head = stream.read(64).lstrip()
    except (OSError, ValueError) as error:
        raise AssetError(f"config.yaml names {key} {str(path)!r}, which cannot be read ({error})") from error
    kinds = {"cmvn_file": head.startswith(b"<Nnet>"), "token_list": head.startswith(b"[") or path.name == "tokens.txt"}
    if not kinds.get(key, True):
        raise AssetError(f"config.yaml names {key} {str(path)!r}, outside the model directory, which is no such file "
                         f"(it begins with {head[:12]!r}); copy the right one in")  # fmt: skip
    return True


def _nowhere(folder: Folder, key: str, named: Path | None, values: list[str]) -> str:
    looked = [] if named is None else [f"{CONFIGURATION} names {key} {named.name!r}"]
    looked += [f"config.yaml names {key} {value!r}" for value in values]
    missing = f"which is not in {folder.directory}" if not any(map(os.path.isabs, values)) else (
        f"which is not there, and {folder.directory} has none")  # fmt: skip
    tried = f"; {folder.base.named} (--base) has none either" if folder.base else f"; copy it in, or {BASE_HINT}"
    return f"{', '.join(looked)}, {missing}{tried}"
