"""What keys of 12 bits cost a stream in tokens, and what they save: against keys as computed, on the same samples.

    python benchmarks/streaming_keys.py MODEL [--limit 500] [--look-back 4,1] [--memory FULL_SIZE_MODEL]

MODEL is a converted ParaformerStreaming; every utterance of AISHELL's S0150 goes through it with `key_bits` 32 and 12,
all of one kind as one batch of streams. Printed: utterances and tokens that differ (edit distance of the ids). With
`--memory`: the bytes of everything that one stream keeps of another model, after ten windows of speech.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import measure
import numpy as np


def heard(model: Any, waveforms: list[np.ndarray], **options: Any) -> list[list[int]]:
    """Return each recording's token ids."""
    from mlx_model.pipelines.streams import Streams

    many = Streams(model)
    streams = [many.open(**options) for _ in waveforms]
    found: dict[int, list[int]] = {id(stream): [] for stream in streams}
    for stream, waveform in zip(streams, waveforms, strict=True):
        stream.push(waveform, is_final=True)
    while partials := many.step():
        for stream, partial in partials:
            found[id(stream)] += partial.token_ids
    return [found[id(stream)] for stream in streams]


def distance(one: list[int], two: list[int]) -> int:
    """Return the edit distance of two lists."""
    row = list(range(len(two) + 1))
    for number, left in enumerate(one, 1):
        before, row[0] = row[0], number
        for at, right in enumerate(two, 1):
            before, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, before + (left != right))
    return row[-1]


def kept_bytes(model: Any, waveform: np.ndarray, **options: Any) -> int:
    """Return the bytes of what a stream keeps, as they lie in memory."""
    stream = model.stream(**options, keep_text=False)
    stream.feed(waveform)
    frontend, network = stream.caches
    decoder, keys = network.decoder, network.encoder.keys
    arrays = [stream.rest, frontend.samples, frontend.logmel, network.encoder.feats, network.predictor.hidden]
    arrays += [] if keys is None else [*keys]
    arrays += [] if decoder is None else [decoder.inputs, *(decoder.keys or ())]
    return sum(array.nbytes for array in arrays)


def main() -> None:
    """Compare, and count bytes."""
    from mlx_model.audio.files import load_audio
    from mlx_model.loading import load

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--look-back", default="4,1")
    parser.add_argument("--memory", type=Path, default=None)
    given = parser.parse_args()
    encoder, decoder = map(int, given.look_back.split(","))
    asked: dict[str, Any] = {"encoder_chunk_look_back": encoder, "decoder_chunk_look_back": decoder}
    waveforms = [load_audio(path, 16000) for path in measure.utterances(limit=given.limit)]
    model = load(given.model)
    exact, packed = ([] for _ in range(2))
    for first in range(0, len(waveforms), 50):
        some = waveforms[first : first + 50]
        exact += heard(model, some, **asked)
        packed += heard(model, some, **asked, key_bits=12)
    differ = [distance(one, two) for one, two in zip(exact, packed, strict=True)]
    print(f"| key_bits 12 against 32 | {len(differ)} streams, {sum(map(len, exact))} tokens | "
          f"{sum(map(bool, differ))} streams, {sum(differ)} tokens differ |")  # fmt: skip
    if given.memory is not None:
        large = load(given.memory)
        for bits in (32, 12):
            size = kept_bytes(large, np.concatenate(waveforms)[:96_000], **asked, key_bits=bits)
            print(f"| one stream keeps, key_bits {bits} | {size / 1e6:.2f} MB |")


if __name__ == "__main__":
    main()
