"""Structural facts: what distances could miss, one row a fact, and how it is read off either side.

A fact of two words is a property, {module: value}, listed by the modules that have it; a fact of one word is a module,
and lists its settings. Modules are known by what they hold, so neither torch nor MLX is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Values = dict[str, Any]
CIF_SETTINGS = ("tail_threshold", "smooth_factor", "noise_threshold")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact: {module or setting: value} of FunASR's model, and of ours."""

    reference: Callable[[Any], Values]
    candidate: Callable[[Any], Values]


def each(known_by: Sequence[str], value: Callable[[Any], Any]) -> Callable[[Any], Values]:
    """Return what reads `value` off every module that has all of these attributes."""

    def read_off(model: Any) -> Values:
        modules = model.named_modules()
        return {name: value(module) for name, module in modules if all(hasattr(module, key) for key in known_by)}

    return read_off


def _their_cif(model: Any) -> Values:
    return {name: getattr(model.predictor, name) for name in ("threshold", *CIF_SETTINGS)}


def _our_cif(model: Any) -> Values:
    # Tokens fire at whole sums by construction; the configuration refuses any other threshold.
    return {"threshold": 1.0} | {name: getattr(model.predictor, name) for name in CIF_SETTINGS}


def _their_orders(block: Any) -> list[int]:
    return [block.lorder, block.lstride, block.rorder, block.rstride if block.rorder else 0]


def _our_orders(block: Any) -> list[int]:
    right = block.conv_right
    ahead = [0, 0] if right is None else [right.weight.shape[1], right.stride]
    return [block.conv_left.weight.shape[1], block.conv_left.stride, *ahead]


def _their_vad(model: Any) -> Values:
    opts, cache = model.vad_opts, model.init_cache({})
    window = cache["windows_detector"]
    return {
        "window": window.win_size_frame,
        "to_speech": window.sil_to_speech_frmcnt_thres,
        "to_silence": window.speech_to_sil_frmcnt_thres,
        "latency": model.LatencyFrmNumAtStartPoint(cache=cache),
        "lookahead": int(opts.lookahead_time_end_point / opts.frame_in_ms),
        "longest": opts.max_single_segment_time / opts.frame_in_ms,
        "end_silence_ms": cache["stats"].max_end_sil_frame_cnt_thresh,
        "threshold": cache["stats"].speech_noise_thres,
    }


def _our_vad(model: Any) -> Values:
    machine = model.stream().decision
    return {
        "window": machine.window.size,
        "to_speech": machine.window.to_speech,
        "to_silence": machine.window.to_silence,
        "latency": machine.latency,
        "lookahead": machine.lookahead,
        "longest": machine.longest,
        "end_silence_ms": machine.max_end_silence_ms,
        "threshold": model.stream().threshold,
    }


FACTS: Mapping[str, Fact] = {
    "LayerNorm eps": Fact(
        reference=each(["eps", "normalized_shape"], lambda norm: norm.eps),
        candidate=each(["eps"], lambda norm: norm.eps),
    ),
    "attention heads": Fact(
        reference=each(["h", "d_k"], lambda attention: attention.h),
        candidate=each(["heads"], lambda attention: attention.heads),
    ),
    "FSMN padding": Fact(
        reference=each(["pad_fn"], lambda attention: list(attention.pad_fn.padding)),
        candidate=each(["fsmn_block"], lambda attention: [attention.fsmn_block.left, attention.fsmn_block.right]),
    ),
    "FSMN orders": Fact(
        reference=each(["conv_left"], _their_orders),
        candidate=each(["conv_left"], _our_orders),
    ),
    "BatchNorm eps": Fact(
        reference=each(["eps", "running_var"], lambda norm: norm.eps),
        candidate=each(["eps", "running_var"], lambda norm: norm.eps),
    ),
    "predictor": Fact(reference=_their_cif, candidate=_our_cif),
    "decision": Fact(reference=_their_vad, candidate=_our_vad),
}


def read(names: Sequence[str], model: Any, *, reference: bool) -> dict[str, Values]:
    """Return {fact: {module: value}} of one side's model."""
    return {name: (FACTS[name].reference if reference else FACTS[name].candidate)(model) for name in names}
