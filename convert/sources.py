"""Which files a source consists of: a model directory, a weight file beside its config, or a hub id (hub.py).

Follows configuration.json's `file_path_metas` as FunASR does, but never outside the model directory. Imports neither
torch nor mlx.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convert.output import is_conversion
from convert.yaml_file import load_yaml, read_text
from mlx_model.errors import AssetError, CheckpointError, ConfigError, UsageError

CONFIGURATION = "configuration.json"
CONFIG = "config.yaml"
WEIGHTS = ("model.pt", "model.safetensors", "model.safetensors.index.json", "model.pb", "model.pth")
WEIGHT_SUFFIXES = (".pt", ".pth", ".pb", ".ckpt", ".bin", ".safetensors", ".safetensors.index.json")
JSON_LIMIT = 1_000_000  # bytes of a configuration.json
# Old configuration.json files (ModelScope, 2022) name the files inside model.model_config.
OLD_METAS = {"am_model_name": "init_param", "am_model_config": "config", "mvn_file": "cmvn_file"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The files of one model. A path is None where the model has no such file; `raw` is config.yaml as read.

    `named` is the source as the user gave it, `name` the model's own name, for the model card.
    """

    named: str
    name: str
    directory: Path
    config: Path
    weights: Path
    raw: dict[str, Any]
    cmvn: Path | None
    tokens: Path | None
    bpe_model: Path | None
    seg_dict: Path | None
    revision: str | None = None
    notes: list[str] = field(default_factory=list)

    def files(self) -> list[Path]:
        """Return every file the result depends on, weights aside."""
        found = (self.config, self.directory / CONFIGURATION, self.cmvn, self.tokens, self.bpe_model, self.seg_dict)
        return [path for path in found if path is not None and path.is_file()]


def resolve(src: str | os.PathLike[str], *, revision: str | None = None) -> Source:
    """Return the files of `src`, downloading them first where it is a hub id.

    Raises:
        UsageError: no such path, or not a hub id.
        ConfigError, CheckpointError, AssetError: a file is missing or lies outside the model directory.
    """
    text = os.fspath(src)
    path = Path(text).expanduser()
    if path.exists():
        if revision is not None:
            raise UsageError(f"{text} is a local path; a revision ({revision!r}) belongs to a hub id")
        return _local(path, text, revision=None)
    from convert import hub

    reference = hub.parse(text, revision)
    if reference is None:
        raise UsageError(
            f"{text}: no such file or directory, and not a hub id (iic/NAME on ModelScope, or hf:ORG/NAME)"
        )
    snapshot = hub.download(reference)
    found = _local(snapshot.directory, text, revision=snapshot.reference.revision, name=reference.name)
    found.notes.extend(snapshot.notes)
    return found


def _local(path: Path, named: str, *, revision: str | None, name: str | None = None) -> Source:
    directory = path if path.is_dir() else path.parent
    if path.is_file() and not path.name.endswith(WEIGHT_SUFFIXES):
        raise UsageError(f"{path}: expected a model directory or a weight file ({', '.join(WEIGHT_SUFFIXES)})")
    document = _configuration(directory)
    metas = _metas(document)
    config = _follow(directory, metas.get("config"), "config", ConfigError) or directory / CONFIG
    if not config.is_file() and is_conversion(directory):
        raise UsageError(
            f"{directory} is an MLX model that mlx-funasr wrote already; convert its FunASR source instead"
        )
    if not config.is_file():
        raise ConfigError(
            f"{directory} has no {config.name}; a FunASR model directory holds config.yaml beside its weights"
        )
    raw = load_yaml(config)
    weights = path if path.is_file() else _weights(directory, metas)
    notes: list[str] = []
    return Source(
        named=named,
        name=name or _hub_name(document) or directory.resolve().name,
        directory=directory,
        config=config,
        weights=weights,
        raw=raw,
        cmvn=_cmvn(directory, metas, raw, notes),
        tokens=_tokens(directory, metas, raw, notes),
        bpe_model=_asset(directory, metas, raw, "bpemodel", ("bpe.model",), notes=notes),
        seg_dict=_asset(directory, metas, {}, "seg_dict_file", ("seg_dict",), notes=notes, must_exist=False),
        revision=revision,
        notes=notes,
    )


def _configuration(directory: Path) -> dict[str, Any]:
    path = directory / CONFIGURATION
    if not path.is_file():
        return {}
    try:
        document = json.loads(read_text(path, JSON_LIMIT, ConfigError))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected an object, found a {type(document).__name__}")
    return document


def _metas(document: dict[str, Any]) -> dict[str, Any]:
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


def _hub_name(document: dict[str, Any]) -> str | None:
    names = document.get("model_name_in_hub")
    found = [value for value in names.values() if isinstance(value, str) and value] if isinstance(names, dict) else []
    return found[0] if found else None


def _weights(directory: Path, metas: dict[str, Any]) -> Path:
    named = _follow(directory, metas.get("init_param"), "init_param", CheckpointError)
    if named is not None and named.is_file():
        return named
    for name in WEIGHTS:
        if (directory / name).is_file():
            return directory / name
    wanted = named.name if named is not None else "model.pt"
    raise CheckpointError(f"{directory} has no {wanted}; the weights of a FunASR model stand beside its config.yaml")


def _cmvn(directory: Path, metas: dict[str, Any], raw: dict[str, Any], notes: list[str]) -> Path | None:
    """Return am.mvn, None only where the model is known to have none."""
    found = raw.get("frontend_conf")
    section: dict[str, Any] = found if isinstance(found, dict) else {}
    unnamed = metas and "cmvn_file" not in metas and section.get("cmvn_file") is None
    if unnamed and (directory / "am.mvn").is_file() and "cmvn_file" not in section:
        raise AssetError(
            f"{directory} has an am.mvn that {CONFIGURATION} does not name, so FunASR would not apply it. Name it "
            "under file_path_metas: frontend_conf, or say `cmvn_file: null` under frontend_conf in config.yaml"
        )
    path = _asset(directory, metas, raw, "cmvn_file", () if unnamed else ("am.mvn",), notes=notes)
    if path is None and not ("cmvn_file" in section and section["cmvn_file"] is None):
        raise AssetError(
            f"{directory} has no am.mvn (mean and variance of the features). Put it beside config.yaml, or say "
            "`cmvn_file: null` under frontend_conf in config.yaml if the model was trained without"
        )
    return path


def _tokens(directory: Path, metas: dict[str, Any], raw: dict[str, Any], notes: list[str]) -> Path | None:
    if isinstance(raw.get("token_list"), list):  # inside an ESPnet-style config.yaml: no path
        raw = {**raw, "token_list": None}
    return _asset(directory, metas, raw, "token_list", ("tokens.json", "tokens.txt"), notes=notes)


def _asset(
    directory: Path,
    metas: dict[str, Any],
    raw: dict[str, Any],
    key: str,
    usual: tuple[str, ...],
    *,
    notes: list[str],
    must_exist: bool = True,
) -> Path | None:
    """Return the file for `key`: named by configuration.json, else the usual name, else named by config.yaml."""
    named = _follow(directory, metas.get(key), key, AssetError)
    if named is not None:
        if not named.is_file() and must_exist:
            raise AssetError(f"{CONFIGURATION} names {key} {named.name!r}, which is not in {directory}")
        return named if named.is_file() else None
    sections = (raw, raw.get("tokenizer_conf"), raw.get("frontend_conf"))
    values = [section[key] for section in sections if isinstance(section, dict) and isinstance(section.get(key), str)]
    for name in usual:
        if (directory / name).is_file():
            # A fine-tuned model's config.yaml still names the files of the machine it was trained on.
            notes += [f"config.yaml names {key} {value!r}; not followed, {name} beside it was used" for value in values
                      if value != name]  # fmt: skip
            return directory / name
    for value in values:
        named = _follow(directory, value, key, AssetError)
        if named is None or not named.is_file():
            raise AssetError(f"config.yaml names {key} {value!r}, which is not in {directory}")
        return named
    return None


def _follow(
    directory: Path, value: Any, key: str, error: type[ConfigError | CheckpointError | AssetError]
) -> Path | None:
    """Return the file that a configuration names, None where it names none; refuse whatever leaves the directory."""
    if value is None:
        return None
    if not isinstance(value, str) or not value or "\0" in value:
        raise error(f"{directory}: {key} is {value!r}, expected a file name")
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
