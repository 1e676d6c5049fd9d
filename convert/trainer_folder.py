"""Which of several weight files is meant: FunASR's trainers leave one per epoch, averages, and the best.

FunASR 1.x writes model.pt (the last epoch), model.pt.epN, model.pt.epN.STEP, model.pt.best and model.pt.avgN; 0.x
valid.acc.best.pb, valid.acc.ave_10best.pb, 10epoch.pb and checkpoint.pb. Told by their names only where one has to be
chosen; what a file holds is checkpoint.py's matter. Imports neither torch nor mlx.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from convert.cache_folders import weights_in
from convert.named_files import Folder, follow
from mlx_model.errors import CheckpointError, UsageError

WEIGHTS = ("model.pt", "model.safetensors", "model.safetensors.index.json", "model.pb", "model.pth",
           "pretrained_eres2netv2.ckpt")  # fmt: skip  FunASR's class looks for the last one by itself
# What a trainer leaves, the one to take first: (pattern, what it is). A number in a name: the highest first.
TRAINED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), what)
    for pattern, what in (
        (r"model\.pt\.best", "the best on the validation set"),
        (r"model\.pt\.avg(\d+)", "the average of the best"),
        (r"valid\.\w+\.best\.(?:pb|pth)", "the best on the validation set"),
        (r"valid\.\w+\.ave(?:_(\d+)best)?\.(?:pb|pth)", "the average of the best"),
        (r"model\.pt\.ep(\d+)(?:\.(\d+))?", "the last epoch"),
        (r"(\d+)epoch\.(?:pb|pth)", "the last epoch"),
        (r"latest\.(?:pb|pth)", "the last epoch"),
        (r"checkpoint\.(?:pb|pt|pth)", "the trainer's own state"),
    )
)
SHOWN = 12  # names of a long list


def found_in(directory: Path) -> dict[str, str]:
    """Return {name: what it is} of the weight files in a directory, in the order in which they would be taken."""
    names = sorted(os.listdir(directory))
    found = {name: "the usual name" for name in WEIGHTS if _is_there(directory / name)}
    for pattern, what in TRAINED:
        matching = [
            (match, name) for name in names if (match := pattern.fullmatch(name)) and _is_there(directory / name)
        ]
        ordered = sorted(matching, key=lambda item: [int(group or 0) for group in item[0].groups()], reverse=True)
        found |= {name: what for _, name in ordered}
    return found


def _is_there(path: Path) -> bool:
    return path.is_file() or weights_in(path) is not None


def choose(folder: Folder, checkpoint: str | None) -> Path:
    """Return the weights to convert; notes say which were taken where there are several, and why.

    Raises:
        CheckpointError: there are none, or not the one asked for; the message lists what is there.
        UsageError: `checkpoint` lies outside the directory.
    """
    there = found_in(folder.directory)
    if checkpoint is not None:
        return _asked_for(folder, checkpoint, there)
    named = follow(folder.directory, folder.metas.get("init_param"), "init_param", CheckpointError)
    if named is not None and named.is_file():
        _say(folder, named.name, "as FunASR's AutoModel does (configuration.json)", there)
        return named
    if not there:
        return _elsewhere(folder, named.name if named is not None else "model.pt")
    name, what = next(iter(there.items()))
    why = "as FunASR's AutoModel does" if name == "model.pt" else f"{what}; FunASR's AutoModel looks for model.pt only"
    _say(folder, name, why, there)
    return _file(folder.directory / name)


def _say(folder: Folder, name: str, why: str, there: dict[str, str]) -> None:
    others = [other for other in there if other != name]
    if others or there.get(name, "the usual name") != "the usual name":
        beside = f"; also there: {_listed(others)}, to be chosen with --checkpoint NAME" if others else ""
        folder.notes.append(f"weights: {name} ({why}){beside}")
    start = folder.raw.get("init_param")
    if (
        isinstance(start, str)
        and os.path.isabs(start)
        and not _same(start, folder.directory / name)
        and others_taken(folder, name)
    ):
        folder.notes.append(
            f"FunASR's AutoModel would load {start} here (config.yaml's init_param: what training began with), not "
            f"{name}; to convert that one, give it as SRC"
        )


def others_taken(folder: Folder, name: str) -> bool:
    """Return whether FunASR takes config.yaml's init_param although the directory has weights of its own."""
    named = folder.metas.get("init_param")
    by_configuration = isinstance(named, str) and (folder.directory / named).exists()
    return not by_configuration and os.path.exists(str(folder.raw.get("init_param")))


def _same(first: str, second: Path) -> bool:
    return os.path.realpath(first) == os.path.realpath(second)


def _asked_for(folder: Folder, checkpoint: str, there: dict[str, str]) -> Path:
    directory = folder.directory
    path = Path(checkpoint)
    inside = path if path.is_absolute() else directory / path
    if not os.path.realpath(inside.parent).startswith(os.path.realpath(directory)) or ".." in path.parts:
        raise UsageError(f"--checkpoint {checkpoint}: expected the name of a file in {directory}; to convert another "
                         "file, give it as SRC")  # fmt: skip
    if not _is_there(inside):
        near = difflib.get_close_matches(checkpoint, there, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise CheckpointError(f"--checkpoint {checkpoint}: not in {directory}{hint}; there are: {_listed([*there])}")
    others = [name for name in there if name != inside.name]
    folder.notes.append(f"weights: {checkpoint} (--checkpoint){f'; also there: {_listed(others)}' if others else ''}")
    return _file(inside)


def _elsewhere(folder: Folder, wanted: str) -> Path:
    """The weights that config.yaml names by an absolute path, where the directory has none."""
    start = folder.raw.get("init_param")
    if isinstance(start, str) and os.path.isabs(start) and folder.local:
        path = Path(start)
        if ".." not in path.parts and path.is_file():
            folder.notes.append(f"weights: {path}, which config.yaml names (init_param); the directory itself has none")
            return path
        hint = f" (config.yaml's init_param {start!r} is not there either)"
    else:
        hint = ""
    raise CheckpointError(
        f"{folder.directory} has no {wanted}{hint}; the weights of a FunASR model stand beside its config.yaml, as "
        "model.pt, or as its trainer names them: model.pt.epN, model.pt.avgN, model.pt.best"
    )


def _file(path: Path) -> Path:
    return path if path.is_file() else weights_in(path) or path


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f", ... ({len(names)} in all)" if len(names) > SHOWN else "") or "none"
