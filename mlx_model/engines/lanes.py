"""The encoder's and the decoder's layers with their rows side by side on the cores of a CPU.

MLX's CPU back end computes everything but matrix products on one thread per stream. So a sequence is cut into blocks of
rows, one per lane; a lane is a stream, and its matrix products run on one thread (`use_lanes`). Almost all of a
layer works row by row. What needs other rows, keys, values and the FSMN's neighbours, is joined in between: once per
encoder layer, twice per decoder layer.

The modules are those of the plain path, and so is every row's arithmetic; `encoder.py` and `decoder.py` say what a
layer is. Where a layer may be another (`follows`), or modules are watched one by one, in parity, the plain path runs
(`exactly(1)`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mlx_model.machine import blas
from mlx_model.machine.blas import mx
from mlx_model.machine.device import cores, on_gpu
from mlx_model.machine.kept import kind_of
from mlx_model.parts.attention import Mask, TokenMask, attend_blocks, masked, split_heads
from mlx_model.parts.basic import DepthwiseConv1d

if TYPE_CHECKING:
    from mlx_model.parts.sanm import DecoderLayerSANM, EncoderLayerSANM, ParaformerSANMDecoder, SANMEncoder

Blocks = list[mx.array]
MOST_CORES = 4  # measured with 2; on many cores the blocks get too thin, and one product for all serves better
LEAST_ROWS = 32  # in a block: each lane packs all weights for itself, which thin blocks do not repay

_forced: list[int] = []


def use_lanes(x: mx.array, layers: Sequence[Any] = ()) -> bool:
    """Return whether x (B, T, D) is to be computed by these layers in lanes, and give the BLAS its threads for that.

    Not on GPUs, on macOS, on one core or on many, nor for short sequences.
    """
    if not possible():
        return len(_forced) > 0 and _forced[-1] > 1 and follows(layers)
    several = _count(x) > 1 and follows(layers)
    blas.use_threads(1 if several else cores())
    return several


def possible() -> bool:
    """Return whether this machine is one for lanes."""
    return not on_gpu() and bool(blas.status().library) and 1 < cores() <= MOST_CORES


def follows(layers: Sequence[Any]) -> bool:
    """Return whether layers do what the functions below (and those of gpu.py) do in their place; see `kept.kind_of`.

    What they call may be of any class.
    """
    return all(_follows(layer) for layer in layers)


def _follows(layer: Any) -> bool:
    kind, fsmn = kind_of(layer), getattr(layer, "self_attn", None)
    if kind == "EncoderLayerSANM":
        return kind_of(fsmn) == "MultiHeadedAttentionSANM" and _remembers(fsmn)
    across = getattr(layer, "src_attn", None)
    return (
        kind == "DecoderLayerSANM"
        and (fsmn is None or (kind_of(fsmn) == "MultiHeadedAttentionSANMDecoder" and _remembers(fsmn)))
        and (across is None or kind_of(across) == "MultiHeadedAttentionCrossAtt")
    )


def _remembers(attention: Any) -> bool:
    return kind_of(attention.fsmn_block) == "DepthwiseConv1d" and attention.fsmn_block.keeps_length


def _count(x: mx.array) -> int:
    rows = x.shape[1]
    return max(1, min(_forced[-1] if _forced else cores(), rows if _forced else x.shape[0] * rows // LEAST_ROWS, rows))


def in_words(part: Any) -> str:
    """Return what computes an encoder or decoder here; it asks what their `__call__` asks."""
    if part._engine is not None and part._engine.takes(part):
        return f"CPU engine (AVX2 and FMA, {cores()} threads)"
    if on_gpu():
        return "MLX on the GPU, module by module"
    if possible() and not _forced and follows(part.layers):
        return f"MLX, long batches in {cores()} lanes"
    return "MLX, module by module"


def forced() -> bool:
    """Return whether `exactly` is in force."""
    return len(_forced) > 0


@contextmanager
def exactly(count: int) -> Iterator[None]:
    """Compute by the modules, in so many lanes, inside the block: in 1 where they are watched one by one."""
    _forced.append(count)
    try:
        yield
    finally:
        _forced.pop()


class _End:
    """Dies with the thread it belongs to, in it: a stream that outlives its thread may abort the process at its end."""

    def __del__(self) -> None:
        mx.clear_streams()


class _Streams(threading.local):
    """The streams of one Python thread: MLX gives a stream to the thread that made it.

    So any thread may call a model, one at a time. Call from a pool of threads, not from ever new ones: MLX 0.32 keeps
    some of a stream's resources when it is cleared.
    """

    def __init__(self) -> None:
        self.lanes = [mx.default_stream(mx.cpu)]
        self.aside = mx.new_stream(mx.cpu)
        self.end = None if threading.current_thread() is threading.main_thread() else _End()


_own = _Streams()


def _streams(count: int) -> list[Any]:
    while len(_own.lanes) < count:
        _own.lanes.append(mx.new_stream(mx.cpu))
    return _own.lanes[:count]


def aside() -> Any:
    """Return the stream for work to be done beside the lanes' (the next batch's features); a GPU has one for all."""
    return mx.default_stream(mx.default_device()) if on_gpu() else _own.aside


def each(function: Callable[..., Any], *blocks: Sequence[Any]) -> list[Any]:
    """Return function(block, ...) of every lane's blocks, each computed on its lane's stream."""
    results = []
    for stream, *given in zip(_streams(len(blocks[0])), *blocks, strict=True):
        with mx.stream(stream):
            results.append(function(*given))
    return results


def turns(count: int) -> list[Any]:
    """Return a stream for each of `count` computations that need nothing of one another: the lanes in turn."""
    several = possible()
    streams = _streams(cores()) if several else [mx.default_stream(mx.default_device())]
    if several:
        blas.use_threads(1)
    return [streams[number % len(streams)] for number in range(count)]


def start(*arrays: Any) -> None:
    """Let a CPU begin with what is asked for so far, while this thread builds the graph of the next layer."""
    if not on_gpu():
        mx.async_eval(*arrays)


def cut(x: mx.array) -> Blocks:
    """Return (B, T, D) as blocks of rows, (B, t, D) each, as many as there are lanes (and no empty ones)."""
    rows, count = x.shape[1], _count(x)
    return list(mx.split(x, [rows * lane // count for lane in range(1, count)], axis=1))


def cut_mask(mask: Mask, x: mx.array) -> list[Mask]:
    """Return the mask of each of x's blocks, (B, t); None where there is none."""
    if mask is None:
        return [None for _ in cut(x)]
    return [block[..., 0] for block in cut(mask[:, :, None])]


def joined(blocks: Sequence[mx.array], axis: int = 1) -> mx.array:
    """Return the blocks put together again."""
    return mx.concatenate(list(blocks), axis=axis)


def rows(blocks: Sequence[mx.array], start: int, stop: int) -> mx.array:
    """Return rows start to stop - 1 of the sequence the blocks make up; rows before and after it are zero."""
    B, _, D = blocks[0].shape
    size, first = sum(block.shape[1] for block in blocks), 0
    before, after = min(stop, 0) - min(start, 0), max(stop, size) - max(start, size)
    parts = [mx.zeros((B, before, D), dtype=blocks[0].dtype)]
    for block in blocks:
        parts.append(block[:, max(start - first, 0) : max(stop - first, 0)])
        first += block.shape[1]
    parts.append(mx.zeros((B, after, D), dtype=blocks[0].dtype))
    return joined([part for part in parts if part.shape[1]])


def memory(fsmn: DepthwiseConv1d, lane: int, blocks: Sequence[mx.array], masks: Sequence[Mask]) -> mx.array:
    """Return a lane's rows of `attention.forward_fsmn`, of its own masked block and its neighbours' edges."""
    start = sum(block.shape[1] for block in blocks[:lane])
    stop = start + blocks[lane].shape[1]
    reach = rows(blocks, start - fsmn.left, stop + fsmn.right)  # (B, t + K - 1, D)
    return masked(fsmn.convolve(reach) + blocks[lane], masks[lane])


def encoder_layer(layer: EncoderLayerSANM, blocks: Blocks, masks: Sequence[Mask]) -> Blocks:
    """Return EncoderLayerSANM's output, block by block."""
    attention = layer.self_attn

    def project(x: mx.array, mask: Mask) -> tuple[mx.array, ...]:
        q, k, v = mx.split(attention.linear_q_k_v(layer.norm1(x)), 3, axis=-1)
        q, k, heads = (split_heads(part, attention.heads) for part in (q, k, v))
        return q, mx.contiguous(k), mx.contiguous(heads), masked(v, mask)

    q, keys, values, v = zip(*each(project, blocks, masks), strict=True)

    def attend(lane: int, x: mx.array) -> mx.array:
        attended = attention.linear_out(attend_blocks(q[lane], keys, values, masks))
        attended = attended + memory(attention.fsmn_block, lane, v, masks)
        x = x + attended if layer.residual else attended
        return x + layer.feed_forward(layer.norm2(x))

    return each(attend, range(len(blocks)), blocks)


def encode(encoder: SANMEncoder, x: mx.array, mask: Mask) -> mx.array:
    """Return what SANMEncoder makes of its input after scale and positions, (B, T, Din) -> (B, T, D)."""
    blocks, masks = cut(x), cut_mask(mask, x)
    for layer in encoder.layers:
        blocks = encoder_layer(layer, blocks, masks)
        start(*blocks)
    return joined(each(encoder.after_norm, blocks))


def decoder_layer(
    layer: DecoderLayerSANM,
    tgt: Blocks,
    tgt_masks: Sequence[TokenMask],
    memory_blocks: Blocks,
    memory_masks: Sequence[Mask],
) -> Blocks:
    """Return DecoderLayerSANM's output, block by block; `memory_blocks` is the encoder's output."""
    x = each(lambda block: layer.feed_forward(layer.norm1(block)), tgt)
    if layer.self_attn is not None:
        fsmn = layer.self_attn.fsmn_block
        inputs = each(lambda block, mask: masked(layer.norm2(block), mask), x, tgt_masks)
        x = each(lambda lane, block: block + memory(fsmn, lane, inputs, tgt_masks), range(len(tgt)), tgt)
    if layer.src_attn is not None:
        cross = layer.src_attn

        def project(block: mx.array) -> list[mx.array]:
            parts = mx.split(cross.linear_k_v(block), 2, axis=-1)
            return [mx.contiguous(split_heads(part, cross.heads)) for part in parts]

        keys, values = zip(*each(project, memory_blocks), strict=True)

        def attend(block: mx.array) -> mx.array:
            q = split_heads(cross.linear_q(layer.norm3(block)), cross.heads)
            return block + cross.linear_out(attend_blocks(q, keys, values, memory_masks))

        x = each(attend, x)
    return x


def decode(
    decoder: ParaformerSANMDecoder, embeds: mx.array, tgt_mask: TokenMask, encoder_out: mx.array, mask: Mask
) -> mx.array:
    """Return ParaformerSANMDecoder's logits, (B, U, D) -> (B, U, V)."""
    blocks, tgt_masks = cut(embeds), cut_mask(tgt_mask, embeds)
    memory_blocks, memory_masks = cut(encoder_out), cut_mask(mask, encoder_out)
    for layer in decoder.layers:
        blocks = decoder_layer(layer, blocks, tgt_masks, memory_blocks, memory_masks)
        start(*blocks)
    return joined(each(lambda block: decoder.output_layer(decoder.after_norm(block)), blocks))
