"""Faults of an encoder's second stack of SAN-M layers ("tp") and of what stands between the two."""

from __future__ import annotations

from typing import Any

from parity.faults.fault import Fault, behave, fault, within, without
from parity.sides.candidate import Candidate


def _input_scale(encoder: Any) -> None:
    encoder.scale = encoder.encoders0[0].norm1.weight.shape[0] ** 0.5


def _norms_swapped(encoder: Any) -> None:
    encoder.after_norm, encoder.tp_norm = encoder.tp_norm, encoder.after_norm


def _no_second_stack(encoder: Any) -> None:
    behave(encoder.tp_encoders[0], lambda self, x, mask=None: x)


def _has_stack(candidate: Candidate) -> bool:
    return len(candidate.model.encoder.tp_encoders) > 0


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of an encoder with two stacks that sits at `at`."""
    embed, after_norm, tp_norm, first = (
        within(at, name) for name in ("embed", "after_norm", "tp_norm", "tp_encoders.0")
    )

    def encoder(candidate: Candidate) -> Any:
        return candidate.modules[at]

    def other_eps(candidate: Candidate, *_: Any) -> None:
        encoder(candidate).tp_norm.eps = 1e-12

    return (
        fault("scale_of_input_width", embed, "sqrt of the input's width, not of output_size",
              lambda c, s: _input_scale(encoder(c))),
        fault("norms_swapped", after_norm, "after_norm and tp_norm exchanged", lambda c, s: _norms_swapped(encoder(c))),
        fault("no_tp_norm", tp_norm, "tp_norm left out", lambda c, s: without(encoder(c).tp_norm)),
        fault("tp_norm_eps", tp_norm, "the Paraformer line's eps in the last norm", other_eps),
        fault("tp_block_left_out", first, "the first block of the second stack does nothing",
              lambda c, s: _no_second_stack(encoder(c)), fits=_has_stack),
        fault("tp_residual", first, "no attention residual in the second stack",
              lambda c, s: setattr(encoder(c).tp_encoders[0], "residual", False), fits=_has_stack),
    )  # fmt: skip
