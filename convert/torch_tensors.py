"""Tensors of a torch file as views of its records, built from what torch.save pickles for them. No torch.

A storage is a record of the archive and a type; a tensor looks at a storage with an offset, a shape and strides.
Whatever torch writes for tensors that are no plain dense numbers (quantised, sparse, without values) is told apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from convert import torch_pickle
from convert.dtypes import PRECISIONS
from convert.torch_pickle import Plain
from convert.torch_zip import Record, TorchZip

MAX_DIMENSIONS = 32
SPREAD = 1 << 24  # bytes that an expanded tensor may take beyond what the file holds
# torch's name -> bytes of an element; those that convert.dtypes does not know are refused by name.
ITEM_SIZES = {
    **{name: precision.storage.itemsize for name, precision in PRECISIONS.items()},
    "uint16": 2, "uint64": 8, "complex32": 4, "complex64": 8, "complex128": 16,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
    "float4_e2m1fn_x2": 1, "qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1,
}  # fmt: skip
STORAGES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool", "ComplexFloat": "complex64",
    "ComplexDouble": "complex128", "QInt8": "qint8", "QUInt8": "quint8", "QInt32": "qint32", "QUInt4x2": "quint4x2",
    "QUInt2x4": "quint2x4",
}  # fmt: skip
UNTYPED = "untyped"
# What torch writes for tensors that are no plain dense numbers, and what to call them.
ODD = {
    "_rebuild_qtensor": "quantised", "_rebuild_sparse_tensor": "sparse", "_rebuild_sparse_csr_tensor": "sparse",
    "_rebuild_meta_tensor_no_storage": "meta (without values)", "_rebuild_nested_tensor": "nested",
    "_rebuild_wrapper_subclass": "wrapped", "_rebuild_device_tensor_from_numpy": "device's own",
    "_rebuild_device_tensor_from_cpu_tensor": "device's own",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """A record that tensors look at, and its element type (UNTYPED where only the tensors say)."""

    record: Record
    dtype: str


@dataclass(frozen=True, slots=True, eq=False)
class OddTensor:
    """A tensor that is no plain dense numbers; `kind` says what it is."""

    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """A view of a storage: `offset` and `strides` count elements."""

    archive: TorchZip
    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    def read(self) -> np.ndarray:
        """Return the values in their storage type; a view of the file where they lie in order.

        Raises:
            CheckpointError: the record differs from the archive's checksum.
        """
        precision = PRECISIONS[self.dtype]
        if not math.prod(self.shape):
            return np.empty(self.shape, precision.storage)
        self.archive.check(self.storage.record)
        flat = self.archive.span(*self._extent()).view(precision.storage)
        if _contiguous(self.shape, self.strides):
            return flat.reshape(self.shape)
        strides = tuple(stride * precision.storage.itemsize for stride in self.strides)
        return np.ascontiguousarray(np.lib.stride_tricks.as_strided(flat, self.shape, strides, writeable=False))

    def release(self) -> None:
        """Give the memory of the mapped bytes back."""
        if math.prod(self.shape):
            self.archive.forget(*self._extent())

    def _extent(self) -> tuple[int, int]:
        item = PRECISIONS[self.dtype].storage.itemsize
        return self.storage.record.start + self.offset * item, _reach(self.shape, self.strides) * item


class Builder:
    """Makes tensors out of the arguments torch pickles for them; TypeError and ValueError mean a damaged pickle."""

    def __init__(self, archive: TorchZip):
        self.archive = archive

    def known(self) -> dict[str, Plain]:
        """Return dotted name -> stand-in of every global that a checkpoint of plain values may ask for."""
        table: dict[str, Any] = {
            "collections.OrderedDict": _mapping, "collections.Counter": _mapping,
            "torch.Size": _same, "torch.device": _nothing, "torch.serialization._get_layout": _nothing,
            "_codecs.encode": _same, "builtins.set": _same, "__builtin__.set": _same,
            "builtins.frozenset": _same, "__builtin__.frozenset": _same,
            "builtins.bytearray": _nothing, "__builtin__.bytearray": _nothing,
            "builtins.complex": _nothing, "__builtin__.complex": _nothing,
            # Training checkpoints of FunASR hold numpy scalars (losses, scores); numpy 2 moved the function.
            "numpy.core.multiarray.scalar": _nothing, "numpy._core.multiarray.scalar": _nothing,
            "numpy.dtype": _numpy_type,
            "torch._utils._rebuild_tensor": self.tensor, "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_tensor_v3": self.tensor_v3, "torch._utils._rebuild_parameter": _same,
            "torch._utils._rebuild_parameter_with_state": _same, "torch.nn.parameter.Parameter": _same,
            "torch._tensor._rebuild_from_type_v2": _from_type, "torch.Tensor": None,
            **{f"torch._utils.{name}": _odd(kind) for name, kind in ODD.items()},
        }  # fmt: skip
        names = {name: Plain(name, build) for name, build in table.items()}
        for name in ITEM_SIZES:
            names[f"torch.{name}"] = Plain(name)
        for name, dtype in STORAGES.items():
            for module in ("torch", "torch.cuda"):
                names[f"{module}.{name}Storage"] = Plain(f"storage {dtype}")
        for name in ("torch.storage.UntypedStorage", "torch.storage._UntypedStorage", "torch.UntypedStorage"):
            names[name] = Plain(f"storage {UNTYPED}")
        for name in ("per_tensor_affine", "per_tensor_symmetric", "per_channel_affine", "per_channel_symmetric",
                     "per_channel_affine_float_qparams"):  # fmt: skip
            names[f"torch.{name}"] = Plain(name)
        return names

    def storage(self, identity: Any) -> Storage:
        """Return the storage that a persistent id ("storage", type, key, location, number of elements) names."""
        kind, made_by, key, _, count = identity
        if kind != "storage" or not isinstance(made_by, Plain) or not made_by.name.startswith("storage "):
            raise ValueError("a persistent id that is no storage")
        dtype = made_by.name.removeprefix("storage ")
        record = self.archive.records.get(f"data/{_text(key)}")
        if record is None:
            raise torch_pickle.DamagedPickleError(f"the record data/{_text(key)} is not in the archive")
        needed = _count(count) * (1 if dtype == UNTYPED else ITEM_SIZES[dtype])
        if record.size != needed:
            raise torch_pickle.DamagedPickleError(
                f"record {record.name!r} has {record.size} bytes, its type needs {needed}"
            )
        return Storage(record, dtype)

    def tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any, grad: Any = None, hooks: Any = None,
        metadata: Any = None,
    ) -> StoredTensor | OddTensor:  # fmt: skip
        """Return what torch._utils._rebuild_tensor_v2 would rebuild."""
        if not isinstance(storage, Storage) or storage.dtype == UNTYPED:
            raise ValueError("a tensor of no storage")
        return self._view(storage, storage.dtype, offset, size, stride, metadata)

    def tensor_v3(
        self, storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any,
        metadata: Any = None,
    ) -> StoredTensor | OddTensor:  # fmt: skip
        """Return what torch._utils._rebuild_tensor_v3 would rebuild: the tensor, not its storage, says the type."""
        if not isinstance(storage, Storage) or not isinstance(dtype, Plain) or dtype.name not in ITEM_SIZES:
            raise ValueError("a tensor of no storage or of no type")
        return self._view(storage, dtype.name, offset, size, stride, metadata)

    def _view(
        self, storage: Storage, dtype: str, offset: Any, size: Any, stride: Any, metadata: Any
    ) -> StoredTensor | OddTensor:
        if len(size) > MAX_DIMENSIONS or len(size) != len(stride):
            raise ValueError("a tensor's shape and strides do not belong together")
        shape, strides, offset = tuple(map(_count, size)), tuple(map(_count, stride)), _count(offset)
        reach, item = _reach(shape, strides), ITEM_SIZES[dtype]
        if reach and (offset + reach) * item > storage.record.size:
            raise torch_pickle.DamagedPickleError(f"a tensor reaches beyond its record {storage.record.name!r}")
        if math.prod(side for side in shape if side) * item > self.archive.size + SPREAD:
            return OddTensor("expanded (larger than the file)")
        if metadata:
            return OddTensor("conjugated or negated")
        return StoredTensor(self.archive, storage, dtype, shape, strides, offset)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a size, stride or offset that is no count")
    return value


def _text(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError("a storage's key is no text")
    return key


def _reach(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Return the number of elements from a view's first to its last."""
    if not math.prod(shape):
        return 0
    return 1 + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))


def _contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    step = 1
    for side, stride in zip(reversed(shape), reversed(strides), strict=True):
        if side != 1 and stride != step:
            return False
        step *= side
    return True


def _mapping(items: Any = None) -> dict[Any, Any]:
    if items is not None and type(items) is not dict:
        raise ValueError("a mapping that is made of no dict")
    return {} if items is None else items


def _same(value: Any = (), *rest: Any) -> Any:
    return value


def _nothing(*arguments: Any) -> Plain:
    return Plain("value")


def _numpy_type(*arguments: Any) -> Plain:
    return Plain("numpy type")


def _from_type(build: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """Return a tensor that carries attributes: the attributes are no weights."""
    if not isinstance(build, Plain) or build.build in (None, _from_type) or type(arguments) is not tuple:
        raise ValueError("a tensor that nothing builds")
    return build.build(*arguments)  # type: ignore[misc]


def _odd(kind: str) -> Any:
    return lambda *arguments: OddTensor(kind)
