"""Which device computes here, on how many cores, threads and streams: the only file that asks. Imports no layer."""

from __future__ import annotations

import functools
import os
import threading
from typing import Any

from mlx_model.machine import blas
from mlx_model.machine.blas import mx

MOST_CORES = 4  # measured with 2; on many cores lanes' blocks get too thin, and one product for all serves better


def on_gpu() -> bool:
    """Whether MLX computes on a GPU, whose own kernels are then the better ones."""
    return mx.default_device().type == mx.DeviceType.gpu


@functools.cache
def cores() -> int:
    """Return how many cores this process may use, as a BLAS counts them."""
    limits = [os.environ.get(name, "") for name in blas.THREAD_VARIABLES]
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([usable, *(int(limit) for limit in limits if limit.isdigit() and int(limit) > 0)])


def few_cores() -> bool:
    """Whether this machine is one for lanes: a CPU of a few cores, and a BLAS whose threads can be set."""
    return not on_gpu() and bool(blas.status().library) and 1 < cores() <= MOST_CORES


def share_products(*, alone: bool = False) -> None:
    """Let one matrix product run on all cores from now on; with `alone` on one, beside others or because it is short.

    Only where `few_cores`: elsewhere the BLAS's own choice stands.
    """
    if few_cores():
        blas.use_threads(1 if alone else cores())


class _End:
    """Dies with the thread it belongs to, in it: a stream that outlives its thread may abort the process at its end."""

    def __del__(self) -> None:
        mx.clear_streams()


class _Streams(threading.local):
    """The streams of one Python thread: MLX gives a stream to the thread that made it.

    So any thread may call a model, one at a time. Call from a pool of threads, not from ever new ones: MLX 0.32 keeps
    some of a stream's resources when it is cleared.
    """

    def __init__(self) -> None:
        self.lanes = [mx.default_stream(mx.cpu)]
        self.aside = mx.new_stream(mx.cpu)
        self.end = None if threading.current_thread() is threading.main_thread() else _End()


_own = _Streams()


def streams(count: int) -> list[Any]:
    """Return so many streams of the CPU; the first is the default one."""
    while len(_own.lanes) < count:
        _own.lanes.append(mx.new_stream(mx.cpu))
    return _own.lanes[:count]


def aside() -> Any:
    """Return the stream for work to be done beside the network's (the next batch's features); a GPU has one for all."""
    return mx.default_stream(mx.default_device()) if on_gpu() else _own.aside


def turns(count: int) -> list[Any]:
    """Return a stream for each of `count` computations that need nothing of one another: one for each core in turn."""
    several = few_cores()
    found = streams(cores()) if several else [mx.default_stream(mx.default_device())]
    if several:
        share_products(alone=True)
    return [found[number % len(found)] for number in range(count)]
