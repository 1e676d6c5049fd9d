"""Faults of BatchNorm and of 2-D convolutions, wherever a network has them; a part names its modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlx_model.machine.blas import mx
from parity.faults.fault import Fault, fault, without

Change = Callable[[Any], None]


def swapped_statistics(norm: Any) -> None:
    """Exchange running mean and running variance."""
    norm.running_mean, norm.running_var = norm.running_var, mx.abs(norm.running_mean) + 1e-3


def gain_lost(norm: Any) -> None:
    """Let a norm have a gain of 1."""
    norm.weight = mx.ones_like(norm.weight)


def axes_swapped(convolution: Any) -> None:
    """Let a kernel (O, Kf, Kt, C) have frequency and time exchanged."""
    convolution.weight = convolution.weight.swapaxes(1, 2)


def flipped(convolution: Any) -> None:
    """Let a kernel be turned round, as a convolution's is and torch's is not."""
    convolution.weight = convolution.weight[:, ::-1, ::-1]


def eps(value: float) -> Change:
    """Return what gives a norm another eps."""
    return lambda norm: setattr(norm, "eps", value)


def at_module(name: str, module: str, description: str, change: Change, **more: Any) -> Fault:
    """Return the fault of one module."""
    return fault(name, module, description, lambda c, s: change(c.modules[module]), **more)


def of_norm(prefix: str, module: str) -> tuple[Fault, ...]:
    """Return the faults of one BatchNorm with weights."""
    return (
        at_module(f"{prefix}_eps_1e-3", module, "BatchNorm eps 1e-3, not 1e-5", eps(1e-3)),
        at_module(f"{prefix}_eps_1e-12", module, "BatchNorm eps 1e-12", eps(1e-12)),
        at_module(f"{prefix}_mean_and_variance", module, "running mean and variance exchanged", swapped_statistics),
        at_module(f"{prefix}_gain_lost", module, "BatchNorm without its gain", gain_lost),
        at_module(f"{prefix}_skipped", module, "BatchNorm left out", without),
    )


def of_conv2d(prefix: str, module: str) -> tuple[Fault, ...]:
    """Return the faults of one 2-D kernel of several taps."""
    return (
        at_module(f"{prefix}_axes", module, "frequency and time of a kernel exchanged", axes_swapped),
        at_module(f"{prefix}_flipped", module, "a kernel turned round", flipped),
    )
