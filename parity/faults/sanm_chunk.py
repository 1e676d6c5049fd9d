"""Faults of a SAN-M encoder in windows: the zeros in front, positions, scale, what layers look back on, the memory.

Those of a layer's arithmetic are sanm_encoder.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from mlx_model import ops
from mlx_model.config.chunking import UNLIMITED, Chunking
from mlx_model.machine.blas import mx
from mlx_model.parts import positions, sanm_chunk
from mlx_model.parts.sanm_chunk import Keys
from parity.faults.fault import Fault, Seed, exchange, fault, method, rewrite_all, within
from parity.sides.candidate import Candidate

PART = "mlx_model.parts.sanm_chunk"
CHUNKING = "mlx_model.config.chunking.Chunking"
ATTENTION = sanm_chunk.MultiHeadedAttentionSANMChunk
LOOKS_BACK = "a setting in which the encoder looks back"
Kept = Callable[[Any, Any, Keys | None, Chunking], Keys]  # (k, v with the past in front, the past) -> what is kept


def _first(change: Callable[[Any, mx.array], mx.array]) -> Seed:
    """Seed other frames in front of a stream's first: `change(model, zeros)`."""

    def seed(candidate: Candidate, stack: ExitStack) -> None:
        healthy = type(candidate.model).new_cache

        def new_cache(self: Any, chunking: Chunking, **more: Any) -> Any:
            made = healthy(self, chunking, **more)
            return replace(made, encoder=replace(made.encoder, feats=change(self, made.encoder.feats)))

        method(candidate.model, "new_cache", new_cache)

    return seed


def _with_positions(model: Any, zeros: mx.array) -> mx.array:
    return zeros + mx.array(positions.positions_from(0, *zeros.shape)).astype(zeros.dtype)


def _positions(change: Callable[[int, int, int], Any]) -> Seed:
    return lambda candidate, stack: exchange(stack, f"{type(candidate.model).__module__}.positions_from", change)


def _window_scaled(candidate: Candidate, stack: ExitStack) -> None:
    """The scale goes to all of a window, to frames that have it already as well."""
    healthy = type(candidate.model).windows

    def windows(self: Any, feats: Any, caches: Any) -> Any:
        window, starts = healthy(self, feats, caches)
        known = caches[0].encoder.feats.shape[0]
        return mx.concatenate([window[:, :known] * self.encoder.scale, window[:, known:]], axis=1), starts

    method(candidate.model, "windows", windows)


def _keeping(kept: Kept) -> Seed:
    """Seed an attention that keeps other keys; all layers', which are kept as one."""

    def call(self: Any, x: Any, past: Keys | None, chunking: Chunking) -> Any:
        q, k, v = ops.split(self.linear_q_k_v(x), 3)
        memory = sanm_chunk.forward_fsmn(self.fsmn_block, v, None)
        keep = chunking.encoder_keys
        k, v = sanm_chunk.behind(past if keep else None, k, v)
        after = kept(ops.leave(k), ops.leave(v), past, chunking) if keep else None
        return self.linear_out(sanm_chunk.attend(q, k, v, self.heads, None)) + memory, after

    return lambda candidate, stack: rewrite_all(candidate, ATTENTION, call)


def _cut(k: Any, v: Any, past: Keys | None, chunking: Chunking, *, ahead: int, first: int) -> Keys:
    parts = [part[:, : part.shape[1] - ahead] for part in (k, v)]
    return Keys(*(part[:, max(part.shape[1] - first, 0) if first else 0 :] for part in parts))


def _all(past: Keys | None, chunking: Chunking) -> int:
    """How many frames' keys are kept; 0: all there are."""
    return 0 if past is None or chunking.encoder_keys == UNLIMITED else chunking.encoder_keys


def _with_look_ahead(k: Any, v: Any, past: Keys | None, chunking: Chunking) -> Keys:
    return _cut(k, v, past, chunking, ahead=0, first=_all(past, chunking))


def _cut_at_once(k: Any, v: Any, past: Keys | None, chunking: Chunking) -> Keys:
    return _cut(k, v, past, chunking, ahead=chunking.ahead, first=max(chunking.encoder_keys, 0))


def _exchanged(k: Any, v: Any, past: Keys | None, chunking: Chunking) -> Keys:
    found = _cut(k, v, past, chunking, ahead=chunking.ahead, first=_all(past, chunking))
    return Keys(found.v, found.k)


def _keys_of(change: Callable[[Keys | None], Keys | None]) -> Seed:
    """Seed an attention that is given another past."""

    def seed(candidate: Candidate, stack: ExitStack) -> None:
        healthy = ATTENTION.__call__
        rewrite_all(candidate, ATTENTION, lambda self, x, past, chunking: healthy(self, x, change(past), chunking))

    return seed


def _first_for_all(self: Keys) -> list[Keys]:
    return [Keys(self.k[:, 0], self.v[:, 0]) for _ in range(self.k.shape[1])]


def _memory_goes_on(candidate: Candidate, stack: ExitStack) -> None:
    """The FSMN memory begins with frames of the window before, not with zeros."""
    healthy = ATTENTION.__call__

    def call(self: Any, x: Any, past: Keys | None, chunking: Chunking) -> Any:
        output, after = healthy(self, x, past, chunking)
        if past is None:
            return output, after
        reach, block = self.fsmn_block.left, self.fsmn_block
        v = ops.leave(ops.split(self.linear_q_k_v(x), 3)[2])
        before = past.v[:, past.v.shape[1] - reach :]
        longer = sanm_chunk.forward_fsmn(block, mx.concatenate([before, v], axis=1), None)[:, reach:]
        own = sanm_chunk.forward_fsmn(block, v, None)
        more = longer - own
        return (output.like(output.leave() + more) if isinstance(output, ops.Rows) else output + more), after

    rewrite_all(candidate, ATTENTION, call)


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of an encoder in windows that sits at `at`."""
    first, embed = f"{within(at, 'encoders0.0')}.self_attn", within(at, "embed")
    frames = property(lambda self: self.encoder_chunk_look_back)
    return (
        fault("nothing_in_front", embed, "no zero frames before the first one",
              _first(lambda model, zeros: zeros[:0])),
        fault("zeros_with_positions", embed, "the zero frames have positions", _first(_with_positions)),
        fault("positions_restart", embed, "positions begin at 1 in every window",
              _positions(lambda start, steps, depth: positions.positions_from(0, steps, depth))),
        fault("positions_one_off", embed, "positions begin at 0",
              _positions(lambda start, steps, depth: positions.positions_from(start - 1, steps, depth))),
        fault("window_scaled", embed, "sqrt(d) on all of a window, not on new frames", _window_scaled),
        fault("keys_with_look_ahead", first, "keys of the right context are kept", _keeping(_with_look_ahead),
              needs=LOOKS_BACK),
        fault("first_keys_cut", first, "keys cut to the look-back after the first window already",
              _keeping(_cut_at_once), needs="left context, and a window that is longer than the look-back"),
        fault("look_back_in_frames", first, "look-back counts frames, not chunks",
              lambda c, s: exchange(s, f"{CHUNKING}.encoder_keys", frames), needs=LOOKS_BACK),
        fault("keys_not_carried", first, "every window starts without keys", _keys_of(lambda past: None),
              needs=LOOKS_BACK),
        fault("kept_k_v_exchanged", first, "keys kept as values", _keeping(_exchanged), needs=LOOKS_BACK),
        fault("keys_of_first_layer", within(at, "encoders.0.self_attn"), "all layers are given the first one's keys",
              lambda c, s: exchange(s, f"{PART}.Keys.layers", _first_for_all),
              needs="a look-back of more than a chunk"),
        fault("memory_goes_on", f"{first}", "FSMN memory carried from window to window", _memory_goes_on,
              needs=LOOKS_BACK),
    )  # fmt: skip
