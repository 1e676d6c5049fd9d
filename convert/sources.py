"""Which files a source consists of: a model directory, a trainer's folder, a weight file beside its config, a hub id.

Follows configuration.json's `file_path_metas` as FunASR does, but never outside the model directory; named_files.py
says which of config.yaml's paths are followed. Imports neither torch nor mlx.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from convert.cache_folders import cached_name, model_directory, weights_in
from convert.identify import family_of_config
from convert.named_files import BASE_HINT, OLD_NAMES, Base, Folder, find, flat_metas, follow, stays_inside
from convert.names import MODELSCOPE
from convert.trainer_folder import choose
from convert.yaml_file import load_yaml, read_text
from mlx_model.errors import AssetError, ConfigError, UsageError
from mlx_model.files.funasr_directory import CONFIG, CONFIGURATION, check_source, existing, no_config
from mlx_model.files.hostile import refuse_code

__all__ = ["Source", "resolve", "stays_inside"]

JSON_LIMIT = 1_000_000  # bytes of a configuration.json


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The files of one model. A path is None where the model has no such file; `raw` is config.yaml as read.

    `named` is the source as the user gave it, `name` the model's own name, for the model card; `base` what `--base`
    named. `document` is configuration.json.
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
    jieba_usr_dict: Path | None = None
    document: dict[str, Any] = field(default_factory=dict)
    revision: str | None = None
    checkpoint: str | None = None
    base: str | None = None
    notes: list[str] = field(default_factory=list)

    def files(self) -> list[Path]:
        """Return every file the result depends on, weights aside."""
        named = (self.cmvn, self.tokens, self.bpe_model, self.seg_dict, self.jieba_usr_dict)
        found = (self.config, self.directory / CONFIGURATION, *named)
        return [path for path in found if path is not None and path.is_file()]


def resolve(
    src: str | os.PathLike[str],
    *,
    revision: str | None = None,
    checkpoint: str | None = None,
    base: str | os.PathLike[str] | None = None,
) -> Source:
    """Return the files of `src`, downloading them first where it is a hub id.

    Args:
        src: directory, weight file, hub id or one of FunASR's short names.
        revision: of a hub id.
        checkpoint: which weights of a directory that holds several.
        base: the model that training began with, for the files that are missing beside the weights.

    Raises:
        UsageError: no such path, or not a hub id.
        ConfigError, CheckpointError, AssetError: a file is missing or lies outside the model directory.
    """
    given = None if base is None else _base(os.fspath(base))
    found = _resolve(os.fspath(src), revision, checkpoint, given)
    if given is not None and not any(note.endswith("(--base)") for note in found.notes):
        found.notes.append(f"--base {given.named}: nothing was missing, so nothing was taken from it")
    return found


def _resolve(text: str, revision: str | None, checkpoint: str | None, base: Base | None) -> Source:
    path = existing(text)
    if path is not None:
        if revision is not None:
            raise UsageError(f"{text} is a local path; a revision ({revision!r}) belongs to a hub id")
        return _local(path, text, checkpoint, base)
    from convert import hub

    reference = hub.parse(text, revision)
    if reference is None:
        raise UsageError(f"{text[:200]}: no such file or directory, and {hub.no_id(text)}")
    snapshot = hub.download(reference, () if checkpoint is None else (checkpoint,))
    folder = _folder(snapshot.directory, None, local=False, base=base)
    folder.notes.extend(snapshot.notes)
    found = _assembled(folder, text, choose(folder, checkpoint), name=reference.name)
    return replace(found, revision=snapshot.reference.revision, checkpoint=checkpoint)


def _local(path: Path, named: str, checkpoint: str | None, base: Base | None) -> Source:
    notes: list[str] = []
    if named in MODELSCOPE:
        notes.append(f"{named} is a directory here, and was taken; FunASR's short name {named} is ms:{named}")
    shard = weights_in(path)
    if path.is_dir() and shard is None:
        directory = model_directory(path, notes)
        check_source(str(directory))
        folder = _folder(directory, named, local=True, base=base)
        folder.notes[:0] = notes
        return replace(_assembled(folder, named, choose(folder, checkpoint)), checkpoint=checkpoint)
    if checkpoint is not None:
        raise UsageError(f"--checkpoint {checkpoint} has no meaning here: SRC is a weight file, {path}")
    if shard is None:
        check_source(named)
    folder = _folder(path.parent, named, local=True, base=base)
    return _assembled(folder, named, shard or path)


def _folder(directory: Path, named: str | None, *, local: bool, base: Base | None) -> Folder:
    """Read what a directory says of itself."""
    document = read_configuration(directory)
    metas = flat_metas(document)
    if not (directory / CONFIG).is_file() and not metas and (directory / OLD_NAMES["config"]).is_file():
        metas = {key: name for key, name in OLD_NAMES.items() if (directory / name).is_file()}
    config = follow(directory, metas.get("config"), "config", ConfigError) or directory / CONFIG
    notes: list[str] = []
    if not config.is_file():
        config = _config_of(base, directory, config.name, notes)
    raw = load_yaml(config, known={"model_path": str(directory)})
    refuse_code(raw, str(config))
    named = document.get("file_path_metas")  # FunASR lays these keys over config.yaml's
    refuse_code(named if isinstance(named, dict) else {}, f"{directory / CONFIGURATION}: file_path_metas")
    return Folder(
        directory=directory, metas={**metas, "config": config}, raw=raw, local=local, base=base, notes=notes
    )  # fmt: skip


def _config_of(base: Base | None, directory: Path, name: str, notes: list[str]) -> Path:
    found = None if base is None else base.files["config"]
    if base is None or found is None:
        raise ConfigError(f"{no_config(directory, name)}; where it is gone, {BASE_HINT}")
    notes.append(f"config: {found.name} of {base.named} (--base)")
    return found


def _assembled(folder: Folder, named: str, weights: Path, name: str | None = None) -> Source:
    document = read_configuration(folder.directory)
    cmvn = _needed(folder)
    return Source(
        named=named,
        name=name or _hub_name(document) or cached_name(folder.directory) or folder.directory.resolve().name,
        directory=folder.directory,
        config=folder.metas["config"],
        weights=weights,
        raw=folder.raw,
        cmvn=cmvn,
        tokens=_tokens(folder),
        bpe_model=find(folder, "bpemodel", ("bpe.model",)),
        seg_dict=_seg_dict(folder, cmvn),
        jieba_usr_dict=_jieba_usr_dict(folder),
        document=document,
        base=None if folder.base is None else folder.base.named,
        notes=folder.notes,
    )


def _base(text: str) -> Base:
    """Return the files of the model that `--base` names; its weights are not wanted."""
    path = existing(text)
    try:
        if path is not None:
            if not path.is_dir():
                raise UsageError(f"{text} is a file; expected a model directory or a hub id")
            folder = _folder(model_directory(path, []), text, local=True, base=None)
        else:
            from convert import hub

            reference = hub.parse(text)
            if reference is None:
                raise UsageError(f"{text[:200]}: no such directory, and {hub.no_id(text)}")
            folder = _folder(hub.download(reference, None).directory, text, local=False, base=None)
    except (UsageError, ConfigError) as error:
        raise type(error)(f"--base: {error}") from error
    keys = {"cmvn_file": ("am.mvn",), "token_list": ("tokens.json", "tokens.txt"), "bpemodel": ("bpe.model",),
            "seg_dict": ("seg_dict",)}  # fmt: skip
    files = {key: find(folder, key, usual, required=False) for key, usual in keys.items()}
    return Base(named=text, files={**files, "config": folder.metas["config"]})


def read_configuration(directory: Path) -> dict[str, Any]:
    """Return configuration.json, empty where there is none.

    Raises:
        ConfigError: it is not a JSON object.
    """
    path = directory / CONFIGURATION
    if not path.is_file():
        return {}
    try:
        document = json.loads(read_text(path, JSON_LIMIT, ConfigError))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {str(error)[:200]}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected an object, found a {type(document).__name__}")
    return document


def _hub_name(document: dict[str, Any]) -> str | None:
    names = document.get("model_name_in_hub")
    found = [value for value in names.values() if isinstance(value, str) and value] if isinstance(names, dict) else []
    return found[0] if found else None


def _needed(folder: Folder) -> Path | None:
    """Return `_cmvn`, None of a family that has none; missing is no news of a class that is not converted at all."""
    with suppress(ConfigError):  # of a class that is not converted: said where the family is asked for
        if family_of_config(folder.raw).cmvn is None:
            return None
    try:
        return _cmvn(folder)
    except AssetError:
        family_of_config(folder.raw)
        raise


def _cmvn(folder: Folder) -> Path | None:
    """Return am.mvn, None only where the model is known to have none."""
    directory, metas = folder.directory, {key: value for key, value in folder.metas.items() if key != "config"}
    found = folder.raw.get("frontend_conf")
    section: dict[str, Any] = found if isinstance(found, dict) else {}
    unnamed = metas and "cmvn_file" not in metas and section.get("cmvn_file") is None
    if unnamed and (directory / "am.mvn").is_file() and "cmvn_file" not in section:
        raise AssetError(
            f"{directory} has an am.mvn that {CONFIGURATION} does not name, so FunASR would not apply it. Name it "
            "under file_path_metas: frontend_conf, or say `cmvn_file: null` under frontend_conf in config.yaml"
        )
    off = "cmvn_file" in section and section["cmvn_file"] is None
    wanted = folder if not off else replace(folder, base=None)
    path = find(wanted, "cmvn_file", () if unnamed else ("am.mvn",))
    if path is None and not off:
        raise AssetError(
            f"{directory} has no am.mvn (mean and variance of the features), and config.yaml names none. Put it beside "
            f"config.yaml, {BASE_HINT}, or say `cmvn_file: null` under frontend_conf in config.yaml if the model was "
            "trained without"
        )
    return path


def _tokens(folder: Folder) -> Path | None:
    if isinstance(folder.raw.get("token_list"), list):  # inside an ESPnet-style config.yaml: no path
        folder = replace(folder, raw={**folder.raw, "token_list": None}, base=None)
    return find(folder, "token_list", ("tokens.json", "tokens.txt"))


def _jieba_usr_dict(folder: Folder) -> Path | None:
    """Return the dictionary of a model of words: what is named, or without a configuration.json what is there."""
    usual = () if (folder.directory / CONFIGURATION).is_file() else ("jieba_usr_dict",)
    return find(folder, "jieba_usr_dict", usual, required=False)


def _seg_dict(folder: Folder, cmvn: Path | None) -> Path | None:
    """Return the dictionary that writes words in tokens, for hotwords and alignment; no model must have one.

    FunASR's hotwords take the one beside am.mvn, its tokenizer the one that configuration.json names.
    """
    beside = None if cmvn is None else cmvn.parent / "seg_dict"
    if beside is not None and beside.is_file():
        return beside
    inside = replace(folder, raw={}, base=None, notes=[])
    found = find(inside, "seg_dict_file", ("seg_dict",), required=False) or find(inside, "seg_dict", (), required=False)
    return found or (None if folder.base is None else folder.base.files.get("seg_dict"))
