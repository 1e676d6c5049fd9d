"""What a weight file is, told by its first bytes and never by its name. Stdlib and mlx_model.files.content only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlx_model.errors import CheckpointError
from mlx_model.files.content import signature

HEAD = 512  # bytes that are looked at
LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number, pickled: the beginning of a file before torch 1.6
ZIP, LEGACY_TORCH, SAFETENSORS, JSON = "zip", "legacy torch", "safetensors", "json"

# What else is found under such names, before mlx_model.files.content's list: first bytes -> what it is and what to do.
FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the weights; fetch them with: git lfs pull"),
    (b"\x93NUMPY", "is a numpy array (.npy), not a checkpoint with names"),
    (b"\x89HDF\r\n", "is an HDF5 file (Keras?), not a torch checkpoint"),
    (b"GGUF", "is a GGUF file (llama.cpp), not a torch checkpoint; convert the model.pt it was made from"),
    (b"lmgg", "is a GGML file (llama.cpp), not a torch checkpoint; convert the model.pt it was made from"),
    (b"RIFF", "is a sound file, not a checkpoint"),
)
EXPORTED = ("archive_format", "serialized_exported_program.json", "models/model.json")  # records of torch.export
ONNX = "is an ONNX model, not a torch checkpoint; convert the model.pt it was exported from"


def file_kind(path: Path) -> str:
    """Return ZIP, LEGACY_TORCH, SAFETENSORS or JSON.

    Raises:
        CheckpointError: anything else; the message says what it is.
    """
    try:
        if not path.is_file():
            raise CheckpointError(f"{path} is {'a directory' if path.is_dir() else 'no file'}; expected a weight file")
        with path.open("rb") as stream:
            head = stream.read(HEAD)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    if head.startswith(b"PK\x03\x04"):
        return ZIP
    if head.startswith(b"\x80") and LEGACY in head[:64]:
        return LEGACY_TORCH
    if head[5:9] == b"\0\0\0{":  # the length of a header of less than a terabyte, and the header
        return SAFETENSORS
    if head.lstrip()[:1] in (b"{", b"["):
        return JSON
    raise CheckpointError(f"{path} {_what(path, head)}")


def _what(path: Path, head: bytes) -> str:
    for start, what in FOREIGN:
        if head.startswith(start):
            return what
    if (found := signature(head)) is not None:
        return f"is {found[0]}, not a checkpoint{'' if found[1] is None else f'; {found[1]}'}"
    if head[257:262] == b"ustar":
        member = head[:100].split(b"\0")[0].decode("utf-8", "replace")
        return (
            f"is a tar archive (it begins with {member!r}), not a checkpoint; unpack it first (a .nemo file is one; so "
            "was what torch wrote before 0.2, which has to be saved again with a later torch)"
        )
    if (head[:1] == b"\x08" and head[2:3] in (b"\x12", b"\x1a", b":")) or b"onnx" in head[:64]:
        return ONNX
    if head[4:8] in (b"TFL3", b"ORTM"):
        return "is a TFLite or ONNX Runtime model, not a torch checkpoint"
    if head.lstrip()[:1] == b"<":
        return "is a web page, not a checkpoint (a download that failed?); fetch it again"
    expected = "expected a file written by torch.save, or a .safetensors file"
    if not head:
        return f"is empty; {expected}"
    if head.startswith(b"\x80"):
        return f"is a bare pickle, truncated or damaged or not written by torch.save; {expected}"
    if path.name.endswith(".safetensors"):
        return (
            f"is not a safetensors file, or it is truncated (header of {int.from_bytes(head[:8], 'little')} bytes); "
            "fetch it again"
        )
    if not head.strip(b"\0"):
        return f"is not a torch checkpoint (it starts with zeros; a copy that was never finished?); {expected}"
    return f"is not a torch checkpoint (it starts with {head[:8]!r}); {expected}"


def what_archive(names: Sequence[str]) -> str:
    """Return what a zip archive that is no checkpoint is, and what to do about it."""
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return (
            "is a TorchScript archive (torch.jit.save: a compiled program), not a checkpoint; convert the model.pt it "
            "was exported from, or save its weights: torch.save(torch.jit.load(FILE).state_dict(), 'model.pt')"
        )
    if any(name.endswith(EXPORTED) for name in names):
        return (
            "is a program of torch.export (.pt2), not a checkpoint; convert the model.pt it was exported from, or save "
            "its weights: torch.save(torch.export.load(FILE).state_dict, 'model.pt')"
        )
    if names and all(name.endswith(".npy") for name in names):
        return "is a numpy archive (.npz), not a checkpoint; expected a file written by torch.save, or safetensors"
    if "[Content_Types].xml" in names:
        return "is an office document, not a checkpoint; expected a file written by torch.save, or safetensors"
    weights = next((name for name in names if name.endswith((".pt", ".pth", ".pb", ".safetensors"))), None)
    if weights is not None:
        return f"is a zip archive that holds {weights[:100]!r}; unpack it and name the folder it unpacks to"
    shown = ", ".join(repr(name[:60]) for name in names[:3]) or "nothing"
    return f"is a zip archive of something else (it holds {shown}), not a file written by torch.save"
