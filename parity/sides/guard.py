"""Looks at a source before the real FunASR is given it: that it is one, that nothing in it would be run as code.

`check` costs milliseconds and is asked in the caller's process, before a child is started, and in the child again.
Stdlib and PyYAML; no torch, no funasr, no mlx.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import yaml

from mlx_model.errors import CheckpointError, ConfigError, UsageError
from mlx_model.files.funasr_directory import CONFIG, CONFIGURATION, check_source
from mlx_model.files.hostile import refuse_code

HUB_ID = re.compile(r"(?:hf:|ms:)?[\w.+-]+(?:/[\w.+-]+)?(?:@[\w./-]+)?")
SIZE_LIMIT = 8_000_000  # bytes of a config.yaml


def check(src: str) -> Path | None:
    """Return the local path of a source, None where it can only be a hub id or a short name.

    Raises:
        UsageError: nothing is there, or something that is no source.
        ConfigError: no configuration, or one that makes FunASR run code.
    """
    path = check_source(src)
    if path is None:
        if not HUB_ID.fullmatch(src) or src.startswith("."):
            raise UsageError(f"{src[:200]}: no such file or directory, and not a hub id (iic/NAME, or hf:ORG/NAME)")
        return None
    directory = path if path.is_dir() else path.parent
    metas = metas_of(directory)
    refuse_code(metas, f"{directory / CONFIGURATION}: file_path_metas")
    config = config_file(directory, metas)
    if config.is_file():
        refuse_code(parsed(config), str(config))
    return path


def metas_of(directory: Path) -> dict[str, Any]:
    """Return configuration.json's file_path_metas; empty where there are none.

    Raises:
        ConfigError: it is not JSON, or names a path outside the directory, which FunASR would follow.
    """
    path = directory / CONFIGURATION
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {str(error)[:200]}") from error
    metas = document.get("file_path_metas") if isinstance(document, dict) else None
    metas = metas if isinstance(metas, dict) else {}
    waiting = [*metas.values()]
    while waiting:
        value = waiting.pop()
        waiting.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
        if isinstance(value, str) and (os.path.isabs(value) or ".." in Path(value).parts):
            raise ConfigError(f"{path} names {value!r}, outside the model directory; copy it in and name it there")
    return metas


def config_file(directory: Path, metas: dict[str, Any]) -> Path:
    """Return the configuration that FunASR reads."""
    named = metas.get("config")
    return directory / (named if isinstance(named, str) else CONFIG)


def parsed(path: Path) -> dict[str, Any]:
    """Return a config.yaml, its interpolations as they stand.

    Raises:
        ConfigError: too large, not YAML, or not key: value pairs.
    """
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise ConfigError(f"{path} is larger than {SIZE_LIMIT} bytes; not a configuration of FunASR")
        document = yaml.load(path.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected key: value pairs, found {type(document).__name__}")
    return document


def weights(path: Path) -> Path:
    """Return the weights that FunASR's AutoModel takes from a source that `check` has passed.

    Mirrors funasr/download/download_model_from_hub.py::download_from_ms.

    Raises:
        CheckpointError: there are none, so that FunASR would run with random weights.
    """
    if path.is_file():
        return path
    metas = metas_of(path)
    raw = parsed(config_file(path, metas))
    named, start = metas.get("init_param"), raw.get("init_param")
    if isinstance(named, str) and (path / named).is_file():
        return path / named
    if isinstance(start, str) and os.path.isfile(start):
        return Path(start)
    if not (path / "model.pt").is_file():
        trained = sorted(item.name for item in path.glob("model.pt.*"))[:8]
        hint = f"; there are: {', '.join(trained)} (--checkpoint NAME)" if trained else ""
        raise CheckpointError(f"{path} has no model.pt, so FunASR would run with random weights{hint}")
    return path / "model.pt"
