"""FunASR's modules in half precision, and compiled by torch, which its AutoModel offers for neither as a whole.

Both change a loaded Paraformer in place, so that its own `encode`, `calc_predictor`, `cal_decoder_with_predictor` and
AutoModel's `generate` run it so. Imports torch and funasr in its functions; never beside mlx.
"""

from __future__ import annotations

import functools
from typing import Any

MOST_SHAPES = 64  # torch compiles a module for; beyond its default of 8 it would silently run eagerly


def lower(model: Any, dtype: str) -> None:
    """Let encoder and decoder compute in `dtype`, and the predictor in float32.

    FunASR 1.4.16 cannot run as a whole in half precision: in CIF index_put refuses mixed types, and the decoder's
    masks, float32 by default, would turn everything into float32, which its layers then refuse. Those masks are made
    in `dtype` for the whole process from then on. FunASR computes positions in `dtype` too: bfloat16 has no odd numbers
    above 256.
    """
    import torch
    from funasr.models.scama import utils

    target = getattr(torch, dtype)
    for part, taken in ((model.encoder, target), (model.predictor, torch.float32), (model.decoder, target)):
        part.to(taken)
        part.register_forward_pre_hook(functools.partial(_cast, taken))
    plain = getattr(utils.sequence_mask, "func", utils.sequence_mask)
    utils.sequence_mask = functools.partial(plain, dtype=target)


def _cast(dtype: Any, _: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a module's inputs, the floating-point tensors among them in `dtype`."""
    return tuple(x.to(dtype) if hasattr(x, "is_floating_point") and x.is_floating_point() else x for x in inputs)


def compile_parts(model: Any, mode: str = "default") -> None:
    """Let torch compile encoder and decoder, for each shape they meet at its first run; `mode` is torch.compile's."""
    import torch

    torch._dynamo.config.recompile_limit = MOST_SHAPES
    for part in (model.encoder, model.decoder):
        part.compile(dynamic=False, mode=mode)
