"""What the CPU engine saves FSMN-VAD: the whole network and its linear layers alone, by MLX and by the engine.

    OMP_NUM_THREADS=1 python benchmarks/vad_products.py MODEL [--frames 20 100 1000 6000] [--rounds 12]

MODEL is a converted FSMN-VAD. Frames are given at once: 20 are a stream's chunk of 200 ms, 6,000 a piece of a
recording. Inputs are random; the four take turns. Time is the process's own on all its threads, of which there should
be one: those that wait spin. Exit code 1 where products disagree, or where the network takes more time by the engine
than by MLX, at any size: then the engine should not be offered there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import mlx_model
from mlx_model import engines
from mlx_model.engines import cpu_engine
from mlx_model.engines.cpu_rows import Kernels
from mlx_model.machine.blas import mx
from mlx_model.ops import PLAIN

CLOSE = 1e-4  # of outputs around 10: two orders of summation lie 2e-5 apart


def layers_of(encoder: Any) -> list[tuple[Any, bool]]:
    """Return (linear layer, whether a ReLU follows) in order."""
    blocks = [pair for block in encoder.fsmn for pair in ((block.linear.linear, False), (block.affine.linear, True))]
    ends = [(encoder.out_linear1.linear, False), (encoder.out_linear2.linear, False)]
    return [(encoder.in_linear1.linear, False), (encoder.in_linear2.linear, True), *blocks, *ends]


def by_mlx(layers: list[tuple[Any, bool]], x: np.ndarray) -> np.ndarray:
    """Return what the linear layers alone make of rows (T, D), by MLX."""
    y = mx.array(x)[None]
    for layer, relu in layers:
        y = mx.maximum(layer(y), 0) if relu else layer(y)
    return np.array(y)[0]


def by_engine(products: list[tuple[Any, bool]], x: np.ndarray) -> np.ndarray:
    """Return the same by the CPU engine."""
    for product, relu in products:
        x = np.ascontiguousarray(product(x, relu=relu)[:, : product.outputs])
    return x


def seconds(function: Callable[[], Any]) -> float:
    """Return the processor time of one call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> int:
    """Print a line for every number of frames; see the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--frames", type=int, nargs="+", default=[20, 100, 1000, 6000])
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    encoder = mlx_model.load(options.model).encoder
    layers = layers_of(encoder)
    products = [(cpu_engine.Product(layer), relu) for layer, relu in layers]
    apart, slower = 0.0, False
    for frames in options.frames:
        x = np.random.default_rng(0).standard_normal((frames, layers[0][0].weight.shape[1])).astype(np.float32)
        apart = max(apart, float(np.abs(by_mlx(layers, x) - by_engine(products, x)).max()))

        def whole(by: str, x: np.ndarray = x) -> None:
            with engines.only(by):
                mx.eval(encoder(mx.array(x)[None], {}))

        sides = (
            lambda whole=whole: whole(PLAIN), lambda x=x: by_mlx(layers, x),
            lambda whole=whole: whole(Kernels.name), lambda x=x: by_engine(products, x),
        )  # fmt: skip
        rounds = [[seconds(side) for side in sides] for _ in range(options.rounds)]
        mlx, its_products, engine, own_products = (1e3 * median(times) for times in zip(*rounds, strict=True))
        slower |= engine > mlx
        print(
            f"{frames:5d} frames: network {mlx:.2f} ms, its products {its_products:.2f}; by the engine {engine:.2f}, "
            f"{own_products:.2f}; {engine / mlx:.2f}"
        )
    print(f"furthest apart {apart:.1e}")
    return int(apart > CLOSE or slower)


if __name__ == "__main__":
    raise SystemExit(main())
