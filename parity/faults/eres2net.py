"""Faults of ERes2NetV2: the clipped ReLU, parts one after the other, fusion by attention, statistics, BatchNorm."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from mlx_model import ops, ops_conv
from mlx_model.machine.blas import mx
from mlx_model.parts import eres2net
from parity.faults.batch_norm import at_module, of_conv2d, of_norm
from parity.faults.fault import Fault, behave, exchange, fault, lost, rewrite, within
from parity.sides.candidate import Candidate

FILE = "mlx_model.parts.eres2net"
DEVIATION = ops_conv.time_deviation


def _blocks(block: Any, join: Callable[[Any, int, mx.array, mx.array], mx.array]) -> None:
    """Let a block's parts be joined otherwise: `join(block, number, what the one before became, part)`."""

    def call(self: Any, x: mx.array) -> mx.array:
        clipped = eres2net.clipped
        parts = mx.split(clipped(self.bn1(self.conv1(x))), len(self.convs), axis=-1)
        done: list[mx.array] = []
        for number, (part, conv, norm) in enumerate(zip(parts, self.convs, self.bns, strict=True)):
            given = join(self, number - 1, done[-1], part) if number else part
            done.append(clipped(norm(conv(given))))
        y = self.bn3(self.conv3(mx.concatenate(done, axis=-1)))
        for module in self.shortcut:
            x = module(x)
        return clipped(y + x)

    behave(block, call)


def _fused(weight: Callable[[mx.array], mx.array]) -> Callable[[Any], None]:
    """Return what lets a fusion weigh otherwise: `weight(attention before the tanh)`."""

    def change(fusion: Any) -> None:
        def call(self: Any, x: mx.array, y: mx.array) -> mx.array:
            found = mx.concatenate([x, y], axis=-1)
            for module in self.local_att:
                found = module(found)
            found = weight(found)
            return x * found + y * (2.0 - found)

        behave(fusion, call)

    return change


def _arguments_swapped(fusion: Any) -> None:
    healthy = type(fusion).__call__
    behave(fusion, lambda self, x, y: healthy(self, y, x))


def _frequency_first(pool: Any) -> None:
    def call(self: Any, x: mx.array) -> mx.array:
        found = [ops_conv.time_mean(x)] if self.kind in ("TAP", "TSTP") else []
        found += [DEVIATION(x, eres2net.STD_EPS)] if self.kind in ("TSDP", "TSTP") else []
        return mx.concatenate([part[:, :, 0].flatten(1) for part in found], axis=-1)

    behave(pool, call)


def _deviation_first(pool: Any) -> None:
    healthy = type(pool).__call__
    behave(pool, lambda self, x: mx.concatenate([*mx.split(healthy(self, x), 2, axis=-1)][::-1], axis=-1))


def _deviation(stack: ExitStack, change: Callable[[mx.array], mx.array]) -> None:
    exchange(stack, "mlx_model.ops_conv.time_deviation", lambda x, eps=0.0: change(x))


def _biased(x: mx.array) -> mx.array:
    return DEVIATION(x, eres2net.STD_EPS) * ((x.shape[-2] - 1) / x.shape[-2]) ** 0.5


def _half(module: Any) -> None:
    healthy = type(module).__call__
    behave(module, lambda self, x: healthy(self, x).astype(mx.float16).astype(mx.float32))


def _two(candidate: Candidate) -> bool:
    return "seg_2" in candidate.model.model


def _kind(*kinds: str) -> Callable[[Candidate], bool]:
    return lambda candidate: candidate.model.model.pool.kind in kinds


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of the network that sits at `at`."""
    first, third, fuse = within(at, "layer1.0"), within(at, "layer3.0"), within(at, "fuse34")
    pool = within(at, "pool")
    deviations = _kind("TSTP", "TSDP")
    return (
        # Which block is the first that is loud enough depends on the model.
        fault("unclipped", at, "ReLU in the place of one that ends at 20",
              lambda c, s: exchange(s, f"{FILE}.clipped", lambda x: ops.relu(x)),
              needs="activations above 20 in the first layers"),
        fault("clipped_at_6", at, "ReLU that ends at 6", lambda c, s: exchange(s, f"{FILE}.CEILING", 6.0)),
        at_module("parts_not_added", first, "a part without what the one before became",
                  lambda m: _blocks(m, lambda self, number, before, part: part)),
        at_module("parts_before_alone", first, "what the one before became without the part",
                  lambda m: _blocks(m, lambda self, number, before, part: before)),
        at_module("parts_added_for_fused", third, "parts added where they are fused",
                  lambda m: _blocks(m, lambda self, number, before, part: before + part)),
        at_module("parts_fused_the_other_way", third, "a fusion's arguments exchanged in a block",
                  lambda m: _blocks(m, lambda self, number, before, part: self.fuse_models[number](part, before))),
        at_module("fusion_arguments", fuse, "the last fusion's arguments exchanged", _arguments_swapped),
        at_module("fusion_without_1", fuse, "tanh without 1 added", _fused(mx.tanh)),
        at_module("fusion_sigmoid", fuse, "a sigmoid in the place of 1 + tanh", _fused(mx.sigmoid)),
        at_module("fusion_added", fuse, "the last two layers added", lambda m: behave(m, lambda self, x, y: x + y)),
        at_module("fusion_relu", fuse, "ReLU in the place of SiLU",
                  lambda m: rewrite(m.local_att[2], lambda self, x: ops.relu(x))),
        at_module("fusion_bias_lost", fuse, "a bias of the attention lost", lambda m: lost(m.local_att[0])),
        *of_norm("stem_norm", within(at, "bn1")),
        *of_conv2d("stem_kernel", within(at, "conv1")),
        *of_conv2d("branch_kernel", within(at, "layer3_ds")),
        at_module("flattened_frequency_first", pool, "flattened with frequency slow and the channel fast",
                  _frequency_first),
        fault("biased_deviation", pool, "deviation divided by T, not by T - 1", lambda c, s: _deviation(s, _biased),
              fits=deviations),
        fault("no_deviation_eps", pool, "no 1e-8 below the root", lambda c, s: _deviation(s, lambda x: DEVIATION(x)),
              fits=deviations, needs="a channel that hardly moves"),
        fault("deviation_eps_1e-3", pool, "1e-3 below the root",
              lambda c, s: _deviation(s, lambda x: DEVIATION(x, 1e-3)),
              fits=deviations),
        at_module("deviation_first", pool, "deviations in front of means", _deviation_first, fits=_kind("TSTP")),
        at_module("bias_lost", within(at, "seg_1"), "the embedding's bias lost", lost),
        at_module("float16_layer", within(at, "layer2.0"), "one layer's output rounded to float16", _half),
    )  # fmt: skip
