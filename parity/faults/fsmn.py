"""Faults of an FSMN: memories, affine layers, and the caches that carry its past from piece to piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlx_model import ops
from mlx_model.machine.blas import mx
from mlx_model.ops_stream import before
from parity.faults.fault import Fault, Seed, fault, lost, rewrite, taps_reversed, within, without

LONG = "a recording longer than the 2 s after which the network's caches are needed"
Memory = Callable[[Any, mx.array, mx.array], mx.array]  # (the block, x (B, T, D), past (B, T + reach, D)) -> its output


def _memory(block: Any, function: Memory) -> None:
    """Seed another memory of a block, which MLX computes, and engines go on with."""

    def call(self: Any, x: Any, cache: mx.array | None = None) -> tuple[Any, mx.array]:
        given, reach = ops.leave(x), self.conv_left.reach
        past = mx.concatenate([before(given, reach, cache), given], axis=1)
        return ops.by_row(lambda frames: function(self, frames, past), x), past[:, past.shape[1] - reach :]

    rewrite(block.fsmn_block, call)


def _future(self: Any, x: mx.array, past: mx.array) -> mx.array:
    return x + self.conv_left.convolve(mx.pad(x, [(0, 0), (0, self.conv_left.reach), (0, 0)]))


def _late(self: Any, x: mx.array, past: mx.array) -> mx.array:
    return x + self.conv_left.convolve(mx.pad(past, [(0, 0), (1, 0), (0, 0)])[:, :-1])


def _stride(convolution: Any) -> None:
    convolution.stride += 1
    convolution.reach = convolution.stride * (convolution.weight.shape[1] - 1)


def _early_relu(linear: Any) -> None:
    call = type(linear).__call__
    rewrite(linear, lambda self, x: ops.relu(call(self, x)))


def _no_cache(block: Any) -> None:
    call = type(block).__call__
    rewrite(block, lambda self, x, cache=None: call(self, x))


def _short_cache(memory: Any) -> None:
    """What is carried over ends a frame too early: the chunk's last frame is missing, an older one is there twice."""
    call = type(memory).__call__

    def shifted(self: Any, x: Any, cache: mx.array | None = None) -> tuple[Any, mx.array]:
        output, past = call(self, x, cache)
        return output, mx.concatenate([past[:, :1], past[:, :-1]], axis=1)

    rewrite(memory, shifted)


def _log_softmax(self: Any, x: Any) -> Any:
    return ops.by_row(lambda scores: scores - mx.logsumexp(scores, axis=-1, keepdims=True), x)


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of an FSMN that sits at `at`: those of a block are put into the second, away from the ends."""
    second = within(at, "fsmn.1")
    memory = f"{second}.fsmn_block"

    def of(change: Callable[[Any], None]) -> Seed:
        return lambda candidate, stack: change(candidate.modules[at])

    def block(change: Callable[[Any], None]) -> Seed:
        return lambda candidate, stack: change(candidate.modules[at].fsmn[1])

    def remembers(function: Memory) -> Seed:
        return block(lambda chosen: _memory(chosen, function))

    return (
        fault("kernel_reversed", memory, "taps in reverse order",
              block(lambda chosen: taps_reversed(chosen.fsmn_block.conv_left))),
        fault("left_right_swapped", memory, "taps reach into the future, not the past", remembers(_future)),
        fault("stride", memory, "taps a frame further apart",
              block(lambda chosen: _stride(chosen.fsmn_block.conv_left))),
        fault("no_residual", memory, "memory without its residual",
              remembers(lambda self, x, past: self.conv_left.convolve(past))),
        fault("double_residual", memory, "residual twice",
              remembers(lambda self, x, past: 2 * x + self.conv_left.convolve(past))),
        fault("memory_late", memory, "taps end a frame before the frame itself", remembers(_late)),
        fault("bias_lost", f"{second}.affine", "bias of one affine lost",
              block(lambda chosen: lost(chosen.affine.linear))),
        fault("no_relu", second, "a block without its ReLU",
              block(lambda chosen: without(chosen.relu))),
        fault("early_relu", within(at, "in_linear1"), "a ReLU after the first layer too",
              of(lambda encoder: _early_relu(encoder.in_linear1))),
        fault("log_softmax", within(at, "softmax"), "logarithms of the probabilities",
              of(lambda encoder: rewrite(encoder.softmax, _log_softmax))),
        fault("cache_not_carried", memory, "every piece starts with a past of zeros", block(_no_cache), needs=LONG),
        fault("cache_off_by_one", memory, "the past of the next piece is a frame off",
              block(lambda chosen: _short_cache(chosen.fsmn_block)), needs=LONG),
    )  # fmt: skip
