"""Faults of a SAN-M decoder over windows: the memory's past, the keys it looks back on, silent windows, decoders2.

Those of a layer's arithmetic are sanm_decoder.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from mlx_model.config.chunking import MOST_FRAMES, Chunking
from mlx_model.machine.blas import mx
from mlx_model.parts import sanm_chunk
from mlx_model.parts.sanm_chunk import Keys, TokenPast
from parity.faults.fault import Fault, Seed, exchange, fault, method, rewrite_all, within
from parity.sides.candidate import Candidate

PART, CHUNKING = "mlx_model.parts.sanm_chunk", "mlx_model.config.chunking.Chunking"
SILENT = "a window without a token behind one with some"
LOOKS_BACK = "a setting in which the decoder looks back"


def _past_lost(candidate: Candidate, stack: ExitStack) -> None:
    kind = sanm_chunk.MultiHeadedAttentionSANMDecoderChunk
    call = kind.__call__
    rewrite_all(candidate, kind, lambda self, inputs, past, counts, mask: call(self, inputs, None, counts, mask))


def _past_off_by_one(candidate: Candidate, stack: ExitStack) -> None:
    call = sanm_chunk.last_of

    def last_of(padded: mx.array, counts: Sequence[int], reach: int) -> mx.array:
        return call(padded, [count - 1 for count in counts], reach)

    exchange(stack, f"{PART}.last_of", last_of)


def _keys_lost(candidate: Candidate, stack: ExitStack) -> None:
    kind = sanm_chunk.MultiHeadedAttentionCrossAttChunk
    call = kind.__call__
    rewrite_all(candidate, kind, lambda self, x, memory, past, chunking: call(self, x, memory, None, chunking))


def _in_silence(change: Callable[[Any, Any], TokenPast]) -> Seed:
    """Seed a past that moves on in windows without a token: `change(model, step)`."""

    def seed(candidate: Candidate, stack: ExitStack) -> None:
        healthy = type(candidate.model)._spelt

        def moved(self: Any, step: Any) -> Any:
            if len(step.tokens) or step.cache.decoder is None:
                return step
            return step._replace(cache=replace(step.cache, decoder=change(self, step)))

        def spelt(self: Any, steps: Any, encoder_out: mx.array) -> Any:
            return [moved(self, step) for step in healthy(self, steps, encoder_out)]

        method(candidate.model, "_spelt", spelt)

    return seed


def _zeros_remembered(model: Any, step: Any) -> TokenPast:
    past = step.cache.decoder
    return past._replace(inputs=mx.concatenate([past.inputs[:, 1:], mx.zeros_like(past.inputs[:, :1])], axis=1))


def _silence_remembered(model: Any, step: Any) -> TokenPast:
    past, keep = step.cache.decoder, step.cache.chunking.decoder_keys
    if past.keys is None:
        return past
    found = []
    for index, layer in enumerate(model.decoder.decoders):
        new = mx.split(layer.src_attn.linear_k_v(step.encoder_out[None]), 2, axis=-1)
        old = past.keys.k[index], past.keys.v[index]
        found.append([mx.concatenate([was, now[0]])[-keep:] for was, now in zip(old, new, strict=True)])
    return past._replace(keys=Keys(*(mx.stack(list(parts)) for parts in zip(*found, strict=True))))


def _decided_frames_only(candidate: Candidate, stack: ExitStack) -> None:
    """Tokens attend to the frames that a window decides on, not to all of it."""
    call = sanm_chunk.ParaformerSANMDecoderChunk.__call__

    def shorter(self: Any, embeds: Any, memory: Any, past: Any, chunking: Chunking, *rest: Any, **more: Any) -> Any:
        frames = memory[:, chunking.left : chunking.left + chunking.stride]
        return call(self, embeds, frames, past, chunking, *rest, **more)

    rewrite_all(candidate, sanm_chunk.ParaformerSANMDecoderChunk, shorter)


def _every_layer(candidate: Candidate, stack: ExitStack) -> None:
    healthy = sanm_chunk.ParaformerSANMDecoderChunk.streamed
    exchange(stack, f"{PART}.ParaformerSANMDecoderChunk.streamed", lambda self, as_funasr: healthy(self, False))


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of a decoder over windows that sits at `at`."""
    memory, cross = within(at, "decoders.0.self_attn"), within(at, "decoders.0.src_attn")
    unlimited = property(lambda self: MOST_FRAMES if self.decoder_chunk_look_back == -1 else _healthy_keys(self))

    def left_out(candidate: Candidate) -> bool:
        return len(candidate.modules[at].get("decoders2", [])) == 1

    return (
        fault("past_lost", memory, "the memory's past is lost between windows", _past_lost),
        fault("past_off_by_one", memory, "the memory's past ends a token too early", _past_off_by_one),
        fault("past_moves_in_silence", memory, "the memory moves on in a window without tokens",
              _in_silence(_zeros_remembered), needs=SILENT),
        fault("decided_frames_only", cross, "tokens attend to the frames decided on alone", _decided_frames_only,
              needs=LOOKS_BACK),
        fault("cross_keys_lost", cross, "the keys of windows before are lost", _keys_lost, needs=LOOKS_BACK),
        fault("cross_keys_of_silence", cross, "keys of a window without tokens are kept",
              _in_silence(_silence_remembered), needs=f"{LOOKS_BACK}, {SILENT}"),
        fault("minus_one_is_all", cross, "a look-back of -1 is taken for all of the past",
              lambda c, s: exchange(s, f"{CHUNKING}.decoder_keys", unlimited), needs="a decoder's look-back of -1"),
        fault("single_layer_run", within(at, "decoders2.0"), "a single layer of decoders2 is run", _every_layer,
              fits=left_out),
    )  # fmt: skip


def _healthy_keys(chunking: Chunking) -> int:
    return max(chunking.decoder_chunk_look_back, 0) * chunking.stride
