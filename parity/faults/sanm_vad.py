"""Faults of SANMVadEncoder: which words a word sees, positions, the FSMN's mask, heads."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from mlx_model import ops
from mlx_model.machine.blas import mx
from mlx_model.parts import basic, sanm_vad
from parity.faults.fault import Fault, behave, exchange, fault, scaled, within
from parity.sides.candidate import Candidate

FILE = "mlx_model.parts.sanm_vad"
PAUSE = "a text in several calls (parted by |), so that there is a pause"
BATCH = "invariance: batch composition"
CAUSAL, CORNER = sanm_vad.subsequent_mask, sanm_vad.vad_mask
CODES = basic.sinusoidal_positions


def _positions_from_0(steps: int, depth: int) -> mx.array:
    halves = [mx.zeros((1, depth // 2)), mx.ones((1, depth - depth // 2))]
    return mx.concatenate([mx.concatenate(halves, axis=1), CODES(steps, depth)[:-1]])


def _corner(size: int, vad_indexes: mx.array, rows: int, columns: int) -> mx.array:
    """Return the last layer's mask with its corner so many rows and columns further."""
    at, n = mx.arange(size), vad_indexes[:, None, None]
    return ~((at[None, :, None] < n - 1 + rows) & (at[None, None, :] >= n + columns) & (n > 0))


def _all_causal(size: int, vad_indexes: mx.array) -> mx.array:
    return mx.broadcast_to(CAUSAL(size)[None], (len(vad_indexes), size, size))


def _everything(size: int) -> mx.array:
    return mx.ones((size, size), dtype=mx.bool_)


def _strictly_causal(size: int) -> mx.array:
    at = mx.arange(size)
    return (at[None, :] < at[:, None]) | ((at[None, :] == 0) & (at[:, None] == 0))


def _next_word_too(size: int) -> mx.array:
    at = mx.arange(size)
    return at[None, :] <= at[:, None] + 1


def _memory(stack: ExitStack, residual: float) -> None:
    original = sanm_vad.forward_fsmn

    def forward_fsmn(block: Any, inputs: Any, mask: Any) -> Any:
        return original(block, inputs, mask) + scaled(inputs, residual - 1.0)

    exchange(stack, f"{FILE}.forward_fsmn", forward_fsmn)


def _unscaled(stack: ExitStack) -> None:
    original = ops.attend

    def attend(q: Any, k: Any, v: Any, heads: int, mask: Any, seen: Any = None) -> Any:
        return original(scaled(q, (ops.leave(q).shape[-1] // heads) ** 0.5), k, v, heads, mask, seen)

    exchange(stack, "mlx_model.ops.attend", attend)


def _residual(self: Any, x: Any, mask: Any = None, seen: Any = None) -> Any:
    x, attended = ops.leave(x), ops.leave(self.self_attn(self.norm1(x), mask, seen))
    x = x[..., : attended.shape[-1]] + attended
    return x + ops.leave(self.feed_forward(self.norm2(x)))


def _no_attention_residual(self: Any, x: Any, mask: Any = None, seen: Any = None) -> Any:
    x = ops.leave(self.self_attn(self.norm1(x), mask, seen))
    return x + ops.leave(self.feed_forward(self.norm2(x)))


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of the encoder that sits at `at`; what is no different from SANMEncoder's is seeded there."""
    first = within(at, "encoders0.0")

    def last(candidate: Candidate) -> str:
        return within(at, f"encoders.{len(candidate.modules[at].encoders) - 1}")

    def several(candidate: Candidate) -> bool:
        return len(candidate.modules[at].encoders) > 0

    def masks(name: str, description: str, function: str, change: Callable[..., mx.array], **more: Any) -> Fault:
        return fault(name, more.pop("module", at), description,
                     lambda c, s: exchange(s, f"{FILE}.{function}", change), **more)  # fmt: skip

    return (
        masks("positions_from_0", "position codes start at 0, not 1", "sinusoidal_positions", _positions_from_0,
              module=within(at, "embed")),
        masks("no_causal_mask", "all words seen in all layers", "subsequent_mask", _everything),
        masks("strictly_causal", "a word does not see itself", "subsequent_mask", _strictly_causal),
        masks("next_word_seen", "a word sees the next one, too", "subsequent_mask", _next_word_too),
        masks("last_layer_causal", "the last layer is causal, too", "vad_mask", _all_causal, fits=several, place=last),
        masks("no_corner", "the last layer sees over the pause", "vad_mask",
              lambda size, n: mx.ones((len(n), size, size), dtype=mx.bool_), fits=several, place=last, needs=PAUSE),
        masks("corner_a_row_longer", "the word before the pause does not see behind it", "vad_mask",
              lambda size, n: _corner(size, n, 1, 0), fits=several, place=last, needs=PAUSE),
        masks("corner_a_column_later", "the corner begins a word behind the pause", "vad_mask",
              lambda size, n: _corner(size, n, 0, 1), fits=several, place=last, needs=PAUSE),
        masks("corner_in_all_layers", "the pause's mask in all layers, in the place of the causal one (ONNX wrapper)",
              "subsequent_mask", _everything),
        fault("no_fsmn_residual", f"{first}.self_attn.memory", "FSMN without its own residual",
              lambda c, s: _memory(s, 0.0)),
        fault("double_fsmn_residual", f"{first}.self_attn.memory", "FSMN residual twice",
              lambda c, s: _memory(s, 2.0)),
        fault("attention_unscaled", f"{first}.self_attn.context", "scores not divided by sqrt(d/h)",
              lambda c, s: _unscaled(s)),
        fault("residual_where_the_width_changes", first, "attention residual in a first block of another width",
              lambda c, s: behave(c.modules[first], _residual), fits=lambda c: not c.modules[first].residual),
        fault("no_attention_residual", first, "no attention residual in the first block",
              lambda c, s: behave(c.modules[first], _no_attention_residual),
              fits=lambda c: c.modules[first].residual),
    )  # fmt: skip
