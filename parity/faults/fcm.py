"""Faults of CAM++'s head: kernels, strides, BatchNorm, shortcuts, the order in which it is flattened."""

from __future__ import annotations

from typing import Any

from mlx_model import ops
from mlx_model.machine.blas import mx
from parity.faults.batch_norm import at_module, of_conv2d, of_norm
from parity.faults.fault import Fault, behave, within, without


def _flattened_frequency_first(head: Any) -> None:
    healthy, channels = type(head).__call__, head.conv2.weight.shape[0]

    def call(self: Any, x: mx.array) -> mx.array:
        y = mx.unflatten(healthy(self, x), 2, (channels, -1))  # (B, T, C, F)
        return y.swapaxes(2, 3).flatten(2)

    behave(head, call)


def _relu_first(block: Any) -> None:
    def call(self: Any, x: mx.array) -> mx.array:
        y = self.bn2(self.conv2(self.bn1(ops.relu(self.conv1(x)))))
        for module in self.shortcut:
            x = module(x)
        return ops.relu(y + x)

    behave(block, call)


def _without_shortcut(block: Any) -> None:
    behave(block, lambda self, x: ops.relu(self.bn2(self.conv2(ops.relu(self.bn1(self.conv1(x)))))))


def _no_last_relu(block: Any) -> None:
    def call(self: Any, x: mx.array) -> mx.array:
        y = self.bn2(self.conv2(ops.relu(self.bn1(self.conv1(x)))))
        for module in self.shortcut:
            x = module(x)
        return y + x

    behave(block, call)


def _stride_on_both(convolution: Any) -> None:
    """Every second frame, each twice, so that there are as many."""
    healthy = type(convolution).__call__
    behave(convolution, lambda self, x: mx.repeat(healthy(self, x)[:, :, ::2], 2, axis=2)[:, :, : x.shape[2]])


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of the head that sits at `at`."""
    first, second = within(at, "layer1.0"), within(at, "layer2.1")
    return (
        *of_norm("head_norm", within(at, "bn1")),
        *of_conv2d("head_kernel", within(at, "conv1")),
        at_module("stride_on_time", within(at, "conv2"), "the last stride on time as well", _stride_on_both),
        at_module("flattened_frequency_first", at, "flattened with frequency slow and the channel fast",
                  _flattened_frequency_first),
        at_module("relu_before_norm", second, "ReLU in front of a BatchNorm", _relu_first),
        at_module("no_shortcut", second, "a block without its shortcut", _without_shortcut),
        at_module("no_last_relu", second, "a block without its last ReLU", _no_last_relu),
        at_module("shortcut_norm_skipped", within(first, "shortcut.1"), "the shortcut's BatchNorm left out", without),
    )  # fmt: skip
