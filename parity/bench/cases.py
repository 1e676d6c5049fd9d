"""The table of cases: what is timed, and how many operations each takes, counted from the configuration.

Stdlib and mlx_model.config only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_model.config.parts import (
    CifPredictorConfig,
    ParaformerSANMDecoderConfig,
    SANMEncoderConfig,
    WavFrontendConfig,
)
from mlx_model.config.sections import nearest
from mlx_model.errors import UsageError

# Rows of the square product whose rate is the machine's, by device and precision: large enough that neither packing nor
# waiting for a GPU shows. Other pairs have no rate: in half precision MLX multiplies at 2 GFLOP/s on a CPU, which would
# take minutes, and no side has a product of integers to offer.
PRODUCT = {
    ("cpu", "float32"): 2048,
    ("gpu", "float32"): 8192,
    ("gpu", "float16"): 8192,
    ("gpu", "bfloat16"): 8192,
}
PRODUCT_RUNS = 5
EMPTY_RUNS = 200  # in a row: threads that wait by spinning are still awake


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that is timed. `run`: which request times it: stages, files, or a process of its own."""

    name: str
    title: str
    run: str


CASES = {
    case.name: case
    for case in (
        Case(name="frontend", title="front end", run="stages"),
        Case(name="encoder", title="encoder", run="stages"),
        Case(name="predictor", title="predictor", run="stages"),
        Case(name="decoder", title="decoder", run="stages"),
        Case(name="network", title="features to logits", run="stages"),
        Case(name="end_to_end", title="files to text", run="files"),
        Case(name="cold_start", title="whole process, one file", run="process"),
    )
}
NETWORK = ("encoder", "predictor", "decoder")  # what `network` is the sum of, where a side can tell them apart


def choose(names: Sequence[str] | None) -> list[Case]:
    """Return the cases of those names (None: all), in the table's order.

    Raises:
        UsageError: a name is not in the table.
    """
    for name in names or ():
        if name not in CASES:
            near = nearest(name, list(CASES))
            raise UsageError(f"--stages {name!r}: no such stage{near}; there are {', '.join(CASES)}")
    return [case for name, case in CASES.items() if names is None or name in names]


def frames(config: WavFrontendConfig, samples: int) -> int:
    """Return T, the low-frame-rate frames of that many samples."""
    fbank = max(1 + (samples - config.frame_samples) // config.shift_samples, 0)
    return -(-fbank // config.lfr_n)


def gflop(config: Any, T: int, tokens: Sequence[int]) -> dict[str, float]:
    """Return the operations of a batch in units of 1e9, by case; a multiplication and an addition count as two.

    Nothing where a part of the model's network is not in COUNTED. Counted are matrix products, attention and
    convolutions; norms, softmax, activations and the front end are not. T frames in every recording, U tokens in each;
    D width, E hidden units, K kernel, V vocabulary, W feature width:

        encoder    sum over blocks of 2T (3D Din + D D + 2 D E) + 4 T T D + 2 T D K     Din = W in the first, else D
        predictor  2T D D' (l + r + 1) + 2T D + 2T D      D' = D in V2, 1 in V1 (depthwise); conv, weight, integration
        decoder    sum over attention blocks of 2U (2 D E + 2 D D) + 4T D D + 4 U T D + 2 U D K
                   + blocks without attention 2U 2 D E + 2 U D K + one last feed-forward 2U 2 D E + 2 U D V
    """
    parts = {name: type(getattr(config, name)) for name in NETWORK if hasattr(config, name)}
    if not parts or not all(part in COUNTED for part in parts.values()):
        return {}
    found = {name: COUNTED[part](config, T, tokens) for name, part in parts.items()}
    total = sum(found.values())
    return {name: value / 1e9 for name, value in {**found, "network": total, "end_to_end": total}.items()}


def _encoder(config: Any, T: int, tokens: Sequence[int]) -> int:
    conf: SANMEncoderConfig = config.encoder
    D, E = conf.output_size, conf.linear_units
    widths = [config.frontend.output_size] + [D] * (conf.num_blocks - 1)
    rows = sum(2 * T * (3 * D * given + D * D + 2 * D * E) for given in widths)
    return len(tokens) * (rows + conf.num_blocks * (4 * T * T * D + 2 * T * D * conf.kernel_size))


def _predictor(config: Any, T: int, tokens: Sequence[int]) -> int:
    conf: CifPredictorConfig = config.predictor
    D = config.encoder.output_size
    mixed = D if config.predictor_class == "CifPredictorV2" else 1
    return len(tokens) * (2 * T * D * mixed * (conf.l_order + conf.r_order + 1) + 4 * T * D)


def _decoder(config: Any, T: int, tokens: Sequence[int]) -> int:
    conf: ParaformerSANMDecoderConfig = config.decoder
    D, found = config.encoder.output_size, 0
    for U in tokens:
        feed_forward, memory = 2 * U * 2 * D * conf.linear_units, 2 * U * D * conf.kernel_size
        attending = feed_forward + memory + 2 * U * 2 * D * D + 4 * T * D * D + 4 * U * T * D
        others = max(conf.num_blocks - conf.att_layer_num, 0) * (feed_forward + memory)
        found += conf.att_layer_num * attending + others + feed_forward + 2 * U * D * config.vocab_size
    return found


# sections of a configuration -> what their part computes; a family's network is counted where all of its parts are here
COUNTED: dict[type[Any], Callable[[Any, int, Sequence[int]], int]] = {
    SANMEncoderConfig: _encoder,
    CifPredictorConfig: _predictor,
    ParaformerSANMDecoderConfig: _decoder,
}
