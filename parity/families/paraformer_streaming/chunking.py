"""How a stream is cut and how far it looks back, as FunASR names it; the settings that recordings take turns in.

Loaded beside torch by the reference and beside MLX by the candidate; must import neither.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

OPTIONS = ("chunk_size", "encoder_chunk_look_back", "decoder_chunk_look_back")
SAMPLES = 960  # of a frame after LFR, at 16 kHz: hard-coded in FunASR's loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One setting: frames before, of and after a chunk; look-backs in chunks (-1: all on the encoder's side)."""

    chunk_size: tuple[int, int, int]
    encoder_chunk_look_back: int = 0
    decoder_chunk_look_back: int = 0

    @property
    def stride(self) -> int:
        """Samples of a chunk."""
        return self.chunk_size[1] * SAMPLES

    @property
    def options(self) -> dict[str, Any]:
        """The setting as FunASR's `generate` takes it."""
        return {name: [*value] if name == "chunk_size" else value for name, value in zip(OPTIONS, self._all)}

    @property
    def array(self) -> np.ndarray:
        """The five numbers, int32, as a trace holds them."""
        return np.array([*self.chunk_size, *self._all[1:]], dtype=np.int32)

    @property
    def _all(self) -> tuple[Any, ...]:
        return (self.chunk_size, self.encoder_chunk_look_back, self.decoder_chunk_look_back)

    @property
    def words(self) -> str:
        """The setting as the command line takes it."""
        size = ",".join(map(str, self.chunk_size))
        return f"--chunk {size} --look-back {self.encoder_chunk_look_back},{self.decoder_chunk_look_back}"


def cut_of(array: np.ndarray) -> Cut:
    """Return the setting of five numbers."""
    before, frames, after, encoder, decoder = map(int, array)
    size = (before, frames, after)
    return Cut(chunk_size=size, encoder_chunk_look_back=encoder, decoder_chunk_look_back=decoder)


# The demos' setting first; then left context, all of the past and a decoder's -1, which is none; FunASR's default, which
# looks back on neither side; shorter chunks with the decoder looking back further than one.
TURNS = (
    Cut(chunk_size=(0, 10, 5), encoder_chunk_look_back=4, decoder_chunk_look_back=1),
    Cut(chunk_size=(5, 10, 5), encoder_chunk_look_back=2, decoder_chunk_look_back=-1),
    Cut(chunk_size=(0, 10, 5)),
    Cut(chunk_size=(0, 8, 4), encoder_chunk_look_back=-1, decoder_chunk_look_back=2),
    Cut(chunk_size=(4, 6, 3), encoder_chunk_look_back=1, decoder_chunk_look_back=1),
)


def turns(options: Mapping[str, Any]) -> Iterator[Cut]:
    """Yield the setting of one recording after the other: the same for all where options ask for one."""
    if not options:
        return itertools.cycle(TURNS)
    size: Any = options.get("chunk_size", (0, 10, 5))
    given = {name: int(options[name]) for name in OPTIONS[1:] if name in options}
    return itertools.repeat(Cut(chunk_size=tuple(map(int, size)), **given))
