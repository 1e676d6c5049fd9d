"""How a stream is cut: what follows from FunASR's three numbers, and what is refused. Oracle: by hand."""

from __future__ import annotations

from typing import Any

import pytest

from mlx_model.config.chunking import Chunking
from mlx_model.errors import UsageError


def test_what_follows_from_the_numbers():
    made = Chunking(chunk_size=[5, 10, 4], encoder_chunk_look_back=4, decoder_chunk_look_back=1)  # type: ignore[arg-type]
    assert (made.left, made.stride, made.ahead, made.overlap) == (5, 10, 4, 9)
    assert (made.encoder_keys, made.decoder_keys) == (40, 10)
    assert made == Chunking(chunk_size="5,10, 4", encoder_chunk_look_back=4, decoder_chunk_look_back=1)  # type: ignore[arg-type]


def test_minus_one_is_all_to_the_encoder_and_nothing_to_the_decoder():
    made = Chunking(encoder_chunk_look_back=-1, decoder_chunk_look_back=-1)
    assert (made.chunk_size, made.encoder_keys, made.decoder_keys) == ((0, 10, 5), -1, 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((0, 10, 0), "at least 1 frame to the right"),
        ((-1, 10, 5), "left context of at least 0"),
        ((0, 0, 5), "stride of at least 1"),
        ((0, 10), "three whole numbers"),
        ((0, 10, 5, 1), "three whole numbers"),
        ((0, 10.0, 5), "three whole numbers"),
        ((0, True, 5), "three whole numbers"),
        ("0,ten,5", "three whole numbers"),
        ("", "three whole numbers"),
        (10, "three whole numbers"),
        (None, "three whole numbers"),
        ((0, 10**9, 5), "more than 15000 frames"),
    ],
)
def test_chunk_sizes_of_which_no_stream_can_be_made(given: Any, said: str):
    with pytest.raises(UsageError, match=said):
        Chunking(chunk_size=given)


@pytest.mark.parametrize("given", [-2, 1.5, True, "4", None, 10**9])
@pytest.mark.parametrize("name", ["encoder_chunk_look_back", "decoder_chunk_look_back"])
def test_look_backs_that_mean_nothing(name: str, given: Any):
    with pytest.raises(UsageError, match=name):
        Chunking(**{name: given})
