"""Tensor names as training tools write them, given back the names that FunASR's classes have.

DistributedDataParallel puts `module.` in front, torch.compile `_orig_mod.`, FSDP and activation checkpointing their
own, at the front or around a part in the middle, in any order and number; Lightning the attribute that holds the model.
What was taken off is said in a note. Stdlib only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from convert.lora import without_peft
from convert.unwrap import AVERAGE
from convert.weight_map import matches
from mlx_model.errors import CheckpointError

# Wrappers whose names no model uses: taken off wherever they stand.
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
DDP = "module"  # a usual word: taken off at the front, beside a wrapper, or where everything of its part has it
COUNTERS = ("n_averaged",)  # torch.optim.swa_utils.AveragedModel counts its updates in one
NAME_LIMIT = 500  # characters
MAX_ATTRIBUTES = 3  # `model.`, or a Lightning module inside another


def plain_names(
    path: Path, stored: Iterable[object], evidence: Collection[str], notes: list[str], inside: str = ""
) -> dict[str, str]:
    """Return stored name -> FunASR's name, for the tensors that belong to the model.

    Args:
        path: for errors.
        stored: the names in the checkpoint.
        evidence: patterns of names that the model is known to have; empty where it is not known.
        notes: gets a line for everything that was taken off.
        inside: an attribute that is put in front where the model's names are those below it.

    Raises:
        CheckpointError: a name that is no text, two names that become one, or two models in one checkpoint.
    """
    names = {name: name for name in (_checked(path, item) for item in stored)}
    names = {name: without_peft(name) for name in names if not _is_counter(name, names, notes)}
    taken: set[str] = set()
    owners = _owned_by_ddp(names.values())
    for name, plain in names.items():
        parts, left = plain.split("."), []
        for index, part in enumerate(parts):
            wrapped = not left or part in WRAPPERS or parts[index - 1] in WRAPPERS or ".".join(left) in owners
            if index < len(parts) - 1 and (part in WRAPPERS or (part == DDP and wrapped)):
                taken.add(part)
            else:
                left.append(part)
        names[name] = ".".join(left)
    if taken:
        known = all(stored in (plain, f"{DDP}.{plain}") for stored, plain in names.items())
        funasr = "" if known else "; FunASR 1.4.16 knows a 'module.' in front, and no other"
        parts = ", ".join(repr(part) for part in sorted(taken))
        notes.append(f"taken off the tensors' names, put there by training tools: {parts}{funasr}")
    names = _inside_attribute(path, names, evidence, notes)
    within = {stored: f"{inside}.{plain}" for stored, plain in names.items()}
    if inside and not _has(evidence, names.values()) and _has(evidence, within.values()):
        notes.append(f"put in front of the tensors' names: '{inside}.', in which FunASR's class keeps its network")
        names = within
    _check_distinct(path, names)
    return names


def _checked(path: Path, name: object) -> str:
    if not isinstance(name, str):
        raise CheckpointError(f"{path}: a tensor's name is {str(name)[:80]}, expected text")
    if len(name) > NAME_LIMIT or not name.isprintable():
        raise CheckpointError(f"{path}: a tensor's name is {name[:80]!r}, which is none that a model has")
    return name


def _is_counter(name: str, names: Collection[str], notes: list[str]) -> bool:
    if name not in COUNTERS or not any(other.startswith(f"{DDP}.") for other in names):
        return False
    notes.append(f"{name!r} is the counter of torch's AveragedModel, no weight: the tensors are averages of weights")
    return True


def _owned_by_ddp(names: Iterable[str]) -> set[str]:
    """Return the parts, wrappers aside, all of whose tensors have `module.` next: DDP around a part of the model."""
    below: dict[str, set[str]] = {}
    for name in names:
        left: list[str] = []
        before = DDP
        for part in (part for part in name.split(".") if part not in WRAPPERS):
            if before != DDP:
                below.setdefault(".".join(left), set()).add(part)
            if part != DDP:
                left.append(part)
            before = part
    return {owner for owner, parts in below.items() if parts == {DDP}}


def _inside_attribute(path: Path, names: dict[str, str], evidence: Collection[str], notes: list[str]) -> dict[str, str]:
    """Take off the attribute under which a training script keeps the model, where the model's names stand under it."""
    if not evidence:
        return names
    if _has(evidence, names.values()):
        return _without_averages(names, _grouped(names, 1), evidence, notes)
    for depth in range(1, MAX_ATTRIBUTES + 1):
        groups = _grouped(names, depth)
        found = [front for front, group in groups.items() if _has(evidence, group.values())]
        if found:
            break
    else:
        return names
    own = [front for front in found if not AVERAGE.search(front)] or found
    if len(own) > 1:
        raise CheckpointError(
            f"{path} holds several models, under {' and '.join(repr(front) for front in own[:4])}; save the one you "
            "mean by itself, with torch.save({'state_dict': model.state_dict()}, 'model.pt')"
        )
    left = _without_averages(names, groups, evidence, notes, keep=own[0])
    if len(left) > len(groups[own[0]]):
        return names  # something beside the model that nobody knows: the accounting names it
    notes.append(
        f"taken off the tensors' names: '{own[0]}.', the attribute that held the model in training; FunASR 1.4.16 "
        "would not find these names and would leave every weight random"
    )
    return groups[own[0]]


def _grouped(names: dict[str, str], depth: int) -> dict[str, dict[str, str]]:
    """Return {first parts of the name: {stored name: the rest}}."""
    groups: dict[str, dict[str, str]] = {}
    for stored, plain in names.items():
        parts = plain.split(".")
        if len(parts) > depth:
            groups.setdefault(".".join(parts[:depth]), {})[stored] = ".".join(parts[depth:])
    return groups


def _without_averages(
    names: dict[str, str],
    groups: dict[str, dict[str, str]],
    evidence: Collection[str],
    notes: list[str],
    keep: str | None = None,
) -> dict[str, str]:
    """Return `names` without the second set of weights that an EMA helper keeps in the same state dict."""
    averages = {
        front: group for front, group in groups.items()
        if front != keep and AVERAGE.search(front) and _has(evidence, group.values())
    }  # fmt: skip
    if averages:
        notes.append(f"{', '.join(averages)} is an average of the weights (EMA), kept beside them: not read")
    dropped = {stored for group in averages.values() for stored in group}
    return {stored: plain for stored, plain in names.items() if stored not in dropped}


def _has(evidence: Iterable[str], names: Iterable[str]) -> bool:
    names = list(names)
    return all(any(matches(pattern, name) for name in names) for pattern in evidence)


def _check_distinct(path: Path, names: dict[str, str]) -> None:
    seen: dict[str, str] = {}
    for stored, plain in names.items():
        if plain in seen:
            raise CheckpointError(
                f"{path} holds tensor {plain!r} twice (as {seen[plain]!r} and as {stored!r}, with and without the "
                "names that training tools put in front)"
            )
        seen[plain] = stored
