"""Faults of SeACo: how hotwords are read, what is done with the two decoders' states, the filter, and the choice.

Those of the layers inside stand with those layers. Some need fifty hotwords: then the filter works.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from mlx_model import ops
from mlx_model.machine.blas import mx
from mlx_model.parts import seaco as healthy
from parity.faults import lstm, sanm_decoder
from parity.faults.fault import Fault, Seed, exchange, fault, method, rewrite
from parity.sides.candidate import Candidate

PART = "mlx_model.parts.seaco"
HOTWORDS = "mlx_model.parts.hotwords"
MANY = "more than 50 hotwords"
# Of an LSTM's faults, those of one module alone that show in one direction as well.
ONE_WAY = ("lstm_input_bias_lost", "lstm_state_bias_lost", "lstm_state_transposed")
VECTORS, LAYERS, OUTPUT = "bias_encoder", "seaco_decoder", "hotword_output_layer"


def _exchanged(name: str, value: Any, place: str = "") -> Seed:
    """Return a seed: another value for a name in the file `place`, or in the model's own."""
    return lambda candidate, stack: exchange(stack, f"{place or candidate.model.__module__}.{name}", value)


def _of_model(change: Callable[[Any], None]) -> Seed:
    return lambda candidate, stack: change(candidate.model)


# ---- hotwords


def _states(pick: Callable[[mx.array, mx.array], mx.array]) -> Seed:
    """Return a seed: `pick(states, lengths)` is a group's vectors."""

    def last_states(table: mx.array, lstm: Any, ids: Any) -> mx.array:
        lengths = mx.array([len(each) for each in ids])
        size = max(map(len, ids))
        rows = mx.array([[*each, *[0] * (size - len(each))] for each in ids])
        return pick(lstm(table[rows], lengths), lengths)

    return _exchanged("_last_states", last_states, HOTWORDS)


def _mean(states: mx.array, lengths: mx.array) -> mx.array:
    return states.sum(axis=1) / lengths[:, None]


def _without_lengths(candidate: Candidate, stack: ExitStack) -> None:
    """The LSTM runs on over the padding, whose last step is taken."""
    original = type(candidate.model.bias_encoder).__call__
    method(candidate.model.bias_encoder, "__call__", lambda self, x, lengths=None: original(self, x))
    _states(lambda states, lengths: states[:, -1])(candidate, stack)


def _one_layer_twice(model: Any) -> None:
    lstm = model.bias_encoder
    for name in [name for name in lstm.parameters() if "_l1" in name]:
        other = lstm[name.replace("_l1", "_l0")]
        lstm[name] = other if other.shape == lstm[name].shape else mx.zeros_like(lstm[name])


def _next_row(model: Any) -> None:
    """The token table is read one row too far."""
    table = model.decoder.embed[0]["weight"]
    model.decoder.embed[0]["weight"] = mx.concatenate([table[1:], table[:1]])


def _as_listed(change: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> Callable[[Any], None]:
    """Return what changes the ids that the branch is given."""

    def put(model: Any) -> None:
        original = type(model).hotword_ids

        def hotword_ids(self: Any, options: Any) -> Any:
            found = original(self, options)
            return None if found is None else change(found)

        method(model, "hotword_ids", hotword_ids)

    return put


def _group_order(candidate: Candidate, stack: ExitStack) -> None:
    """Vectors stay in the order of their lengths."""
    exchange(stack, f"{HOTWORDS}.places", lambda order: list(range(len(order))))


# ---- the two passes


def _attended(change: Callable[[Any, Any], Any]) -> Callable[[Any], None]:
    """Return what changes how the two attended states become one."""
    return lambda model: method(model, "attended", lambda self, cif, states: change(cif, states))


def _before_norm(model: Any) -> None:
    """The branch is given the recogniser's states before the last norm."""

    def both(self: Any, *given: Any) -> tuple[Any, Any]:
        norm, before = type(self.after_norm).__call__, []

        def watched(module: Any, x: Any) -> Any:
            before.append(ops.leave(x))
            return norm(module, x)

        method(self.after_norm, "__call__", watched)
        logits, _ = original(self, *given)
        return logits, before[-1]

    original = type(model.decoder).both
    method(model.decoder, "both", both)


def _four_layers(model: Any) -> None:
    for layer in model.seaco_decoder.decoders[4:]:
        rewrite(layer, lambda self, tgt, *rest: tgt)


def _kernel_of_the_recogniser(model: Any) -> None:
    """The window of the FSMN stands where a kernel of 11 would put it."""
    block = model.seaco_decoder.decoders[0].self_attn.fsmn_block
    wide = block.left + block.right
    block.left = max(wide // 4, 0)
    block.right = wide - block.left


# ---- the filter


def _filter_layer(layer: int) -> Seed:
    return _exchanged("FILTER_LAYER", layer, PART)


def _logits_as_attention(model: Any) -> None:
    original = type(model.seaco_decoder).forward_asf6
    method(model.seaco_decoder, "forward_asf6", lambda self, *given: mx.log(original(self, *given)))


def _scored_embeds(model: Any) -> None:
    """Scores are taken of CIF's embeddings, not of the recogniser's states."""
    given, decode, kept_entries = [], type(model).decode, type(model).kept_entries

    def watched(self: Any, embeds: mx.array, *rest: Any) -> mx.array:
        given.append(embeds)
        return decode(self, embeds, *rest)

    method(model, "decode", watched)
    method(model, "kept_entries", lambda self, hidden, *rest: kept_entries(self, given[-1], *rest))


def _best(count: int, *, last: bool = True, sign: float = 1.0) -> Seed:
    """Return a seed: so many entries are kept, with or without [sos] behind them; a sign of -1 keeps the least."""

    def best_entries(scores: mx.array) -> mx.array:
        B, N = scores.shape
        best = mx.argsort(-sign * scores, axis=-1)[:, :count]
        end = mx.full((B, 1), N - 1, dtype=best.dtype)
        return mx.concatenate([best, end], axis=1) if last else best

    return _exchanged("best_entries", best_entries)


def _first_recordings(candidate: Candidate, stack: ExitStack) -> None:
    """FunASR's own: the first recording of a batch chooses for all."""
    original = healthy.best_entries
    chosen = lambda scores: mx.broadcast_to(original(scores[:1]), (len(scores), healthy.KEPT + 1))  # noqa: E731
    _exchanged("best_entries", chosen)(candidate, stack)


# ---- the choice


def _merged(choose: Callable[[mx.array, mx.array, int], mx.array]) -> Seed:
    return _exchanged("merge", choose)


def _inverted(logits: mx.array, biased: mx.array, no_bias: int) -> mx.array:
    return mx.where(biased.argmax(axis=-1, keepdims=True) == no_bias, biased, logits)


def _larger(logits: mx.array, biased: mx.array, no_bias: int) -> mx.array:
    return mx.maximum(*(x - mx.logsumexp(x, axis=-1, keepdims=True) for x in (logits, biased)))


def _mixed(logits: mx.array, biased: mx.array, no_bias: int) -> mx.array:
    """`seaco_weight`, the weight of a training loss, taken for that of the sum."""
    p, q = (x - mx.logsumexp(x, axis=-1, keepdims=True) for x in (logits, biased))
    abstains = biased.argmax(axis=-1, keepdims=True) == no_bias
    return mx.where(abstains, p, 0.99 * p + 0.01 * q)


def _with_next(logits: mx.array, biased: mx.array, no_bias: int) -> mx.array:
    return healthy.merge(logits, biased, no_bias + 1)


def _unbiased(candidate: Candidate, stack: ExitStack) -> None:
    candidate.model.hotword_output_layer.bias = mx.zeros_like(candidate.model.hotword_output_layer.bias)


def _layers() -> list[Fault]:
    """Return the faults of a SAN-M decoder and of an LSTM, put into the branch's."""
    found = [each for each in sanm_decoder.faults(LAYERS) if each.name != "output_bias_lost"]
    found += [each for each in lstm.faults(VECTORS) if each.name in ONE_WAY]
    return [dataclasses.replace(each, name=f"branch_{each.name}") for each in found]


def faults(at: str = "") -> tuple[Fault, ...]:
    """Return the faults of SeACo, whose parts sit in the model itself."""
    return (
        *_layers(),
        fault("hotword_mean", VECTORS, "a hotword's vector is the mean of its states", _states(_mean)),
        fault("hotword_first_state", VECTORS, "a hotword's vector is its first state",
              _states(lambda states, lengths: states[:, 0])),
        fault("hotword_padding_read", VECTORS, "the LSTM reads on over the padding", _without_lengths),
        fault("bias_layer_twice", VECTORS, "the LSTM's first layer twice", _of_model(_one_layer_twice)),
        fault("hotword_next_row", VECTORS, "the token table read one row too far", _of_model(_next_row)),
        fault("hotword_order", VECTORS, "vectors in the order of their lengths", _group_order),
        fault("hotwords_without_sos", "hotwords", "no entry [sos] behind the list",
              _of_model(_as_listed(lambda ids: ids[:-1]))),
        fault("hotword_lost", "hotwords", "the first hotword is left out", _of_model(_as_listed(lambda ids: ids[1:]))),
        fault("states_before_norm", "branch.states", "the branch is given states before the last norm",
              _of_model(_before_norm)),
        fault("branch_of_embeds", "attended.sum", "only CIF's embeddings attend to hotwords",
              _of_model(_attended(lambda cif, states: cif))),
        fault("branch_of_states", "attended.sum", "only the recogniser's states attend to hotwords",
              _of_model(_attended(lambda cif, states: states))),
        fault("attended_mean", "attended.sum", "the mean of both, not the sum",
              _of_model(_attended(lambda cif, states: 0.5 * (cif + states)))),
        fault("four_layers", LAYERS, "four layers, as num_blocks says, not att_layer_num's six",
              _of_model(_four_layers)),
        fault("kernel_11_padding", f"{LAYERS}.decoders.0.self_attn", "FSMN window of the recogniser's kernel",
              _of_model(_kernel_of_the_recogniser)),
        fault("filter_layer_5", "filter", "the filter reads the fifth layer", _filter_layer(4), needs=MANY),
        fault("filter_of_logits", "filter", "the filter sums logarithms", _of_model(_logits_as_attention), needs=MANY),
        fault("filter_of_embeds", "filter", "the filter reads CIF's embeddings", _of_model(_scored_embeds), needs=MANY),
        fault("filter_49", "filter", "49 entries kept", _best(49), needs=MANY),
        fault("filter_without_sos", "filter", "no [sos] behind those kept", _best(50, last=False), needs=MANY),
        fault("filter_of_least", "filter", "those kept that are attended to least", _best(50, sign=-1.0), needs=MANY),
        fault("filter_of_first", "invariance: batch composition", "the first recording's entries for all of a batch",
              _first_recordings, batch=True, needs=MANY),
        fault("no_bias_off_by_one", "merge", "NO_BIAS is the token after", _merged(_with_next)),
        fault("merge_inverted", "merge", "the two decoders exchanged", _merged(_inverted)),
        fault("merge_by_maximum", "merge", "the larger of both log probabilities", _merged(_larger)),
        fault("merge_weighted", "merge", "seaco_weight 0.01 weighs the sum", _merged(_mixed)),
        fault("hotword_bias_lost", OUTPUT, "bias of the hotword output layer lost", _unbiased),
    )  # fmt: skip
