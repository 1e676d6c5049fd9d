"""The operations layers are written of: linear, norm, attend, memory, recall, relu and `+`. They choose by their rows.

A layer's body is written once, in `parts/`, and computed in as many ways as there are kinds of rows. An `mx.array`
(B, T, D) is one: then MLX computes, on a CPU with `ops_cpu.py` where that is faster or more exact. Any other kind is a
subclass of `Rows`: one engine, one method per operation. This file imports no engine: `engines.fit` puts them on a
model's stacks, and a stack's call begins and ends with

    x, mask = enter(x, mask, self)
    ...
    return leave(x)

For a new engine: subclass `Rows`, and give `engines/__init__.py` an `Engine` whose `enter` returns such rows, or None
where it will not compute this stack. Rows know how long each recording is, so layers get no mask. Operations may wait:
a product for the ReLU behind it, a sum for the norm behind it; whoever asks for a value (`leave`) gets it at once.
Everything of a module that is no weight (eps, heads, padding) is read when the operation is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

from jaxtyping import Bool, Float, UInt

from mlx_model import ops_cpu
from mlx_model.machine import device
from mlx_model.machine.blas import mx, nn

Mask = Bool[mx.array, "B T"] | None  # False in the padding; None where nothing is padded
TokenMask = Bool[mx.array, "B U"] | None
Seen = Bool[mx.array, "B U T"] | None  # which keys each query sees; padding is none of them
X: TypeAlias = Any  # an mx.array (B, T, D), or an engine's Rows of the same
PLAIN = "plain"  # the name of what MLX computes, module by module


class Rows:
    """One engine's kind of rows: the frames or tokens of a batch on their way through a stack.

    No ABC: `isinstance` of one takes a quarter of a microsecond, a thousand times a call.
    """

    __slots__ = ()

    def linear(self, module: Any) -> Any:
        """Return x W^T + bias."""
        raise NotImplementedError

    def norm(self, module: Any) -> Any:
        """Return LayerNorm over the last axis."""
        raise NotImplementedError

    def attend(self, k: Any, v: Any, heads: int) -> Any:
        """Return softmax(x k^T / sqrt(D/H)) v, each recording's rows with its own keys."""
        raise NotImplementedError

    def memory(self, block: Any) -> Any:
        """Return the rows plus their depthwise convolution over time, within each recording."""
        raise NotImplementedError

    def recall(self, taps: Any, past: mx.array | None) -> tuple[Any, mx.array]:
        """Return the convolution with taps that reach into the past, and the past of what comes next."""
        raise NotImplementedError

    def behind(self, past: Float[mx.array, "B P _"]) -> Any:
        """Return longer recordings: these behind frames of their past."""
        raise NotImplementedError

    def softmax(self) -> Any:
        """Return the probabilities over the last axis."""
        raise NotImplementedError

    def relu(self) -> Any:
        """Return max(x, 0)."""
        raise NotImplementedError

    def split(self, parts: int) -> Sequence[Any]:
        """Return equal parts of the columns."""
        raise NotImplementedError

    def __add__(self, other: Any) -> Any:
        """Return the sum with rows of the same recordings."""
        raise NotImplementedError

    def beside(self, x: Float[mx.array, "B T _"], mask: Mask) -> Any:
        """Return rows of this kind for other inputs of the same stack: a decoder's encoder_out."""
        raise NotImplementedError

    def like(self, x: Float[mx.array, "B T _"]) -> Any:
        """Return rows of the same recordings that hold x: what `leave` returned, or something in its place."""
        raise NotImplementedError

    def leave(self) -> Float[mx.array, "B T _"]:
        """Return the rows as one array; what stands in the padding means nothing."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin to compute, where that is put off."""


class Engine(Protocol):
    """What offers rows to a stack. Names: "CPU engine", "lanes", "GPU path"."""

    name: str

    def enter(self, x: Float[mx.array, "B T _"], mask: Mask, stack: nn.Module) -> Rows | None:
        """Return x as this engine's rows; None where it does not compute this stack, or not here."""
        ...

    def recur(self, gates: mx.array, module: Any, names: Sequence[str]) -> mx.array | None:
        """Return what `recur` does, computed; None where this engine has no recurrences, or not this one."""
        ...

    def in_words(self, stack: nn.Module) -> str:
        """Return what computes a stack here, for results; "" where this engine would not."""
        ...


class Stack(nn.Module):
    """A module that enters and leaves; what `engines.fit` puts on it may compute its layers."""


class Offers:
    """The engines on a module, best first. One object for all modules, that is not copied with them."""

    def __init__(self, engines: Sequence[Engine]):
        self.engines = tuple(engines)

    def __deepcopy__(self, memo: dict[int, Any]) -> Offers:
        return self


OFFERS = "_offers"  # the attribute they stand under
_only: list[str] = []


@contextmanager
def only(name: str) -> Iterator[None]:
    """Compute by the engine of this name alone inside the block, or by MLX where it does not compute.

    And step by step: modules can be watched, nothing runs ahead, is padded to few shapes or compiled.
    """
    _only.append(name)
    try:
        yield
    finally:
        _only.pop()


def chosen() -> str | None:
    """Return the name of the engine that `only` asks for; None where the best is to be taken."""
    return _only[-1] if _only else None


def offered(stack: nn.Module) -> list[Engine]:
    """Return the engines that may be asked to compute a stack, best first."""
    found: Offers | None = vars(stack).get(OFFERS)
    wanted = chosen()
    return [engine for engine in (found.engines if found else ()) if wanted in (None, engine.name)]


def in_words(*stacks: nn.Module) -> str:
    """Return what computes these stacks here, in words; see `numerics.py`."""
    words = list(dict.fromkeys(_words_of(stack) for stack in stacks))
    if len(words) == 1:
        return words[0]
    return "; ".join(f"{_called(stack)}: {_words_of(stack)}" for stack in stacks)


def _words_of(stack: nn.Module) -> str:
    found = (engine.in_words(stack) for engine in offered(stack))
    return next(filter(None, found), "MLX on the GPU, module by module" if device.on_gpu() else "MLX, module by module")


def _called(stack: nn.Module) -> str:
    name = type(stack).__name__
    return next((part for part in ("decoder", "encoder") if part.title() in name), name)


def enter(x: Any, mask: Mask, stack: nn.Module, like: Any = None) -> tuple[Any, Mask]:
    """Return x (B, T, D) as the rows that a stack's layers are given, and the mask they get: None for an engine's rows.

    Args:
        x: the input, padded.
        mask: where it is not padding, (B, T).
        stack: the module whose layers come; an engine computes only what it knows all modules of.
        like: what another input of the same stack has become; this one becomes the same kind.
    """
    if like is not None:
        return (like.beside(x, mask), None) if isinstance(like, Rows) else (x, mask)
    for engine in offered(stack):
        rows = engine.enter(x, mask, stack)
        if rows is not None:
            return rows, None
    device.share_products()
    return x, mask


class Ahead(Protocol):
    """What runs the two steps of a model, `listen` and `spell`, in a device's own way: `engines/shapes.py`."""

    def begin(self, model: Any, feats: mx.array, sizes: list[int]) -> Callable[[], Any]:
        """Start a batch's first step, and return the function that finishes it and returns the model's output."""
        ...

    def takes(self, model: Any) -> bool:
        """Whether it runs this model, here and now."""
        ...

    def compile(self) -> None:
        """Let graphs be compiled from now on, of the model as it then is."""
        ...

    def in_words(self) -> str:
        """Return how it runs a model, for results."""
        ...


AHEAD = "_ahead"  # the attribute it stands under


def ahead(model: nn.Module) -> Ahead | None:
    """Return what runs a model's steps ahead of the host's questions; None where they run when they are asked for."""
    found: Ahead | None = vars(model).get(AHEAD)
    return found if found is not None and found.takes(model) else None


def compile_steps(model: nn.Module) -> None:
    """Let what runs a model's steps ahead compile them; nothing where nothing does."""
    found: Ahead | None = vars(model).get(AHEAD)
    if found is not None:
        found.compile()


def leave(x: Any) -> mx.array:
    """Return what `enter`'s rows have become as one array, (B, T, D)."""
    return x.leave() if isinstance(x, Rows) else x


def through(layers: Sequence[Any], x: Any, *given: Any) -> Any:
    """Return what layers make of x, one after the other; a CPU begins with one while the next one's graph is built."""
    for layer in layers:
        x = layer(x, *given)
        start(x)
    return x


def start(x: Any) -> None:
    """Let x be computed while the host builds what comes next; nothing on a GPU, which is given whole graphs."""
    if isinstance(x, Rows):
        x.start()
    elif not device.on_gpu():
        mx.async_eval(x)


def linear(x: X, module: Any, *, relu: bool = False) -> X:
    """Return x W^T + bias, W plain or quantised (which then says how MLX does it); with `relu`, nothing below 0.

    On a CPU the bias is added after the product: MLX's own (addmm) first copies it to every row.
    """
    if isinstance(x, Rows):
        y = x.linear(module)
    elif "scales" in module:
        y = module.by_mlx(x)
    elif device.on_gpu() or "bias" not in module:
        y = nn.Linear.__call__(module, x)
    else:
        y = x @ module.weight.T + module.bias
    return _relu(y) if relu else y


def norm(x: X, module: Any) -> X:
    """Return LayerNorm over the last axis, with the module's eps."""
    if isinstance(x, Rows):
        return x.norm(module)
    kernel: Callable[..., Any] = mx.fast.layer_norm if device.on_gpu() else ops_cpu.layer_norm
    return kernel(x, module.weight, module.bias, module.eps)


def relu(x: X) -> X:
    """Return max(x, 0)."""
    return x.relu() if isinstance(x, Rows) else nn.relu(x)


_relu = relu  # `linear` has an argument of that name


def split(x: X, parts: int) -> Sequence[X]:
    """Return equal parts of the last axis."""
    return x.split(parts) if isinstance(x, Rows) else list(mx.split(x, parts, axis=-1))


def by_row(function: Callable[..., mx.array], first: X, *others: X) -> X:
    """Return function(first, ...) of rows of the same recordings: something row by row that is no operation here."""
    if isinstance(first, Rows):
        return first.like(function(first.leave(), *(other.leave() for other in others)))
    return function(first, *others)


def attend(q: X, k: X, v: X, heads: int, mask: Mask, seen: Seen = None) -> X:
    """Return softmax(q k^T / sqrt(D/H)) v with padded keys left out, (B, U, D); k and v (B, T, D).

    Mirrors MultiHeadedAttentionSANM.forward_attention before `linear_out`: scores of padded keys are -inf there.
    `seen` says of every query which keys it sees, in the place of `mask`; no engine's rows have an operation for it,
    so that rows leave, and what comes of them enters again.
    """
    if isinstance(q, Rows):
        if seen is None:
            return q.attend(k, v, heads)
        return q.like(attend(q.leave(), k.leave(), v.leave(), heads, None, seen))
    q, k, v = (split_heads(part, heads) for part in (q, k, v))  # each (B, H, ., D/H)
    if not device.on_gpu():
        return attend_blocks(q, [k], [v], [mask if seen is None else seen.transpose(0, 2, 1)])
    keep = None if mask is None else mask[:, None, None, :]
    keep = keep if seen is None else seen[:, None]
    context = mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=keep)  # (B, H, U, Dh)
    return context.transpose(0, 2, 1, 3).flatten(-2)  # (B, U, D)


def attend_blocks(
    q: Float[mx.array, "B H U Dh"],
    keys: Sequence[mx.array],
    values: Sequence[mx.array],
    masks: Sequence[Bool[mx.array, "B _"] | Bool[mx.array, "B _ U"] | None],
) -> Float[mx.array, "B U D"]:
    """Return the same on a CPU, heads apart, with keys, values and mask in blocks of rows."""
    return ops_cpu.scaled_dot_product_attention(q, keys, values, scale=q.shape[-1] ** -0.5, masks=masks).flatten(-2)


def split_heads(x: Float[mx.array, "B T D"], heads: int) -> Float[mx.array, "B H T Dh"]:
    """Return (B, H, T, D/H): contiguous groups of D/H channels per head, never interleaved."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)  # (B, H, T, D/H)


def masked(x: Float[mx.array, "B T D"], mask: Mask) -> Float[mx.array, "B T D"]:
    """Return x with padded positions set to zero."""
    return x if mask is None else mx.where(mask[:, :, None], x, mx.zeros((), dtype=x.dtype))


def memory(v: X, block: Any, mask: Mask) -> X:
    """Return the FSMN's memory: masked input, plus its depthwise convolution over time, masked again."""
    if isinstance(v, Rows):
        return v.memory(block)
    inputs = masked(v, mask)
    return masked(block(inputs) + inputs, mask)


def softmax(x: X) -> X:
    """Return the probabilities over the last axis, their exponentials taken and added up in float32."""
    return x.softmax() if isinstance(x, Rows) else mx.softmax(x, axis=-1, precise=True)


def recur(gates: Float[mx.array, "K B T G"], module: Any, names: Sequence[str]) -> Float[mx.array, "K B T H"] | None:
    """Return the states of an LSTM layer's recurrences side by side, by an engine; None: the module's own `recur` does.

    Args:
        gates: what inputs and biases add to the gates at every step, float32.
        module: an LSTM.
        names: of its weights, (4H, H), one for each recurrence.
    """
    found = (engine.recur(gates, module, names) for engine in offered(module))
    return next((states for states in found if states is not None), None)


def depthwise(x: Float[mx.array, "B T D"], block: Any) -> Float[mx.array, "B T D"]:
    """Return the convolution of an FSMN's taps with what they reach of x, which is padded as the block says."""
    if device.on_gpu() and block.left == block.right:  # the kernel pads by itself, and saves a copy
        return mx.conv1d(x, block.weight, padding=block.left, groups=x.shape[-1])
    return convolve(block.pad(x), block)


def convolve(padded: Float[mx.array, "B Tp D"], block: Any) -> Float[mx.array, "B T D"]:
    """Return the convolution of frames that are padded already."""
    if device.on_gpu():
        return mx.conv1d(padded, block.weight, groups=padded.shape[-1])
    return ops_cpu.depthwise_conv1d(padded, block.taps())


def dilated(padded: Float[mx.array, "B Tp D"], module: Any) -> Float[mx.array, "B T D"]:
    """Return the convolution of padded frames with taps that stand `module.stride` frames apart."""
    if device.on_gpu():
        return mx.conv1d(padded, module.weight[..., 0], dilation=module.stride, groups=padded.shape[-1])
    taps, weights = module.taps()
    return ops_cpu.dilated_conv1d(padded, taps, weights, module.stride)


def argmax(logits: Float[mx.array, "*batch V"]) -> UInt[mx.array, "*batch"]:
    """Return the index of the largest of the last axis, the first of equal ones; on a CPU it is waited for."""
    return logits.argmax(axis=-1) if device.on_gpu() else ops_cpu.argmax(logits)


def mel_energies(frames: Float[mx.array, "B F W"], n_fft: int, banks: mx.array) -> Float[mx.array, "B F M"]:
    """Return |DFT|^2 of zero-padded frames without the Nyquist bin, by mel bands, (N, M): on a GPU by MLX's FFT."""
    if not device.on_gpu():
        return ops_cpu.mel_energies(frames, n_fft, banks)
    spectrum = mx.fft.rfft(frames, n=n_fft, axis=-1)[..., : n_fft // 2]
    return (mx.square(spectrum.real) + mx.square(spectrum.imag)) @ banks
