"""What every command asks of a FunASR source before anything is started: that it is there, and may be a source at all.

Shared by the conversion and by whatever opens a source with the real FunASR, so that both say the same. Stdlib only.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from mlx_model.errors import ConfigError, UsageError
from mlx_model.files.content import signature

CONFIGURATION = "configuration.json"
CONFIG = "config.yaml"
OLD_CONFIG = "vad.yaml"  # of ModelScope's first VAD models
# How weight files begin: torch's zip, a pickle; a download that is none says so later, when it is opened.
STARTS = (b"PK\x03\x04", b"\x80", b"version https://git-lfs", b"<")


def existing(text: str) -> Path | None:
    """Return the path that `text` names where something is there; a name that no file system takes names nothing."""
    try:
        path = Path(text).expanduser()
        return path if path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long; a NUL byte; no home directory
        return None


def is_converted(directory: Path) -> bool:
    """Return whether `directory` holds a model of ours: a config.json with its model_type, and no config.yaml."""
    if (directory / CONFIG).exists():
        return False
    try:
        document = json.loads((directory / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and "model_type" in document


def looks_like_weights(path: Path) -> bool:
    """Return whether a file may be weights, told by how it begins, never by its name."""
    with path.open("rb") as stream:
        head = stream.read(512)
    if head.startswith(STARTS) or not head:
        return True
    length, body = int.from_bytes(head[:8], "little"), head[8:].lstrip()
    return (body[:1] == b"{" and 2 <= length <= path.stat().st_size) or b'"weight_map"' in head


def check_source(text: str) -> Path | None:
    """Return the local path of a source that FunASR may be given, None where it is no path at all (a hub id, perhaps).

    Raises:
        UsageError: a conversion of ours, or a file that holds no weights.
        ConfigError: a directory without a configuration.
    """
    path = existing(text)
    if path is None:
        return None
    check_readable(path)
    directory = path if path.is_dir() else path.parent
    if is_converted(directory) and (path.is_dir() or path.suffix == ".safetensors"):
        raise UsageError(
            f"{text} is an MLX model that mlx-funasr wrote already; SRC is the FunASR model that it was converted from"
        )
    if not path.is_dir() and not (path.is_file() and looks_like_weights(path)):
        raise UsageError(f"{text}: expected a model directory or a weight file, found {what_it_is(path)}")
    if path.is_dir() and not any((directory / name).is_file() for name in (CONFIG, CONFIGURATION, OLD_CONFIG)):
        raise ConfigError(no_config(path))
    return path


def check_readable(path: Path) -> None:
    """Raise UsageError where a directory or file is there and may not be read."""
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise UsageError(f"{path} may not be read by this user")


def no_config(directory: Path, name: str = CONFIG) -> str:
    """Return what to say of a directory without a configuration."""
    return f"{directory} has no {name}; a FunASR model directory holds config.yaml beside its weights"


def what_it_is(path: Path) -> str:
    """Return in words what a path is that is no weight file."""
    if not path.is_file():
        return "something that is neither a file nor a directory"
    with path.open("rb") as stream:
        head = stream.read(16)
    for start, kind in ((b"RIFF", "a WAV file"), (b"fLaC", "a FLAC file"), (b"ID3", "an MP3 file"), (b"OggS", "Ogg"),
                        (b"{", "JSON"), (b"[", "JSON")):  # fmt: skip
        if head.startswith(start):
            return kind
    if (found := signature(head)) is not None:
        return found[0]
    return f"a file that begins with {head!r}"
