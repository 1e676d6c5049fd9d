"""Faults of CAM++'s xvector: contexts and segments, dilations, what is heard of layers before, statistics, embedding.

The last segment divided by 100 is what two public ports of CAM++ have (mlx-audio, CrispASR).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from mlx_model import ops, ops_conv
from mlx_model.machine.blas import mx
from mlx_model.parts import tdnn
from parity.faults.batch_norm import at_module, of_norm
from parity.faults.fault import Fault, behave, exchange, fault, lost, taps_reversed, within, without
from parity.sides.candidate import Candidate

FILE = "mlx_model.parts.tdnn"
LONG = "a recording of more than 2 s, not of whole segments of 100 frames of the TDNN"
SEGMENTS, DEVIATION = tdnn.segment_means, ops_conv.time_deviation


def _last_by_100(x: mx.array, size: int = tdnn.SEGMENT) -> mx.array:
    return SEGMENTS(mx.pad(x, [(0, 0), (0, -x.shape[1] % size), (0, 0)]), size)


def _last_left_out(x: mx.array, size: int = tdnn.SEGMENT) -> mx.array:
    found = SEGMENTS(x, size)
    return found if found.shape[1] == 1 else mx.concatenate([found[:, :-1], found[:, -2:-1]], axis=1)


def _gated(layer: Any, context: Callable[[Any, mx.array], mx.array]) -> None:
    """Let one masked convolution have another context, (B, T, C) or (B, 1, C)."""

    def call(self: Any, x: mx.array) -> mx.array:
        mask = mx.sigmoid(self.linear2(ops.relu(self.linear1(context(self, x)))))
        return self.linear_local(x) * mask

    behave(layer, call)


def _each_frame(x: mx.array) -> mx.array:
    return mx.repeat(SEGMENTS(x), tdnn.SEGMENT, axis=1)[:, : x.shape[1]]


def _relu_first(nonlinear: Any) -> None:
    nonlinear.order = nonlinear.order[::-1]


def _undilated(convolution: Any) -> None:
    convolution.dilation, convolution.padding = 1, 1


def _new_first(block: Any) -> None:
    def call(self: Any, x: mx.array) -> mx.array:
        for name in self.names:
            x = mx.concatenate([self[name](x), x], axis=-1)[..., : x.shape[-1] + self[name](x).shape[-1]]
        return x

    behave(block, call)


def _deviation(stack: ExitStack, change: Callable[[mx.array], mx.array]) -> None:
    exchange(stack, "mlx_model.ops_conv.time_deviation", lambda x, eps=0.0: change(x))


def _biased(x: mx.array) -> mx.array:
    return DEVIATION(x) * ((x.shape[-2] - 1) / x.shape[-2]) ** 0.5


def _deviation_first(stats: Any) -> None:
    healthy = type(stats).__call__
    behave(stats, lambda self, x: mx.concatenate([*mx.split(healthy(self, x), 2, axis=-1)][::-1], axis=-1))


def _half(module: Any) -> None:
    healthy = type(module).__call__
    behave(module, lambda self, x: healthy(self, x).astype(mx.float16).astype(mx.float32))


def _pooled(candidate: Candidate) -> bool:
    return "stats" in candidate.model.xvector.names


def _prelu(candidate: Candidate) -> bool:
    return "prelu" in candidate.model.xvector.tdnn.nonlinear.order


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of the layers over time that sit at `at`."""
    first, layer = within(at, "block1.tdnnd1.cam_layer"), within(at, "block1.tdnnd2.cam_layer")
    norm = within(at, "block2.tdnnd2.nonlinear1.batchnorm")
    stats, dense = within(at, "stats"), within(at, "dense")

    def segments(name: str, description: str, change: Callable[..., mx.array]) -> Fault:
        return fault(name, first, description, lambda c, s: exchange(s, f"{FILE}.segment_means", change), needs=LONG)

    def pooling(name: str, description: str, change: Callable[[mx.array], mx.array]) -> Fault:
        return fault(name, stats, description, lambda c, s: _deviation(s, change), fits=_pooled)

    return (
        segments("last_segment_by_100", "the last segment's sum divided by 100, not by its frames", _last_by_100),
        segments("last_segment_left_out", "no segment of fewer than 100 frames", _last_left_out),
        at_module("no_segment_mean", layer, "the mask from the mean of all frames alone",
                  lambda m: _gated(m, lambda self, x: ops_conv.time_mean(x))),
        at_module("no_global_mean", layer, "the mask from the segment's mean alone",
                  lambda m: _gated(m, lambda self, x: _each_frame(x))),
        at_module("gate_from_frames", layer, "the mask from frames, not from their context",
                  lambda m: _gated(m, lambda self, x: x)),
        at_module("gate_bias_lost", f"{layer}", "a bias of the mask lost", lambda m: lost(m.linear1)),
        *(_renamed(row, norm) for row in of_norm("norm", norm)),
        at_module("relu_first", within(at, "block2.tdnnd3.nonlinear1"), "ReLU in front of the BatchNorm", _relu_first),
        at_module("dilation_1", within(at, "block2.tdnnd2.cam_layer.linear_local"), "dilation 1 in place of 2",
                  _undilated),
        at_module("new_first", within(at, "block1"), "what a layer adds stands before what came", _new_first),
        at_module("taps_reversed", within(at, "tdnn.linear"), "a kernel's taps in reverse order", taps_reversed),
        pooling("biased_deviation", "deviation divided by T, not by T - 1", _biased),
        pooling("deviation_eps", "sqrt(variance + 1e-5) (mlx-audio)", lambda x: DEVIATION(x, 1e-5)),
        pooling("deviation_eps_1e-2", "sqrt(variance + 1e-2): FunASR's argument that is never used",
                lambda x: DEVIATION(x, 1e-2)),
        pooling("variance", "variances in place of deviations", lambda x: mx.square(DEVIATION(x))),
        at_module("deviation_first", stats, "deviations in front of means", _deviation_first, fits=_pooled),
        at_module("embedding_norm_skipped", within(dense, "nonlinear"), "the embedding's BatchNorm left out", without,
                  fits=_pooled),
        at_module("float16_layer", within(at, "transit2"), "one layer's output rounded to float16", _half),
        at_module("prelu_as_relu", within(at, "tdnn.nonlinear"), "PReLU read as ReLU",
                  lambda m: setattr(m.prelu, "weight", mx.zeros_like(m.prelu.weight)), fits=_prelu),
    )  # fmt: skip


def _renamed(row: Fault, norm: str) -> Fault:
    """Return a norm's fault with the address it shows at: the step around it, but where a fact names the norm."""
    return row if "eps" in row.name else replace(row, module=norm.rpartition(".")[0])
