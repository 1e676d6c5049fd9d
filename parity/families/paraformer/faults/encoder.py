"""Faults of the encoder: positions, attention, FSMN memory, feed-forward, norms, residuals."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from mlx_model.machine.blas import mx, nn
from mlx_model.parts import basic as layers
from mlx_model.parts import sanm as attention
from parity.faults.fault import Fault, behave, exchange
from parity.sides.candidate import Candidate

FIRST = "encoder.encoders0.0"


def _deep(candidate: Candidate) -> bool:
    return len(candidate.model.encoder.encoders) > 0


def block(candidate: Candidate, index: int = 1) -> Any:
    """Return an encoder block away from the ends where the model has one."""
    blocks = candidate.model.encoder.encoders
    return blocks[min(index, len(blocks) - 1)]


def rounded(values: mx.array, bits: int) -> mx.array:
    """Return float32 values with so many bits of mantissa (10: TF32)."""
    raw = np.array(values).view(np.uint32)
    drop = 23 - bits
    half = np.uint32(1 << (drop - 1))
    return mx.array(((raw + half) & ~np.uint32((1 << drop) - 1)).view(np.float32))


def _positions(stack: ExitStack, change: str) -> None:
    original = layers.sinusoidal_positions

    def positions(steps: int, depth: int) -> mx.array:
        codes = original(steps, depth)
        if change == "from 0":
            halves = [mx.zeros((1, depth // 2)), mx.ones((1, depth - depth // 2))]
            return mx.concatenate([mx.concatenate(halves, axis=1), codes[:-1]])
        if change == "interleaved":
            return mx.stack(list(mx.split(codes, 2, axis=1)), axis=-1).reshape(steps, depth)  # (T, D)
        rates = mx.exp(mx.arange(depth // 2) * -(np.log(10000.0) / (depth // 2)))
        angles = mx.arange(1, steps + 1)[:, None] * rates[None, :]
        return mx.concatenate([mx.sin(angles), mx.cos(angles)], axis=-1)

    exchange(stack, "mlx_model.parts.sanm.sinusoidal_positions", positions)


def _scale_after_positions(candidate: Candidate, stack: ExitStack) -> None:
    original = layers.sinusoidal_positions
    scale = candidate.model.encoder.scale
    exchange(stack, "mlx_model.parts.sanm.sinusoidal_positions", lambda *sizes: original(*sizes) * scale)


def _residual_in_first(candidate: Candidate, stack: ExitStack) -> None:
    def call(self: Any, x: mx.array, mask: Any = None) -> mx.array:
        attended = self.self_attn(self.norm1(x), mask)
        x = x[..., : attended.shape[-1]] + attended
        return x + self.feed_forward(self.norm2(x))

    behave(candidate.model.encoder.encoders0[0], call)


def _no_residual(candidate: Candidate, stack: ExitStack) -> None:
    def call(self: Any, x: mx.array, mask: Any = None) -> mx.array:
        return self.feed_forward(self.norm2(x + self.self_attn(self.norm1(x), mask)))

    behave(block(candidate), call)


def _reorder(linear: Any, order: tuple[int, ...]) -> None:
    """Exchange equal parts of a projection's outputs."""
    linear.weight = mx.concatenate([mx.split(linear.weight, len(order))[i] for i in order])
    linear.bias = mx.concatenate([mx.split(linear.bias, len(order))[i] for i in order])


def _interleaved_heads(candidate: Candidate, stack: ExitStack) -> None:
    def split_heads(x: mx.array, heads: int) -> mx.array:
        B, T, D = x.shape
        return x.reshape(B, T, D // heads, heads).transpose(0, 3, 1, 2)  # (B, H, T, D/H)

    exchange(stack, "mlx_model.ops.split_heads", split_heads)


def _unscaled_attention(candidate: Candidate, stack: ExitStack) -> None:
    original = attention.attend

    def attend(q: Any, k: Any, v: Any, heads: int, mask: Any) -> Any:
        return original(q * (q.shape[-1] // heads) ** 0.5, k, v, heads, mask)

    exchange(stack, "mlx_model.parts.sanm.attend", attend)


def _fsmn(stack: ExitStack, residual: float) -> None:
    original = attention.forward_fsmn

    def forward_fsmn(block: Any, inputs: mx.array, mask: Any) -> mx.array:
        return original(block, inputs, mask) + (residual - 1.0) * inputs

    exchange(stack, "mlx_model.parts.sanm.forward_fsmn", forward_fsmn)


def _causal_fsmn(candidate: Candidate, stack: ExitStack) -> None:
    memory = block(candidate).self_attn.fsmn_block
    memory.left, memory.right = memory.left + memory.right, 0
    if memory.left == 0:
        memory.left, memory.right = 0, memory.weight.shape[1] - 1


def _reversed(module: Any) -> None:
    module.weight = module.weight[:, ::-1]


def _eps(candidate: Candidate, stack: ExitStack) -> None:
    for module in candidate.model.modules():
        if isinstance(module, layers.LayerNorm):
            module.eps = 1e-5


def _one_eps(candidate: Candidate, stack: ExitStack) -> None:
    block(candidate, 0).norm2.eps = 1e-5


def _without(module: Any) -> None:
    behave(module, lambda self, x: x)


def _gelu(candidate: Candidate, stack: ExitStack) -> None:
    behave(block(candidate).feed_forward, lambda self, x: self.w_2(nn.gelu(self.w_1(x))))


def _transposed(linear: Any) -> None:
    linear.weight = mx.contiguous(linear.weight.T)


def _lost(module: Any) -> None:
    module.bias = mx.zeros_like(module.bias)


def _half_block(candidate: Candidate, stack: ExitStack) -> None:
    chosen = block(candidate)
    call = type(chosen).__call__
    behave(chosen, lambda self, x, mask=None: call(self, x, mask).astype(mx.float16).astype(mx.float32))


def _where(name: str, index: int = 1) -> str:
    return f"encoder.encoders.{index}.{name}".rstrip(".")


def _fault(name: str, module: str, description: str, seed: Any, **more: Any) -> Fault:
    return Fault(name=name, module=module, description=description, seed=seed, **more)


ENCODER = (
    _fault("positions_from_0", "encoder.embed", "position codes start at 0, not 1",
           lambda c, s: _positions(s, "from 0")),
    _fault("positions_interleaved", "encoder.embed", "sin and cos interleaved, not in halves",
           lambda c, s: _positions(s, "interleaved")),
    _fault("positions_divisor", "encoder.embed", "time scales divided by d/2, not d/2 - 1",
           lambda c, s: _positions(s, "divisor")),
    _fault("no_input_scale", "encoder.embed", "sqrt(d) scale missing",
           lambda c, s: setattr(c.model.encoder, "scale", 1.0)),
    _fault("scale_after_positions", "encoder.embed", "scale applied to the positions too", _scale_after_positions),
    _fault("eps_1e-5", FIRST, "LayerNorm eps 1e-5, not 1e-12, everywhere", _eps),
    _fault("one_eps", _where("norm2", 0), "LayerNorm eps 1e-5 in one norm", _one_eps, fits=_deep),
    _fault("residual_in_first_block", FIRST, "attention residual where the width changes", _residual_in_first),
    _fault("q_k_swapped", _where("self_attn.q"), "q and k exchanged in one block",
           lambda c, s: _reorder(block(c).self_attn.linear_q_k_v, (1, 0, 2)), fits=_deep),
    _fault("k_v_swapped", _where("self_attn.k"), "k and v exchanged in one block",
           lambda c, s: _reorder(block(c).self_attn.linear_q_k_v, (0, 2, 1)), fits=_deep),
    _fault("heads_interleaved", f"{FIRST}.self_attn.context", "heads mixed",
           _interleaved_heads),
    _fault("attention_unscaled", f"{FIRST}.self_attn.context", "scores not divided by sqrt(d/h)", _unscaled_attention),
    _fault("no_fsmn_residual", f"{FIRST}.self_attn.memory", "FSMN without its own residual",
           lambda c, s: _fsmn(s, 0.0)),
    _fault("double_fsmn_residual", f"{FIRST}.self_attn.memory", "FSMN residual twice",
           lambda c, s: _fsmn(s, 2.0)),
    _fault("fsmn_kernel_reversed", _where("self_attn.memory"), "FSMN taps in reverse order",
           lambda c, s: _reversed(block(c).self_attn.fsmn_block), fits=_deep),
    _fault("fsmn_causal", _where("self_attn"), "FSMN padded on the left only", _causal_fsmn, fits=_deep),
    _fault("linear_transposed", _where("self_attn"), "square projection transposed",
           lambda c, s: _transposed(block(c).self_attn.linear_out), fits=_deep),
    _fault("bias_lost", _where("feed_forward.w_1"), "bias of one projection lost",
           lambda c, s: _lost(block(c).feed_forward.w_1), fits=_deep),
    _fault("gelu", _where("feed_forward"), "GELU for ReLU in one block", _gelu, fits=_deep),
    _fault("no_block_residual", _where(""), "feed-forward residual forgotten", _no_residual, fits=_deep),
    _fault("float16_block", _where(""), "one block's output rounded to float16", _half_block, fits=_deep),
    _fault("no_after_norm", "encoder.after_norm", "last LayerNorm left out",
           lambda c, s: _without(c.model.encoder.after_norm)),
)  # fmt: skip
