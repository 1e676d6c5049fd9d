"""What layers are made of on a CPU, on kernels of our own (`cpu_bodies.py`); `cpu_rows.py` makes rows of it.

MLX computes everything but matrix products on one thread of a CPU, and scalar where weights are quantised or have 16
bits. Here products, attention, FSMN memory and LayerNorm run on all threads; padding is not computed, and no row's bits
depend on what it is batched with; results are those of the modules in float32. The weights of linear layers are read
where they lie, row after row: in a mapped file (`machine/safetensors.py`), or in MLX's memory. What they are turned or
restored to never leaves a core's cache.

So with weights of 16 bits (float16, bfloat16, or quantised from such) arithmetic is float32's, too: only weights, and
what enters and leaves a stack of layers, are rounded to 16 bits. That is nearer to what the weights say than MLX's own
half precision, which rounds after every operation.

Nothing goes stale: an operation knows the parameters that it was made of (`kept.py`) and is made anew for others
(`operation`); all else that a module holds (eps, heads, padding) is handed over at every call.

Rows are the frames or tokens of all utterances, one after the other: float32, (M, D) with M = the sum of their lengths;
`starts` (B + 1,) says where each begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mlx_model.engines.cpu_bodies import LinearStruct, kernels
from mlx_model.engines.cpu_bodies import available as available  # for who has the operations in hand
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import Kept, kind_of
from mlx_model.ops import Mask
from mlx_model.parts.basic import DepthwiseConv1d, LayerNorm, Linear
from mlx_model.parts.fsmn import Taps
from mlx_model.parts.quantized import QuantizedLinear, padded_width

Rows = Float[np.ndarray, "M _"]
Starts = Int[np.ndarray, " B1"]
Past = Float[np.ndarray, "B P D"]  # frames that stand before each utterance
Source = Callable[[nn.Module, str], np.ndarray]  # where a module's parameter lies in memory
SMALL = 1 << 16  # numbers of a weight that is made into panels once: a stream's chunk has too few rows to pay for it
LINE, PAGE = 16, 1024  # numbers: rows of a hidden layer that are whole pages long would lie on one another in caches
CODES = (4, 6, 8)  # bits of a quantised weight
KINDS = {mx.float32: 32, mx.float16: 16, mx.bfloat16: 17}  # of weights that are not; as cpu_engine.c names them


def in_memory(module: nn.Module, key: str) -> np.ndarray:
    """Return a module's parameter as MLX holds it, copied only where its rows lie apart; bfloat16 as uint16."""
    array = module[key]
    return np.ascontiguousarray(np.asarray(array.view(mx.uint16) if array.dtype == mx.bfloat16 else array))


def in_float32(array: mx.array) -> np.ndarray:
    """Return what a parameter holds in float32: a copy where it is of 16 bits."""
    return np.ascontiguousarray(np.asarray(array.astype(mx.float32)))


def mapped(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> Source:
    """Return the source of a model's parameters: `arrays` where they have its name, else MLX's memory."""
    names = {id(module): name for name, module in model.named_modules()}

    def source(module: nn.Module, key: str) -> np.ndarray:
        found = arrays.get(f"{names[id(module)]}.{key}")
        return in_memory(module, key) if found is None else found

    return source


class _Operation:
    """What was made of a module's parameters. Their arrays stay where they are, and are read there."""

    names: tuple[str, ...] = ("weight", "bias")

    def __init__(self, module: nn.Module, unread: bool = False):
        found = {name: module[name] for name in self.names if name in module}
        self._made_of = [(name, Kept(array, unread=unread and name == "weight")) for name, array in found.items()]
        self._absent = [name for name in self.names if name not in found]

    def is_of(self, module: nn.Module) -> bool:
        """Whether the module has the parameters that this was made of, with what was in them."""
        get = module.get
        for name, kept in self._made_of:
            if not kept.is_still(get(name)):
                return False
        return not self._absent or all(get(name) is None for name in self._absent)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self  # nothing in it changes; a copied module has other arrays, and gets one of its own


class Product(_Operation):
    """relu?(x W^T + bias), (M, Din) -> (M, Dout rounded up to whole panels); x may be columns of something wider."""

    def __init__(self, linear: Any, source: Source = in_memory):
        if isinstance(linear, QuantizedLinear):
            self.names = ("weight", "bias", "scales", "biases")
        self._weight = source(linear, "weight")
        super().__init__(linear, unread=not self._weight.flags.writeable)  # a mapped file's is not
        self.outputs = len(self._weight)
        self._prepare(linear)

    def make_room(self, *widths: int) -> int:
        """Give results room for whole panels of the engine's width and of others, and return how much."""
        self.padding = -self.outputs % math.lcm(kernels().engine_width(), *widths)
        self._width = self.outputs + self.padding
        return self.padding

    def _prepare(self, linear: Any) -> None:
        """Hold what the kernel reads beside the weights."""
        padding = self.make_room()
        self._bias = in_float32(linear.bias) if "bias" in linear else None
        if self._bias is not None and padding:
            self._bias = np.pad(self._bias, (0, padding))
        self._settings = _settings(linear)
        given = {"weights": _address(self._weight), "bias": _address(self._bias), "n": self.outputs}
        given |= self._codes(linear) or {"k": self._weight.shape[1], "kind": KINDS[linear.weight.dtype]}
        self.inputs = given["k"]
        if self.outputs * self.inputs <= SMALL:
            self._panels = np.empty(self.inputs * self._width, np.float32)
            kernels().engine_pack(LinearStruct(**given), _address(self._panels))
            given = {"weights": _address(self._panels), "bias": given["bias"], "n": self._width, "k": self.inputs}
        self._structs = [LinearStruct(relu=relu, **given) for relu in (0, 1)]

    def _codes(self, linear: Linear | QuantizedLinear) -> dict[str, Any]:
        """Return what the kernel must know of quantised weights."""
        if not isinstance(linear, QuantizedLinear):
            return {}
        self._factors = [in_float32(linear[name]) for name in ("scales", "biases")]
        scales, biases = map(_address, self._factors)
        shape = {"k": linear.input_dims, "kind": linear.bits, "group": linear.group_size}
        return {**shape, "groups": linear.scales.shape[1], "scales": scales, "biases": biases}

    @staticmethod
    def can(linear: Any) -> bool:
        """Whether the kernels know this layer's weights, and its parameters fit each other."""
        weight, bias = linear.get("weight"), linear.get("bias")
        if not _is_array(weight, 2, dtypes=(*KINDS, mx.uint32)):
            return False
        if bias is not None and not _is_array(bias, 1, len(weight)):
            return False
        if "scales" not in linear:
            return weight.dtype in KINDS
        padded = padded_width(linear.input_dims, linear.group_size)
        factors = linear.get("scales"), linear.get("biases")
        return (
            linear.mode == "affine" and linear.bits in CODES and padded % kernels().engine_lanes() == 0
            and weight.shape[1] * 32 == padded * linear.bits and weight.dtype == mx.uint32
            and all(_is_array(each, 2) and each.shape == (len(weight), padded // linear.group_size) for each in factors)
        )  # fmt: skip

    def is_of(self, module: nn.Module) -> bool:
        """Whether the module has the parameters that this was made of, packed as they were."""
        return super().is_of(module) and (not self._settings or self._settings == _settings(module))

    def __call__(self, x: Rows, *, relu: bool = False) -> Rows:
        """Return the result, of a hidden layer (`relu`) a cache line more than whole pages apart.

        What stands in columns beyond `outputs` means nothing.
        """
        apart = self._width + (LINE if relu and self._width % PAGE == 0 else 0)
        y = np.empty((len(x), apart), np.float32)[:, : self._width]
        self._compute(x, y, 0, relu)
        return y

    def add(self, x: Rows, y: Rows) -> None:
        """Add the result to y."""
        self._compute(x, y, 1, False)

    def _compute(self, x: Rows, y: Rows, add: int, relu: bool) -> None:
        given = (len(x), _address(x), _apart(x), _address(y), _apart(y))
        kernels().engine_product(self._structs[relu], *given, add)


def _settings(linear: Any) -> tuple[Any, ...]:
    """Return how a layer's weights are packed; () where they are not."""
    packed = isinstance(linear, QuantizedLinear)
    return (linear.input_dims, linear.bits, linear.group_size, linear.mode) if packed else ()


class Norm(_Operation):
    """LayerNorm over D."""

    def __init__(self, norm: LayerNorm):
        super().__init__(norm)
        self._gain, self._shift = (in_float32(norm[name]) for name in self.names)
        self.size = len(self._gain)

    @staticmethod
    def can(norm: Any) -> bool:
        """Whether gain and shift are there, and for whole vectors."""
        weight, bias = norm.get("weight"), norm.get("bias")
        size = len(weight) if _is_array(weight, 1) else 1
        return size % kernels().engine_lanes() == 0 and _is_array(bias, 1, size)

    def __call__(self, x: Rows, eps: float) -> Rows:
        """Return the normalised rows, (M, D); x may be columns of something wider."""
        y = np.empty(x.shape, np.float32)
        gain, shift = _address(self._gain), _address(self._shift)
        kernels().engine_norm(*x.shape, _address(x), _apart(x), gain, shift, eps, _address(y))
        return y


class Memory(_Operation):
    """A depthwise convolution over time, within each utterance: an FSMN's memory, whole or in a stream."""

    names = ("weight",)

    def __init__(self, block: DepthwiseConv1d | Taps):
        super().__init__(block)
        self._taps = np.ascontiguousarray(in_float32(block.weight).reshape(block.weight.shape[:2]).T)  # (K, D)
        self.count, self.size = self._taps.shape

    @staticmethod
    def can(block: Any) -> bool:
        """Whether the taps are there, and for whole vectors."""
        weight = block.get("weight")
        known = _is_array(weight, 3) or _is_array(weight, 4)
        return known and set(weight.shape[2:]) == {1} and len(weight) % kernels().engine_lanes() == 0

    def add(self, v: Rows, starts: Starts, y: Rows, left: int) -> None:
        """Add v and the result to y, (M, D); v may be columns of something wider. `left` taps reach into the past."""
        arguments = (self.size, self.count, left, _address(self._taps), _address(v), _apart(v))
        kernels().engine_memory(len(starts) - 1, _address(starts), *arguments, _address(y))

    def recall(self, v: Rows, starts: Starts, y: Rows, apart: int, past: Past | None) -> None:
        """Add the result alone to y, (M, D), the last tap on the row itself; v may be columns of something wider.

        Taps stand `apart` frames from one another; before each utterance is its past, then zeros (None: zeros).
        """
        before = (0, None) if past is None else (past.shape[1], _address(past))
        arguments = (self.size, self.count, apart, _address(self._taps), *before, _address(v))
        kernels().engine_recall(len(starts) - 1, _address(starts), *arguments, _apart(v), _address(y))


class Weightless(_Operation):
    """What has no parameters: its operation is one of the rows, and this says that there is one."""

    names = ()

    @staticmethod
    def can(module: Any) -> bool:
        """Whether there is something to be done, which there always is."""
        return True


def softmax(x: Rows) -> Rows:
    """Return the probabilities over D, (M, D); x may be some columns of something wider."""
    y = np.empty(x.shape, np.float32)
    kernels().engine_softmax(*x.shape, _address(x), _apart(x), _address(y))
    return y


def _is_array(value: Any, ndim: int, size: int | None = None, *, dtypes: Collection[mx.Dtype] = tuple(KINDS)) -> bool:
    found = isinstance(value, mx.array) and value.ndim == ndim and value.dtype in dtypes
    return found and size in (None, value.shape[0])


OPERATIONS: dict[str, Any] = {  # cpu_int8.py adds one
    "Linear": Product, "QuantizedLinear": Product, "LayerNorm": Norm, "DepthwiseConv1d": Memory, "Taps": Memory,
    "RectifiedLinear": Weightless, "Softmax": Weightless,
}  # fmt: skip
KEPT = "_operation"  # the attribute of a module under which its operation stands


def operation(module: Any, kind: str | None = None) -> Any:
    """Return what computes a linear layer, a norm or an FSMN here, made anew where its parameters are others.

    None where nothing here does: another class, other functions, another precision, norms and taps that are no whole
    vectors. `kind` is the module's `kind_of`, where it is known.
    """
    make = OPERATIONS.get(kind_of(module) if kind is None else kind)
    if make is None:
        return None
    kept = vars(module).get(KEPT)
    if kept is None or not kept.is_of(module):
        kept = vars(module)[KEPT] = make(module) if make.can(module) else None
    return kept


def keep(module: Any, source: Source) -> None:
    """Let a linear layer be computed with its weight as it lies in `source`, where there is not something as good."""
    kept = vars(module).get(KEPT)
    make: Any = OPERATIONS.get(kind_of(module))
    if (kept is None or not kept.is_of(module)) and is_product(make) and make.can(module):
        vars(module)[KEPT] = make(module, source)


def is_product(make: Any) -> bool:
    """Whether an operation is one whose weight may lie in a mapped file."""
    return make is not None and issubclass(make, Product)


def attend(q: Rows, k: Rows, v: Rows, queries: Starts, keys: Starts, heads: int) -> Rows:
    """Return softmax(q k^T / sqrt(D/H)) v, each utterance's queries with its own keys; `attention.attend`.

    q (M, D); k and v (N, D) with the same stride. Each may be some columns of something wider.
    """
    y = np.empty(q.shape, np.float32)
    width = kernels().engine_width()
    room = np.empty((2, len(k) + len(keys) * width, k.shape[1] + heads * (-k.shape[1] // heads % width)), np.float32)
    kernels().engine_attention(
        len(queries) - 1, _address(queries), _address(keys), heads, q.shape[1] // heads,
        _address(q), _apart(q), _address(k), _address(v), _apart(k),
        _address(room), _address(y),
    )  # fmt: skip
    return y


def _address(array: np.ndarray | None) -> int | None:
    return None if array is None else array.__array_interface__["data"][0]  # a third of what `ctypes.data` takes


def _apart(rows: Rows) -> int:
    """Return how many numbers lie between the beginnings of two rows."""
    return rows.strides[0] // rows.itemsize


def starts_of(x: mx.array, mask: Mask) -> Starts:
    """Return where each utterance's rows begin, and where the last one's end; x (B, T, ...), mask (B, T)."""
    if mask is None:
        return np.arange(x.shape[0] + 1, dtype=np.int32) * x.shape[1]
    lengths = np.asarray(mask).sum(axis=1)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def rows_of(x: mx.array, starts: Starts) -> Rows:
    """Return (B, T, D) without its padding, (M, D) in float32: a copy, or the same memory where nothing is padded."""
    if starts[-1] == x.shape[0] * x.shape[1]:
        return in_float32(x).reshape(-1, x.shape[2])
    return np.concatenate([part[:size] for part, size in zip(in_float32(x), np.diff(starts), strict=True)])


def padded(rows: Rows, starts: Starts, size: int, dtype: mx.Dtype = mx.float32) -> mx.array:
    """Return rows as (B, size, D) in a model's precision, zero in the padding: a copy."""
    if len(rows) == (len(starts) - 1) * size:  # there is none
        return mx.array(rows.reshape(len(starts) - 1, size, rows.shape[1])).astype(dtype)
    x = np.zeros((len(starts) - 1, size, rows.shape[1]), np.float32)
    for part, start, end in zip(x, starts, starts[1:], strict=False):
        part[: end - start] = rows[start:end]
    return mx.array(x).astype(dtype)
