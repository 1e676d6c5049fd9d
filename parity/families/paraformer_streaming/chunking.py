"""The settings of streams that recordings take turns in, and how a setting is written down.

Loaded beside torch by the reference and beside MLX by the candidate; must import neither.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mlx_model.config.chunking import Chunking

OPTIONS = ("chunk_size", "encoder_chunk_look_back", "decoder_chunk_look_back")
SAMPLES = 960  # of a frame after LFR, at 16 kHz: hard-coded in FunASR's loop

# The demos' setting first. Then left context, whose first keys are not cut, and a decoder's -1, which is none; FunASR's
# default, which looks back on neither side; shorter chunks, all of the past, and a decoder that looks back further.
TURNS = (
    Chunking(chunk_size=(0, 10, 5), encoder_chunk_look_back=4, decoder_chunk_look_back=1),
    Chunking(chunk_size=(5, 10, 5), encoder_chunk_look_back=1, decoder_chunk_look_back=-1),
    Chunking(chunk_size=(0, 10, 5)),
    Chunking(chunk_size=(0, 8, 4), encoder_chunk_look_back=-1, decoder_chunk_look_back=2),
    Chunking(chunk_size=(4, 6, 3), encoder_chunk_look_back=2, decoder_chunk_look_back=1),
)


def turns(options: Mapping[str, Any]) -> Iterator[Chunking]:
    """Yield the setting of one recording after the other: the same for all where options ask for one.

    Raises:
        UsageError: an option is not one that a stream can have.
    """
    if not options:
        return itertools.cycle(TURNS)
    return itertools.repeat(Chunking(**options))


def samples_of(chunking: Chunking) -> int:
    """Return the samples of a chunk."""
    return chunking.stride * SAMPLES


def asked(chunking: Chunking) -> dict[str, Any]:
    """Return a setting as FunASR's `generate` takes it, and our `stream`."""
    return {name: getattr(chunking, name) for name in OPTIONS} | {"chunk_size": [*chunking.chunk_size]}


def numbers(chunking: Chunking) -> np.ndarray:
    """Return a setting's five numbers, int32, as a trace holds them."""
    return np.array([*chunking.chunk_size, *(getattr(chunking, name) for name in OPTIONS[1:])], dtype=np.int32)


def of_numbers(array: np.ndarray) -> Chunking:
    """Return the setting of five numbers."""
    left, stride, ahead, encoder, decoder = map(int, array)
    size = (left, stride, ahead)
    return Chunking(chunk_size=size, encoder_chunk_look_back=encoder, decoder_chunk_look_back=decoder)


def words(chunking: Chunking) -> str:
    """Return a setting as the command line takes it."""
    size = ",".join(map(str, chunking.chunk_size))
    return f"--chunk {size} --look-back {chunking.encoder_chunk_look_back},{chunking.decoder_chunk_look_back}"
