"""Faults of the whole: precision, masks in a batch, text."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from mlx_model.machine.blas import mx
from mlx_model.parts import sanm as attention
from parity.families.paraformer.faults.encoder import FIRST, rounded
from parity.faults.fault import Fault, exchange
from parity.sides.candidate import Candidate

BATCH = "invariance: batch composition"


def _tf32(candidate: Candidate, stack: ExitStack) -> None:
    """Matrix products at TF32: every projection's weights keep 10 bits of mantissa."""
    for name, module in candidate.model.named_modules():
        if "linear" in name or name.endswith(("w_1", "w_2", "output_layer")):
            module.weight = rounded(module.weight, 10)


def _nan(candidate: Candidate, stack: ExitStack) -> None:
    norm = candidate.model.encoder.after_norm
    norm.bias = norm.bias * float("nan")


def _zeros(candidate: Candidate, stack: ExitStack) -> None:
    """A tensor that was never loaded."""
    linear = candidate.model.decoder.decoders[-1].feed_forward.w_2
    linear.weight = mx.zeros_like(linear.weight)


def _no_attention_mask(candidate: Candidate, stack: ExitStack) -> None:
    original = attention.attend
    exchange(stack, "mlx_model.parts.sanm.attend", lambda q, k, v, heads, _: original(q, k, v, heads, None))


def _no_fsmn_mask(candidate: Candidate, stack: ExitStack) -> None:
    exchange(stack, "mlx_model.ops.masked", lambda x, mask: x)


def _no_predictor_mask(candidate: Candidate, stack: ExitStack) -> None:
    exchange(stack, "mlx_model.parts.cif.masked", lambda x, mask: x)


def _vocabulary(candidate: Candidate, stack: ExitStack) -> None:
    tokenizer = candidate.model.tokenizer
    exchange_tokens = [*tokenizer.tokens[1:], tokenizer.tokens[0]]
    tokenizer.tokens = exchange_tokens


def _reversed_ids(candidate: Candidate, stack: ExitStack) -> None:
    """The second best token for the best at the first position."""
    model = candidate.model
    healthy = type(model).token_ids

    def token_ids(self: Any, output: Any) -> list[list[int]]:
        ids = healthy(self, output)
        if ids and ids[0]:
            ids[0][0] = int(np.argsort(np.array(output.logits[0, 0].astype(mx.float32)))[-2])
        return ids

    model.__class__ = type(type(model).__name__, (type(model),), {"token_ids": token_ids})


def _fault(name: str, module: str, description: str, seed: Any, **more: Any) -> Fault:
    return Fault(name=name, module=module, description=description, seed=seed, **more)


LENGTHS = "utterances of different length"

WHOLE = (
    _fault("tf32", FIRST, "matrix products at TF32", _tf32),
    _fault("nan", "encoder.after_norm", "NaN in a norm", _nan),
    _fault("tensor_not_loaded", "decoder.decoders", "a projection left at zero", _zeros),
    _fault("no_attention_mask", BATCH, "padded frames attended to", _no_attention_mask, batch=True,
           needs=LENGTHS),
    _fault("no_fsmn_mask", BATCH, "padded frames enter the FSMN", _no_fsmn_mask, batch=True, needs=LENGTHS),
    _fault("no_predictor_mask", BATCH, "padded frames enter the predictor's convolution", _no_predictor_mask,
           batch=True, needs=LENGTHS),
    _fault("second_best_token", "token_ids", "an arg-max that is not the largest", _reversed_ids),
    _fault("vocabulary_off_by_one", "tokenizer", "token list shifted by one", _vocabulary),
)  # fmt: skip
