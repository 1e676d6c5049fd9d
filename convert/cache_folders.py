"""Which directory a path means: a model directory, the snapshot in a hub's cache, the parent of a DeepSpeed folder.

Imports neither torch nor mlx.
"""

from __future__ import annotations

from pathlib import Path

from mlx_model.errors import UsageError
from mlx_model.files.funasr_directory import CONFIG, CONFIGURATION, OLD_CONFIG

SHARD = "mp_rank_*_model_states.pt"  # what DeepSpeed writes into model.pt.epN/


def model_directory(path: Path, notes: list[str]) -> Path:
    """Return the directory of the model that `path` stands for; `notes` gets which snapshot was taken.

    Raises:
        UsageError: a cache folder with several snapshots, or with none.
    """
    if any((path / name).is_file() for name in (CONFIG, CONFIGURATION, OLD_CONFIG)):
        return path
    if (path / "snapshots").is_dir():
        return _huggingface(path, notes)
    inner = path / path.name  # ModelScope's cache: models/ORG--NAME/snapshots/master, or ORG/NAME
    return inner if (inner / CONFIG).is_file() else path


def _huggingface(root: Path, notes: list[str]) -> Path:
    """The snapshot of refs/main (ModelScope: master), else the only one."""
    there = sorted(item.name for item in (root / "snapshots").iterdir() if item.is_dir())
    if not there:
        raise UsageError(f"{root} is a hub's cache folder without a snapshot; download the model again, or name its id")
    for branch in ("main", "master"):
        reference = root / "refs" / branch
        commit = reference.read_text("utf-8", "replace").strip() if reference.is_file() else branch
        if commit in there:
            notes.append(f"{root} is a hub's cache folder; took its snapshot {commit} (refs/{branch})")
            return root / "snapshots" / commit
    if len(there) > 1:
        raise UsageError(
            f"{root} is a hub's cache folder with {len(there)} snapshots and no refs/main among them; name one: "
            f"{', '.join(str(root / 'snapshots' / name) for name in there[:5])}{', ...' if len(there) > 5 else ''}"
        )
    notes.append(f"{root} is a hub's cache folder; took its only snapshot, {there[0]}")
    return root / "snapshots" / there[0]


def weights_in(folder: Path) -> Path | None:
    """Return the weights in a folder that DeepSpeed's trainer wrote (`model.pt.ep3/`), None where it is none."""
    parts = sorted(folder.glob(SHARD)) if folder.is_dir() else []
    if len(parts) > 1:
        raise UsageError(f"{folder} holds the weights in {len(parts)} parts (model parallel); join them with DeepSpeed")
    return parts[0] if parts else None


def cached_name(directory: Path) -> str | None:
    """Return the repository's name of a snapshot in a hub's cache, `.../models--ORG--NAME/snapshots/COMMIT`."""
    root = directory.absolute().parent.parent.name
    if directory.absolute().parent.name != "snapshots" or not root.startswith("models--"):
        return None
    return root.removeprefix("models--").replace("--", "/", 1)
