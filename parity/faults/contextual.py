"""Faults of CLAS: how hotwords are read, the bias decoder, and how what it finds is put together with the rest.

Those of the other layers are sanm_decoder.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from mlx_model import ops
from mlx_model.machine.blas import mx
from mlx_model.parts import hotwords, lstm
from mlx_model.parts.contextual import Halves
from parity.faults.fault import Fault, Seed, exchange, fault, lost, method, reorder, rewrite, within, without
from parity.sides.candidate import Candidate

VECTORS = "bias_encoder"
SCALED = "clas_scale other than 1"


def _of_model(change: Callable[[Any], None]) -> Seed:
    return lambda candidate, stack: change(candidate.model)


# ---- hotwords


def _read(vectors: Callable[[Any, Any, Sequence[Sequence[int]]], mx.array]) -> Seed:
    """Return a seed: `vectors(table, lstm, ids)` are the hotwords'."""

    def hotword_vectors(self: Any, ids: Sequence[Sequence[int]]) -> mx.array:
        return vectors(self.hotword_table, self.bias_encoder, ids)

    return _of_model(lambda model: method(model, "hotword_vectors", hotword_vectors))


def _padded_end(table: mx.array, encoder: Any, ids: Sequence[Sequence[int]]) -> mx.array:
    size = max(map(len, ids))
    return encoder(table[mx.array([[*each, *[0] * (size - len(each))] for each in ids])])[:, -1]


def _in_order_of_length(table: mx.array, encoder: Any, ids: Sequence[Sequence[int]]) -> mx.array:
    return hotwords.hotword_vectors(table, encoder, None, sorted(ids, key=len))


def _cells(self: Any, gates: mx.array, weights: mx.array) -> mx.array:
    """The recurrence, of which the cells are returned, not the states."""
    K, B, T, _ = gates.shape
    h = c = mx.zeros((K, B, weights.shape[1]))
    cells = []
    for step in range(T):
        i, f, g, o = self.gate_parts(gates[:, :, step] + h @ weights)
        c = mx.sigmoid(f) * c + mx.sigmoid(i) * mx.tanh(g)
        h = mx.sigmoid(o) * mx.tanh(c)
        cells.append(c)
    return mx.stack(cells, axis=2)


def _output_before_cell(candidate: Candidate, stack: ExitStack) -> None:
    """Gates in the order i, f, o, g, as some frameworks have them."""
    parts = lstm.LSTM.gate_parts

    def gate_parts(self: Any, gates: mx.array) -> list[mx.array]:
        i, f, g, o = parts(self, gates)
        return [i, f, o, g]

    exchange(stack, "mlx_model.parts.lstm.LSTM.gate_parts", gate_parts)


def _next_row(model: Any) -> None:
    def rolled(table: mx.array) -> mx.array:
        return mx.concatenate([table[1:], table[:1]])

    if model.config.use_decoder_embedding:
        model.decoder.embed[0]["weight"] = rolled(model.decoder.embed[0]["weight"])
    else:
        model.bias_embed.weight = rolled(model.bias_embed.weight)


def _one_bias(model: Any) -> None:
    model.bias_encoder.bias_hh_l0 = mx.zeros_like(model.bias_encoder.bias_hh_l0)


def _listed(change: Callable[[Any], Any]) -> Seed:
    """Return a seed: the vectors are those of changed ids."""

    def put(model: Any) -> None:
        original = type(model).hotword_vectors
        method(model, "hotword_vectors", lambda self, ids: original(self, change(ids)))

    return _of_model(put)


# ---- the bias decoder


def _with_residual(self: Any, tgt: Any, hotwords: Any) -> Any:
    return tgt + self.src_attn(self.norm3(tgt), hotwords)


def _half_the_heads(decoder: Any) -> None:
    attention = decoder.bias_decoder.src_attn
    attention.heads = attention.heads // 2 if attention.heads % 2 == 0 else 1


# ---- the last layer, and both together


def _fsmn_residual_lost(self: Any, tgt: Any, tgt_mask: Any, memory: Any, memory_mask: Any) -> Halves:
    x = self.self_attn(self.norm2(self.feed_forward(self.norm1(tgt))), tgt_mask)
    return Halves(x, self.src_attn(self.norm3(x), memory, memory_mask))


def _biased(change: Callable[..., Any]) -> Callable[[Any], None]:
    return lambda decoder: method(decoder, "biased", change)


def _after_attention(self: Any, halves: Halves, entries: Any, scale: float) -> Any:
    bias = self.bias_decoder(halves.tokens + halves.context, entries)
    return halves.tokens + self.mixed(halves.context, bias, scale)


def _attended_twice(self: Any, halves: Halves, entries: Any, scale: float) -> Any:
    bias = self.bias_decoder(halves.tokens, entries)
    return halves.tokens + halves.context + self.mixed(halves.context, bias, scale)


def _no_residual(self: Any, halves: Halves, entries: Any, scale: float) -> Any:
    return self.mixed(halves.context, self.bias_decoder(halves.tokens, entries), scale)


def _mixed(both: Callable[[Any, Any, float], list[Any]]) -> Callable[[Any], None]:
    """Return what changes the two that are put side by side."""

    def mixed(self: Any, context: Any, bias: Any, scale: float) -> Any:
        joined = ops.by_row(lambda a, c: mx.concatenate(both(a, c, scale), axis=-1), context, bias)
        return self.bias_output(joined)

    return lambda decoder: method(decoder, "mixed", mixed)


def _kernel_transposed(decoder: Any) -> None:
    weight = decoder.bias_output.weight
    decoder.bias_output.weight = weight.T.reshape(weight.shape)


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of a decoder with a bias branch that sits at `at`, and of what reads the hotwords."""
    bias, last, halves = within(at, "bias_decoder"), within(at, "last_decoder"), within(at, "halves")

    def of(change: Callable[[Any], None]) -> Seed:
        return lambda candidate, stack: change(candidate.modules[at])

    return (
        fault("hotword_padded_end", VECTORS, "the LSTM reads on over the padding", _read(_padded_end)),
        fault("hotword_order", VECTORS, "vectors in the order of their lengths", _read(_in_order_of_length)),
        fault("hotword_cell", VECTORS, "the cell's state, not the hidden one",
              lambda c, s: exchange(s, "mlx_model.parts.lstm.LSTM.recur", _cells)),
        fault("hotword_gates", VECTORS, "gates in another order", _output_before_cell),
        fault("hotword_next_row", VECTORS, "the token table read one row too far", _of_model(_next_row)),
        fault("hotword_one_bias", VECTORS, "one of the LSTM's two biases lost", _of_model(_one_bias)),
        fault("hotwords_without_sos", VECTORS, "no entry [sos] behind the list",
              _listed(lambda ids: ids[:-1] or ids)),
        fault("hotword_lost", VECTORS, "the first hotword is left out", _listed(lambda ids: ids[1:] or ids)),
        fault("bias_residual", bias, "residual around the bias decoder",
              of(lambda d: rewrite(d.bias_decoder, _with_residual))),
        fault("bias_norm_lost", bias, "bias decoder without its norm", of(lambda d: without(d.bias_decoder.norm3))),
        fault("bias_heads", bias, "half of the heads", of(_half_the_heads)),
        fault("bias_k_v_swapped", bias, "k and v of hotwords exchanged",
              of(lambda d: reorder(d.bias_decoder.src_attn.linear_k_v, (1, 0)))),
        fault("bias_out_bias_lost", bias, "bias of the attention's output lost",
              of(lambda d: lost(d.bias_decoder.src_attn.linear_out))),
        fault("last_norm3_lost", last, "last cross-attention without its norm",
              of(lambda d: without(d.last_decoder.norm3))),
        fault("last_fsmn_residual_lost", last, "no residual around feed-forward and FSMN",
              of(lambda d: rewrite(d.last_decoder, _fsmn_residual_lost))),
        fault("bias_after_attention", last, "the bias decoder is given tokens after cross-attention",
              of(_biased(_after_attention))),
        fault("attended_twice", within(at, "biased"), "the last layer's own residual sum is used",
              of(_biased(_attended_twice))),
        fault("biased_without_tokens", within(at, "biased"), "what was found without the tokens",
              of(_biased(_no_residual))),
        fault("halves_exchanged", halves, "hotwords in front of the recording",
              of(_mixed(lambda a, c, scale: [c * scale, a]))),
        fault("bias_skipped", halves, "nothing of the hotwords", of(_mixed(lambda a, c, scale: [a, mx.zeros_like(c)]))),
        fault("scale_on_the_recording", halves, "clas_scale on the other half",
              of(_mixed(lambda a, c, scale: [a * scale, c])), needs=SCALED),
        fault("scale_ignored", halves, "clas_scale is not read", of(_mixed(lambda a, c, scale: [a, c])), needs=SCALED),
        fault("kernel_transposed", within(at, "bias_output"), "inputs and outputs of the 1x1 kernel mixed",
              of(_kernel_transposed)),
    )  # fmt: skip
