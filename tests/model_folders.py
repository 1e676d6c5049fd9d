"""Variants of the bundled FunASR model directory, as trainers and hubs leave models on a disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from parity.demo import MODEL

SMALL = ("config.yaml", "configuration.json", "am.mvn", "tokens.json", "seg_dict")


def small_files(directory: Path) -> Path:
    """Copy everything but the weights."""
    directory.mkdir(parents=True)
    for name in SMALL:
        shutil.copy(MODEL / name, directory / name)
    return directory


def trainer_folder(directory: Path, *names: str) -> Path:
    """Write what a trainer leaves beside its configuration: the same weights under these names."""
    small_files(directory)
    for name in names:
        (directory / name).symlink_to(MODEL / "model.pt")
    return directory


def change_config(directory: Path, **changes: Any) -> None:
    """Change config.yaml: sections are merged, other keys replaced."""
    path = directory / "config.yaml"
    document = yaml.safe_load(path.read_text("utf-8"))
    for key, value in changes.items():
        document[key] = {**document[key], **value} if isinstance(value, dict) and key in document else value
    path.write_text(yaml.safe_dump(document, allow_unicode=True), "utf-8")


def with_absolute_paths(directory: Path, base: Path) -> Path:
    """Write config.yaml as FunASR's trainer saves it, and take the files that it names elsewhere away."""
    change_config(
        directory, init_param=str(base / "model.pt"), model_path=str(base), output_dir="./outputs", device="cpu",
        frontend_conf={"cmvn_file": str(base / "am.mvn")}, tokenizer_conf={"token_list": str(base / "tokens.json")},
    )  # fmt: skip
    (directory / "am.mvn").unlink()
    (directory / "tokens.json").unlink()
    return directory


def configuration(directory: Path, document: dict[str, Any]) -> None:
    """Write configuration.json."""
    (directory / "configuration.json").write_text(json.dumps(document), "utf-8")
