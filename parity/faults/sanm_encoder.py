"""Faults of a SAN-M encoder: positions, attention, FSMN memory, feed-forward, norms, residuals, masks, precision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from mlx_model import ops
from mlx_model.machine.blas import mx, nn
from mlx_model.ops import Rows
from mlx_model.parts import basic as layers
from mlx_model.parts import sanm as attention
from parity.faults.fault import (
    Fault,
    Seed,
    behave,
    exchange,
    fault,
    lost,
    reorder,
    rewrite,
    scaled,
    taps_reversed,
    within,
    without,
)
from parity.sides.candidate import Candidate

BATCH = "invariance: batch composition"
LENGTHS = "utterances of different length"
FILE = "mlx_model.parts.sanm"


def nearest(encoder: Any, index: int) -> int:
    """Return the number of a block away from the ends, or of the last one where the model has not as many."""
    return min(index, len(encoder.encoders) - 1)


def block(encoder: Any, index: int = 1) -> Any:
    """Return an encoder block away from the ends where the model has one."""
    return encoder.encoders[nearest(encoder, index)]


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

    exchange(stack, f"{FILE}.sinusoidal_positions", positions)


def _scale_after_positions(encoder: Any, stack: ExitStack) -> None:
    original = layers.sinusoidal_positions
    exchange(stack, f"{FILE}.sinusoidal_positions", lambda *sizes: original(*sizes) * encoder.scale)


def _residual_in_first(self: Any, x: mx.array, mask: Any = None) -> mx.array:
    attended = self.self_attn(self.norm1(x), mask)
    x = x[..., : attended.shape[-1]] + attended
    return x + self.feed_forward(self.norm2(x))


def _no_residual(self: Any, x: mx.array, mask: Any = None) -> mx.array:
    return self.feed_forward(self.norm2(x + self.self_attn(self.norm1(x), mask)))


def _interleaved_heads(stack: ExitStack) -> None:
    """Head h of H has every H-th channel, from the h-th on."""
    original = attention.attend

    def mixed(x: Any, heads: int) -> Any:
        if isinstance(x, Rows):
            return x.like(mixed(x.leave(), heads))
        B, T, D = x.shape
        return x.reshape(B, T, D // heads, heads).swapaxes(2, 3).reshape(B, T, D)  # (B, T, D)

    def attend(q: Any, k: Any, v: Any, heads: int, mask: Any) -> Any:
        return original(mixed(q, heads), mixed(k, heads), mixed(v, heads), heads, mask)

    exchange(stack, f"{FILE}.attend", attend)


def _unscaled_attention(stack: ExitStack) -> None:
    original = attention.attend

    def attend(q: Any, k: Any, v: Any, heads: int, mask: Any) -> Any:
        return original(scaled(q, (ops.leave(q).shape[-1] // heads) ** 0.5), k, v, heads, mask)

    exchange(stack, f"{FILE}.attend", attend)


def _fsmn(stack: ExitStack, residual: float) -> None:
    original = attention.forward_fsmn

    def forward_fsmn(block: Any, inputs: mx.array, mask: Any) -> mx.array:
        return original(block, inputs, mask) + scaled(inputs, residual - 1.0)

    exchange(stack, f"{FILE}.forward_fsmn", forward_fsmn)


def _causal(memory: Any) -> None:
    memory.left, memory.right = memory.left + memory.right, 0
    if memory.left == 0:
        memory.left, memory.right = 0, memory.weight.shape[1] - 1


def _other_eps(norm: Any) -> None:
    norm.eps = 1e-5 if norm.eps < 1e-6 else 1e-12


def _eps_everywhere(candidate: Candidate) -> None:
    for module in candidate.model.modules():
        if isinstance(module, layers.LayerNorm):
            _other_eps(module)


def _gelu(self: Any, x: mx.array) -> mx.array:
    return self.w_2(nn.gelu(self.w_1(x)))


def _transposed(linear: Any) -> None:
    linear.weight = mx.contiguous(linear.weight.T)


def _half_precision(module: Any) -> None:
    call = type(module).__call__
    behave(module, lambda self, x, mask=None: call(self, x, mask).astype(mx.float16).astype(mx.float32))


def _tf32(candidate: Candidate) -> None:
    """Matrix products at TF32: every projection's weights keep 10 bits of mantissa."""
    for name, module in candidate.model.named_modules():
        if "linear" in name or name.endswith(("w_1", "w_2", "output_layer")):
            module.weight = rounded(module.weight, 10)


def _nan(module: Any) -> None:
    module.bias = module.bias * float("nan")


def _no_attention_mask(stack: ExitStack) -> None:
    original = attention.attend
    exchange(stack, f"{FILE}.attend", lambda q, k, v, heads, mask: original(q, k, v, heads, None))


def _no_fsmn_mask(stack: ExitStack) -> None:
    exchange(stack, "mlx_model.ops.masked", lambda x, mask: x)


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of a SAN-M encoder that sits at `at`."""
    first, embed, after_norm = (within(at, name) for name in ("encoders0.0", "embed", "after_norm"))

    def of(change: Callable[..., None], *more: Any) -> Seed:
        return lambda candidate, stack: change(candidate.modules[at], *more)

    def in_block(name: str, what: str, description: str, change: Callable[[Any], None], index: int = 1) -> Fault:
        """Return a fault of one block, away from the ends where the encoder has one."""
        return fault(
            name, within(f"{at}.encoders.{index}", what), description,
            lambda candidate, stack: change(block(candidate.modules[at], index)),
            fits=lambda candidate: len(candidate.modules[at].encoders) > 0,
            place=lambda candidate: within(f"{at}.encoders.{nearest(candidate.modules[at], index)}", what),
        )  # fmt: skip

    return (
        fault("positions_from_0", embed, "position codes start at 0, not 1", lambda c, s: _positions(s, "from 0")),
        fault("positions_interleaved", embed, "sin and cos interleaved, not in halves",
              lambda c, s: _positions(s, "interleaved")),
        fault("positions_divisor", embed, "time scales divided by d/2, not d/2 - 1",
              lambda c, s: _positions(s, "divisor")),
        fault("no_input_scale", embed, "sqrt(d) scale missing", of(lambda encoder: setattr(encoder, "scale", 1.0))),
        fault("scale_after_positions", embed, "scale applied to the positions too",
              lambda c, s: _scale_after_positions(c.modules[at], s)),
        fault("eps_1e-5", first, "LayerNorm eps 1e-5, not 1e-12, everywhere (or the other way round)",
              lambda c, s: _eps_everywhere(c)),
        in_block("one_eps", "norm2", "LayerNorm eps 1e-5 in one norm (or 1e-12)", lambda b: _other_eps(b.norm2), 0),
        fault("residual_in_first_block", first, "attention residual where the width changes",
              of(lambda encoder: behave(encoder.encoders0[0], _residual_in_first))),
        in_block("q_k_swapped", "self_attn.q", "q and k exchanged in one block",
                 lambda b: reorder(b.self_attn.linear_q_k_v, (1, 0, 2))),
        in_block("k_v_swapped", "self_attn.k", "k and v exchanged in one block",
                 lambda b: reorder(b.self_attn.linear_q_k_v, (0, 2, 1))),
        fault("heads_interleaved", f"{first}.self_attn.context", "heads mixed", lambda c, s: _interleaved_heads(s)),
        fault("attention_unscaled", f"{first}.self_attn.context", "scores not divided by sqrt(d/h)",
              lambda c, s: _unscaled_attention(s)),
        fault("no_fsmn_residual", f"{first}.self_attn.memory", "FSMN without its own residual",
              lambda c, s: _fsmn(s, 0.0)),
        fault("double_fsmn_residual", f"{first}.self_attn.memory", "FSMN residual twice", lambda c, s: _fsmn(s, 2.0)),
        in_block("fsmn_kernel_reversed", "self_attn.memory", "FSMN taps in reverse order",
                 lambda b: taps_reversed(b.self_attn.fsmn_block)),
        in_block("fsmn_causal", "self_attn", "FSMN padded on the left only", lambda b: _causal(b.self_attn.fsmn_block)),
        in_block("linear_transposed", "self_attn", "square projection transposed",
                 lambda b: _transposed(b.self_attn.linear_out)),
        in_block("bias_lost", "feed_forward.w_1", "bias of one projection lost", lambda b: lost(b.feed_forward.w_1)),
        in_block("gelu", "feed_forward", "GELU for ReLU in one block", lambda b: behave(b.feed_forward, _gelu)),
        in_block("no_block_residual", "", "feed-forward residual forgotten", lambda b: rewrite(b, _no_residual)),
        in_block("float16_block", "", "one block's output rounded to float16", _half_precision),
        fault("no_after_norm", after_norm, "last LayerNorm left out", of(lambda encoder: without(encoder.after_norm))),
        fault("tf32", first, "matrix products at TF32", lambda c, s: _tf32(c)),
        fault("nan", after_norm, "NaN in a norm", of(lambda encoder: _nan(encoder.after_norm))),
        fault("no_attention_mask", BATCH, "padded frames attended to", lambda c, s: _no_attention_mask(s),
              batch=True, needs=LENGTHS),
        fault("no_fsmn_mask", BATCH, "padded frames enter the FSMN", lambda c, s: _no_fsmn_mask(s),
              batch=True, needs=LENGTHS),
    )  # fmt: skip
