"""How a stream is cut into windows, how far windows look back, and in how many bits: FunASR's numbers. Stdlib only.

    chunk_size = (left, stride, right), in encoder frames of 60 ms: a window holds left + stride + right of them, moves
    on by stride, and decides on the frames between left and right. The right ones are looked at ahead of their turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlx_model.errors import UsageError

MOST_FRAMES = 15_000  # of a window: 15 minutes, where attention takes 4 GB a layer at full size
KEY_BITS = (32, 12)
UNLIMITED = -1  # the encoder's look-back: all there was


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunking:
    """chunk_size and look-backs, FunASR's names and defaults; every released demo passes 4 and 1 for the latter two.

    The encoder's look-back L: 0 none, L > 0 the keys of L * stride frames, -1 of all there were (memory then grows).
    The decoder's: L > 0 the keys of the last L * stride frames, right context included, of windows that gave tokens;
    0 none, and -1, as in FunASR, none either.

    chunk_size may be text, "0,10,5". key_bits 12: what is looked back at is kept in 0.4 of the memory, rounded about as
    float16 is (parts/kept_keys.py); 32: as it was computed.

    Raises:
        UsageError: not three whole numbers of which a stream can be made, a look-back below -1, or other bits.
    """

    chunk_size: tuple[int, int, int] = (0, 10, 5)
    encoder_chunk_look_back: int = 0
    decoder_chunk_look_back: int = 0
    key_bits: int = 32

    def __post_init__(self) -> None:
        object.__setattr__(self, "chunk_size", _three(self.chunk_size))
        for name in ("encoder_chunk_look_back", "decoder_chunk_look_back"):
            value = getattr(self, name)
            if not _is_whole(value) or not UNLIMITED <= value <= MOST_FRAMES:
                raise UsageError(f"{name} = {value!r}: expected a whole number: 0 none, -1 all, or so many chunks")
        if not _is_whole(self.key_bits) or self.key_bits not in KEY_BITS:
            raise UsageError(f"key_bits = {self.key_bits!r}: expected one of {', '.join(map(str, KEY_BITS))}")

    @property
    def left(self) -> int:
        """Frames of a window that were decided on before."""
        return self.chunk_size[0]

    @property
    def stride(self) -> int:
        """Frames by which a window moves on."""
        return self.chunk_size[1]

    @property
    def ahead(self) -> int:
        """Frames of a window that the next one decides on."""
        return self.chunk_size[2]

    @property
    def overlap(self) -> int:
        """Frames that a window has of the ones before."""
        return self.left + self.ahead

    def decided(self, frames: int, *, final: bool) -> slice:
        """Return which frames of a window of so many are decided on: with the last one, also those ahead."""
        return slice(self.left, frames if final else self.left + self.stride)

    @property
    def encoder_keys(self) -> int:
        """How many frames' keys the encoder keeps; UNLIMITED: all."""
        look_back = self.encoder_chunk_look_back
        return UNLIMITED if look_back == UNLIMITED else look_back * self.stride

    @property
    def is_packed(self) -> bool:
        """Whether keys are kept in 12 bits."""
        return self.key_bits == 12

    @property
    def decoder_keys(self) -> int:
        """How many frames' keys the decoder keeps."""
        return max(self.decoder_chunk_look_back, 0) * self.stride


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _three(given: Any) -> tuple[int, int, int]:
    """Return chunk_size as a tuple, or say what is wrong with it."""
    shown = f"chunk_size = {given!r:.60}"
    if isinstance(given, str):
        words = given.split(",")
        given = [int(word) if word.strip().removeprefix("-").isdecimal() else None for word in words]
    if not isinstance(given, Sequence) or len(given) != 3 or not all(map(_is_whole, given)):
        raise UsageError(f"{shown}: expected three whole numbers, left, stride and right, such as 0, 10, 5")
    left, stride, right = given
    if left < 0 or stride < 1:
        raise UsageError(f"{shown}: expected a left context of at least 0 frames and a stride of at least 1")
    if right < 1:
        raise UsageError(
            f"{shown}: expected at least 1 frame to the right: without look-ahead FunASR keeps no keys, and its "
            "windows grow without end"
        )
    if left + stride + right > MOST_FRAMES:
        raise UsageError(f"{shown}: a window of more than {MOST_FRAMES} frames")
    return left, stride, right
