"""Faults of a SAN-M decoder: order of a layer, its norms and residuals, cross-attention, the output layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlx_model import ops
from mlx_model.machine.blas import mx
from parity.faults.fault import Fault, Seed, fault, lost, reorder, rewrite, within, without


def _fsmn_first(self: Any, tgt: mx.array, tgt_mask: Any, memory: mx.array, memory_mask: Any) -> mx.array:
    x = tgt + self.self_attn(self.norm2(self.norm1(tgt)), tgt_mask)
    x = self.feed_forward(x)
    return x + self.src_attn(self.norm3(x), memory, memory_mask)


def _cross_first(self: Any, tgt: mx.array, tgt_mask: Any, memory: mx.array, memory_mask: Any) -> mx.array:
    x = self.feed_forward(self.norm1(tgt))
    x = x + self.src_attn(self.norm3(x), memory, memory_mask)
    return tgt + self.self_attn(self.norm2(x), tgt_mask)


def _no_fsmn_residual(self: Any, tgt: mx.array, tgt_mask: Any, memory: mx.array, memory_mask: Any) -> mx.array:
    x = self.self_attn(self.norm2(self.feed_forward(self.norm1(tgt))), tgt_mask)
    return x + self.src_attn(self.norm3(x), memory, memory_mask)


def _norm_before_relu(self: Any, x: mx.array) -> mx.array:
    return self.w_2(ops.relu(self.norm(self.w_1(x))))


def _residual_in_last(layer: Any) -> None:
    call = type(layer).__call__
    rewrite(layer, lambda self, tgt, *rest: tgt + call(self, tgt, *rest))


def _shifted(memory: Any) -> None:
    """Streaming's shift in an offline decoder (or none where there is one)."""
    move = memory.right if memory.right > 0 else -memory.left // 2
    memory.left, memory.right = memory.left + move, memory.right - move


def _not_loaded(linear: Any) -> None:
    linear.weight = mx.zeros_like(linear.weight)


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of a decoder that sits at `at`."""
    layer = within(at, "decoders.0")

    def of(change: Callable[[Any], None]) -> Seed:
        return lambda candidate, stack: change(candidate.modules[at])

    def first(change: Callable[[Any], None]) -> Seed:
        return lambda candidate, stack: change(candidate.modules[at].decoders[0])

    return (
        fault("fsmn_before_ffn", layer, "FSMN before the feed-forward", first(lambda x: rewrite(x, _fsmn_first))),
        fault("cross_before_fsmn", layer, "cross-attention before the FSMN", first(lambda x: rewrite(x, _cross_first))),
        fault("no_decoder_residual", layer, "residual around feed-forward and FSMN forgotten",
              first(lambda x: rewrite(x, _no_fsmn_residual))),
        fault("ffn_norm_lost", f"{layer}.feed_forward", "feed-forward without its inner norm",
              first(lambda x: without(x.feed_forward.norm))),
        fault("ffn_norm_before_relu", f"{layer}.feed_forward", "inner norm before the ReLU",
              first(lambda x: rewrite(x.feed_forward, _norm_before_relu))),
        fault("decoder_fsmn_shift", f"{layer}.self_attn", "FSMN window moved",
              first(lambda x: _shifted(x.self_attn.fsmn_block))),
        fault("cross_k_v_swapped", f"{layer}.src_attn.k", "k and v exchanged in cross-attention",
              first(lambda x: reorder(x.src_attn.linear_k_v, (1, 0)))),
        fault("cross_bias_lost", f"{layer}.src_attn", "bias of cross-attention's output lost",
              first(lambda x: lost(x.src_attn.linear_out))),
        fault("residual_in_decoders3", within(at, "decoders3.0"), "residual around the last feed-forward",
              of(lambda decoder: _residual_in_last(decoder.decoders3[0]))),
        fault("no_decoder_after_norm", within(at, "after_norm"), "last LayerNorm left out",
              of(lambda decoder: without(decoder.after_norm))),
        fault("output_bias_lost", within(at, "output_layer"), "bias of the output layer lost",
              of(lambda decoder: lost(decoder.output_layer))),
        fault("tensor_not_loaded", within(at, "decoders"), "a projection left at zero",
              of(lambda decoder: _not_loaded(decoder.decoders[-1].feed_forward.w_2))),
    )  # fmt: skip
