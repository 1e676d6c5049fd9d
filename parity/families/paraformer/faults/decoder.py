"""Faults of the decoder: order of a layer, its norms and residuals, cross-attention, the output layer."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from mlx_model.machine.blas import mx, nn
from parity.families.paraformer.faults.encoder import _lost, _reorder, _without
from parity.faults.fault import Fault, behave
from parity.sides.candidate import Candidate

LAYER = "decoder.decoders.0"


def first(candidate: Candidate) -> Any:
    """Return the first decoder layer."""
    return candidate.model.decoder.decoders[0]


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


def _call(function: Any) -> Any:
    return lambda candidate, stack: behave(first(candidate), function)


def _norm_before_relu(candidate: Candidate, stack: ExitStack) -> None:
    behave(first(candidate).feed_forward, lambda self, x: self.w_2(nn.relu(self.norm(self.w_1(x)))))


def _norm_lost(candidate: Candidate, stack: ExitStack) -> None:
    _without(first(candidate).feed_forward.norm)


def _residual_in_last(candidate: Candidate, stack: ExitStack) -> None:
    layer = candidate.model.decoder.decoders3[0]
    call = type(layer).__call__
    behave(layer, lambda self, tgt, *rest: tgt + call(self, tgt, *rest))


def _shifted(candidate: Candidate, stack: ExitStack) -> None:
    """Streaming's shift in an offline decoder (or none where there is one)."""
    memory = first(candidate).self_attn.fsmn_block
    move = memory.right if memory.right > 0 else -memory.left // 2
    memory.left, memory.right = memory.left + move, memory.right - move


def _fault(name: str, module: str, description: str, seed: Any, **more: Any) -> Fault:
    return Fault(name=name, module=module, description=description, seed=seed, **more)


DECODER = (
    _fault("fsmn_before_ffn", LAYER, "FSMN before the feed-forward", _call(_fsmn_first)),
    _fault("cross_before_fsmn", LAYER, "cross-attention before the FSMN", _call(_cross_first)),
    _fault("no_decoder_residual", LAYER, "residual around feed-forward and FSMN forgotten", _call(_no_fsmn_residual)),
    _fault("ffn_norm_lost", f"{LAYER}.feed_forward", "feed-forward without its inner norm", _norm_lost),
    _fault("ffn_norm_before_relu", f"{LAYER}.feed_forward", "inner norm before the ReLU", _norm_before_relu),
    _fault("decoder_fsmn_shift", f"{LAYER}.self_attn", "FSMN window moved", _shifted),
    _fault("cross_k_v_swapped", f"{LAYER}.src_attn.k", "k and v exchanged in cross-attention",
           lambda c, s: _reorder(first(c).src_attn.linear_k_v, (1, 0))),
    _fault("cross_bias_lost", f"{LAYER}.src_attn", "bias of cross-attention's output lost",
           lambda c, s: _lost(first(c).src_attn.linear_out)),
    _fault("residual_in_decoders3", "decoder.decoders3.0", "residual around the last feed-forward", _residual_in_last),
    _fault("no_decoder_after_norm", "decoder.after_norm", "last LayerNorm left out",
           lambda c, s: _without(c.model.decoder.after_norm)),
    _fault("output_bias_lost", "decoder.output_layer", "bias of the output layer lost",
           lambda c, s: _lost(c.model.decoder.output_layer)),
)  # fmt: skip
