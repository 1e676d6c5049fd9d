"""A Paraformer's encoder and decoder on a CPU, on kernels of our own (`cpu_engine.c`).

MLX computes everything but matrix products on one thread of a CPU, and scalar where weights are quantised. Here
products, attention, FSMN memory and LayerNorm run on all threads; padding is not computed, and no row's bits depend on
what it is batched with. The classes below read like the modules that they are made from, and compute the same in
float32. The weights of linear layers are read where they lie, row after row: in a mapped file (`mapped_file.py`), or in
MLX's memory. What they are turned or restored to never leaves a core's cache.

Rows are the frames or tokens of all utterances, one after the other: float32, (M, D) with M = the sum of their lengths;
`starts` (B + 1,) says where each begins.
"""

from __future__ import annotations

import ctypes
import functools
import operator
import platform
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Float, Int

from mlx_model import cpu_lanes
from mlx_model.attention import Mask, TokenMask
from mlx_model.blas import mx, nn, tree_flatten
from mlx_model.compiler import compiled
from mlx_model.cpu_kernels import on_gpu
from mlx_model.layers import DepthwiseConv1d, LayerNorm, Linear, QuantizedLinear

if TYPE_CHECKING:
    from mlx_model.decoder import DecoderLayerSANM, ParaformerSANMDecoder
    from mlx_model.encoder import EncoderLayerSANM, SANMEncoder
    from mlx_model.paraformer import Model

Rows = Float[np.ndarray, "M _"]
Starts = Int[np.ndarray, " B1"]
Source = Callable[[nn.Module, str], np.ndarray]  # where a module's parameter lies in memory
FLOAT32, CODES = 32, (4, 6, 8)  # bits of a weight


class _Linear(ctypes.Structure):
    """`linear` of cpu_engine.c."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("n", ctypes.c_int),
        ("k", ctypes.c_int),
        ("relu", ctypes.c_int),
        ("size", ctypes.c_int),
        ("group", ctypes.c_int),
        ("groups", ctypes.c_int),
        ("scales", ctypes.c_void_p),
        ("biases", ctypes.c_void_p),
    )


_P, _I, _L, _F = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_float
_SIGNATURES = {
    "engine_width": (),
    "engine_threads": (_I,),
    "engine_product": (ctypes.POINTER(_Linear), _I, _P, _P, _L, _I),
    "engine_norm": (_I, _I, _P, _P, _P, _F, _P),
    "engine_memory": (_I, _P, _I, _I, _I, _P, _P, _L, _P),
    "engine_attention": (_I, _P, _P, _I, _I, _P, _L, _P, _P, _L, _P, _P),
}


@functools.cache
def kernels() -> ctypes.CDLL:
    """Return cpu_engine.c, compiled once and with its threads. Written for AVX2 and FMA, and measured with them.

    Raises:
        OSError: the processor is another, or there is no compiler.
    """
    if platform.machine() != "x86_64" or not {"avx2", "fma"} <= _processor_flags():
        raise OSError("the engine is written for x86-64 with AVX2 and FMA")
    found = ctypes.CDLL(str(compiled("cpu_engine.c", "-O3", "-mavx2", "-mfma", "-fno-math-errno", "-pthread")))
    for name, arguments in _SIGNATURES.items():
        getattr(found, name).argtypes = arguments
    found.engine_threads(cpu_lanes.cores())
    return found


@functools.cache
def available() -> bool:
    """Whether the engine can be used on this machine."""
    try:
        kernels()
    except OSError:
        return False
    return True


def _processor_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return set(next((line for line in lines if line.startswith("flags")), "").split())
    except OSError:
        return set()


def serves(model: Model) -> bool:
    """Whether the engine can compute this model here: a CPU it knows, float32, widths that are whole vectors.

    Quantised weights, too, where what they meet is float32.
    """
    if on_gpu() or not available():
        return False
    width = kernels().engine_width()
    linears = [module for module in model.modules() if isinstance(module, (nn.Linear, nn.QuantizedLinear))]
    size, heads = model.config.encoder.output_size, (model.config.encoder, model.config.decoder)
    return (
        model.dtype == mx.float32
        and all(_known(module) for module in linears)
        and all(size % (part.attention_heads * width) == 0 and part.linear_units % width == 0 for part in heads)
        and model.config.frontend.output_size % width == 0
    )


def _known(module: nn.Module) -> bool:
    if type(module) is QuantizedLinear:
        return module.bits in CODES
    return type(module) is Linear and module.weight.dtype == mx.float32


def weights_of(model: Model) -> set[str]:
    """Return the names of the weights that the engine reads where they lie: its linear layers'."""
    parts = {"encoder": model.encoder, "decoder": model.decoder}
    modules = ((f"{name}.{path}", module) for name, part in parts.items() for path, module in part.named_modules())
    return {f"{path}.weight" for path, module in modules if isinstance(module, (nn.Linear, nn.QuantizedLinear))}


def in_memory(module: nn.Module, key: str) -> np.ndarray:
    """Return a module's parameter as MLX holds it, copied only where its rows lie apart."""
    return np.ascontiguousarray(np.asarray(module[key]))


def mapped(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> Source:
    """Return the source of a model's parameters: `arrays` where they have its name, else MLX's memory."""
    names = {id(module): name for name, module in model.named_modules()}

    def source(module: nn.Module, key: str) -> np.ndarray:
        found = arrays.get(f"{names[id(module)]}.{key}")
        return in_memory(module, key) if found is None else found

    return source


class Product:
    """relu?(x W^T + bias), (M, Din) -> (M, Dout rounded up to whole vectors); Din is whole vectors."""

    def __init__(self, linear: Linear | QuantizedLinear, source: Source = in_memory, *, relu: bool = False):
        self._weight = source(linear, "weight")
        self.outputs = len(self._weight)
        padding = -self.outputs % kernels().engine_width()
        self._width = self.outputs + padding
        self._bias = np.pad(np.array(linear.bias), (0, padding)) if "bias" in linear else None
        self._struct = _Linear(
            weights=_address(self._weight), bias=_address(self._bias), n=self.outputs, k=self._weight.shape[1],
            relu=relu, size=FLOAT32,
        )  # fmt: skip
        if isinstance(linear, QuantizedLinear):
            self._read_codes(linear)

    def _read_codes(self, linear: QuantizedLinear) -> None:
        self._factors = [np.array(linear[name].astype(mx.float32)) for name in ("scales", "biases")]
        self._struct.scales, self._struct.biases = map(_address, self._factors)
        self._struct.k, self._struct.size = linear.input_dims, linear.bits
        self._struct.group, self._struct.groups = linear.group_size, linear.scales.shape[1]

    def __call__(self, x: Rows) -> Rows:
        """Return the result; what stands in columns beyond `outputs` means nothing."""
        y = np.empty((len(x), self._width), np.float32)
        self._compute(x, y, 0)
        return y

    def add(self, x: Rows, y: Rows) -> None:
        """Add the result to y."""
        self._compute(x, y, 1)

    def _compute(self, x: Rows, y: Rows, add: int) -> None:
        kernels().engine_product(self._struct, len(x), x.ctypes.data, y.ctypes.data, self._width, add)


class Norm:
    """LayerNorm over D."""

    def __init__(self, norm: LayerNorm):
        self._gain, self._shift, self._eps = np.array(norm.weight), np.array(norm.bias), norm.eps

    def __call__(self, x: Rows) -> Rows:
        """Return the normalised rows, (M, D)."""
        y = np.empty_like(x)
        gain, shift = self._gain.ctypes.data, self._shift.ctypes.data
        kernels().engine_norm(*x.shape, x.ctypes.data, gain, shift, self._eps, y.ctypes.data)
        return y


class Memory:
    """The FSMN: v and its depthwise convolution over time, within each utterance; `attention.forward_fsmn`."""

    def __init__(self, block: DepthwiseConv1d):
        self._taps = np.ascontiguousarray(np.array(block.weight)[:, :, 0].T)  # (K, D)
        self._left = block.left

    def add(self, v: Rows, starts: Starts, y: Rows) -> None:
        """Add the result to y, (M, D); v may be some columns of something wider."""
        taps, size = self._taps.shape
        arguments = (size, taps, self._left, self._taps.ctypes.data, v.ctypes.data, v.strides[0] // v.itemsize)
        kernels().engine_memory(len(starts) - 1, starts.ctypes.data, *arguments, y.ctypes.data)


def attend(q: Rows, k: Rows, v: Rows, queries: Starts, keys: Starts, heads: int) -> Rows:
    """Return softmax(q k^T / sqrt(D/H)) v, each utterance's queries with its own keys; `attention.attend`.

    q (M, D); k and v (N, D) with the same stride. Each may be some columns of something wider.
    """
    y = np.empty(q.shape, np.float32)
    room = np.empty((2, len(k) + len(keys) * kernels().engine_width(), k.shape[1]), np.float32)
    kernels().engine_attention(
        len(queries) - 1, queries.ctypes.data, keys.ctypes.data, heads, q.shape[1] // heads,
        q.ctypes.data, q.strides[0] // q.itemsize, k.ctypes.data, v.ctypes.data, k.strides[0] // k.itemsize,
        room.ctypes.data, y.ctypes.data,
    )  # fmt: skip
    return y


class EncoderLayer:
    """See encoder.EncoderLayerSANM."""

    def __init__(self, layer: EncoderLayerSANM, source: Source):
        attention, forward = layer.self_attn, layer.feed_forward
        self.residual, self.heads = layer.residual, attention.heads
        self.norm1, self.norm2 = Norm(layer.norm1), Norm(layer.norm2)
        self.linear_q_k_v, self.linear_out = (
            Product(linear, source) for linear in (attention.linear_q_k_v, attention.linear_out)
        )
        self.fsmn_block = Memory(attention.fsmn_block)
        self.w_1, self.w_2 = Product(forward.w_1, source, relu=True), Product(forward.w_2, source)

    def __call__(self, x: Rows, starts: Starts) -> Rows:
        """Return the layer's output, in x's place where the widths agree."""
        q, k, v = np.split(self.linear_q_k_v(self.norm1(x)), 3, axis=1)
        y = x if self.residual else np.zeros(q.shape, np.float32)
        self.fsmn_block.add(v, starts, y)
        self.linear_out.add(attend(q, k, v, starts, starts, self.heads), y)
        self.w_2.add(self.w_1(self.norm2(y)), y)
        return y


class CrossAttention:
    """See attention.MultiHeadedAttentionCrossAtt, with the norm before it."""

    def __init__(self, layer: DecoderLayerSANM, source: Source):
        attention: Any = layer.src_attn
        self.heads, self.norm3 = attention.heads, Norm(layer.norm3)
        self.linear_q, self.linear_k_v, self.linear_out = (
            Product(linear, source) for linear in (attention.linear_q, attention.linear_k_v, attention.linear_out)
        )

    def add(self, memory: Rows, tokens: Starts, frames: Starts, x: Rows) -> None:
        """Add what x attends to to x."""
        k, v = np.split(self.linear_k_v(memory), 2, axis=1)
        self.linear_out.add(attend(self.linear_q(self.norm3(x)), k, v, tokens, frames, self.heads), x)


class DecoderLayer:
    """See decoder.DecoderLayerSANM."""

    def __init__(self, layer: DecoderLayerSANM, source: Source):
        forward, fsmn = layer.feed_forward, layer.self_attn
        self.norm1, self.norm = Norm(layer.norm1), Norm(forward.norm)
        self.w_1, self.w_2 = Product(forward.w_1, source, relu=True), Product(forward.w_2, source)
        self.self_attn = None if fsmn is None else (Norm(layer.norm2), Memory(fsmn.fsmn_block))
        self.src_attn = None if layer.src_attn is None else CrossAttention(layer, source)

    def __call__(self, tgt: Rows, memory: Rows, tokens: Starts, frames: Starts) -> Rows:
        """Return the layer's output; tgt is used up."""
        x = self.w_2(self.norm(self.w_1(self.norm1(tgt))))
        if self.self_attn is not None:
            norm2, fsmn_block = self.self_attn
            fsmn_block.add(norm2(x), tokens, tgt)
            x = tgt
        if self.src_attn is not None:
            self.src_attn.add(memory, tokens, frames, x)
        return x


class _Part:
    """The engine's half of a module. It knows what it was made of: a module's weights may be replaced later."""

    def __init__(self, module: nn.Module):
        leaves = tree_flatten(module.parameters())
        paths = ([int(key) if key.isdigit() else key for key in name.split(".")] for name, _ in leaves)
        self._made_of = list(zip(paths, (array for _, array in leaves), strict=True))

    def is_of(self, module: nn.Module) -> bool:
        """Whether the module still has every parameter that this was made of."""
        try:
            return all(functools.reduce(operator.getitem, path, module) is array for path, array in self._made_of)
        except (KeyError, IndexError):  # a layer was replaced by one of another kind
            return False

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self  # nothing in it changes, and its kernels know it by address


class Encoder(_Part):
    """What follows scale and positions in encoder.SANMEncoder."""

    def __init__(self, encoder: SANMEncoder, source: Source = in_memory):
        super().__init__(encoder)
        self.layers = [EncoderLayer(layer, source) for layer in encoder.layers]
        self.after_norm = Norm(encoder.after_norm)

    def __call__(self, x: Float[mx.array, "B T Din"], mask: Mask) -> Float[mx.array, "B T D"]:
        """Return the encoder's output, zero in the padding."""
        starts = starts_of(x, mask)
        rows = rows_of(x, starts)
        for layer in self.layers:
            rows = layer(rows, starts)
        return padded(self.after_norm(rows), starts, x.shape[1])


class Decoder(_Part):
    """decoder.ParaformerSANMDecoder."""

    def __init__(self, decoder: ParaformerSANMDecoder, source: Source = in_memory):
        super().__init__(decoder)
        self.layers = [DecoderLayer(layer, source) for layer in decoder.layers]
        self.after_norm, self.output_layer = Norm(decoder.after_norm), Product(decoder.output_layer, source)

    def __call__(
        self, embeds: Float[mx.array, "B U D"], tgt_mask: TokenMask, memory: Float[mx.array, "B T D"], memory_mask: Mask
    ) -> Float[mx.array, "B U V"]:
        """Return the logits, zero in the padding."""
        tokens, frames = starts_of(embeds, tgt_mask), starts_of(memory, memory_mask)
        x, encoder_out = rows_of(embeds, tokens), rows_of(memory, frames)
        for layer in self.layers:
            x = layer(x, encoder_out, tokens, frames)
        logits = self.output_layer(self.after_norm(x))[:, : self.output_layer.outputs]
        return padded(logits, tokens, embeds.shape[1])


E = TypeVar("E", bound=_Part)


def in_force(engine: E | None, module: nn.Module) -> E | None:
    """Return a module's engine where it is to compute: not where modules are watched, nor with weights of before."""
    usable = engine is not None and not cpu_lanes.forced() and engine.is_of(module)
    return engine if usable else None


def _address(array: np.ndarray | None) -> int | None:
    return None if array is None else array.ctypes.data


def starts_of(x: mx.array, mask: Mask) -> Starts:
    """Return where each utterance's rows begin, and where the last one's end; x (B, T, ...), mask (B, T)."""
    lengths = np.full(x.shape[0], x.shape[1]) if mask is None else np.asarray(mask).sum(axis=1)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def rows_of(x: mx.array, starts: Starts) -> Rows:
    """Return (B, T, D) without its padding, (M, D): a copy."""
    return np.concatenate([part[:size] for part, size in zip(np.asarray(x), np.diff(starts), strict=True)])


def padded(rows: Rows, starts: Starts, size: int) -> mx.array:
    """Return rows as (B, size, D), zero in the padding."""
    x = np.zeros((len(starts) - 1, size, rows.shape[1]), np.float32)
    for part, start, end in zip(x, starts, starts[1:], strict=False):
        part[: end - start] = rows[start:end]
    return mx.array(x)
