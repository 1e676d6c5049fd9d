"""Faults of an LSTM: gates, biases, directions; and of the CPU engine's recurrence, in its source."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from mlx_model.machine.blas import mx
from mlx_model.parts import lstm
from parity.faults.engine import ENGINE, changed
from parity.faults.fault import Fault, Seed, behave, exchange, fault
from parity.sides.candidate import Candidate

FILE = "mlx_model.parts.lstm"
GATES = lstm.LSTM.gate_parts


def _gates(order: tuple[int, ...]) -> Callable[[ExitStack], None]:
    def gate_parts(self: Any, gates: mx.array) -> list[mx.array]:
        parts = GATES(self, gates)
        return [parts[i] for i in order]

    return lambda stack: exchange(stack, f"{FILE}.LSTM.gate_parts", gate_parts)


def _halves_swapped(module: Any) -> None:
    def call(self: Any, x: Any, lengths: Any = None) -> mx.array:
        forward, backward = mx.split(lstm.LSTM.__call__(self, x, lengths), 2, axis=-1)
        return mx.concatenate([backward, forward], axis=-1)

    behave(module, call)


def _not_turned_back(module: Any) -> None:
    """What was read backward stays in the order in which it was read."""

    def call(self: Any, x: Any, lengths: Any = None) -> mx.array:
        forward, backward = mx.split(lstm.LSTM.__call__(self, x, lengths), 2, axis=-1)
        return mx.concatenate([forward, lstm.turned(backward, lengths)], axis=-1)

    behave(module, call)


def _only_forward(stack: ExitStack) -> None:
    """Both directions read from the first step on."""
    exchange(stack, f"{FILE}.turned", lambda x, lengths: x)


def _without(name: str) -> Callable[[Any], None]:
    def change(module: Any) -> None:
        for suffix in module.suffixes(0):
            module[f"{name}_{suffix}"] = mx.zeros_like(module[f"{name}_{suffix}"])

    return change


def _one_direction_twice(module: Any) -> None:
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        module[f"{name}_l0_reverse"] = module[f"{name}_l0"]


def _transposed(module: Any) -> None:
    """Every gate's recurrent weights with inputs and outputs exchanged: all shapes fit."""
    for suffix in module.suffixes(0):
        parts = mx.split(module[f"weight_hh_{suffix}"], 4)
        module[f"weight_hh_{suffix}"] = mx.concatenate([part.T for part in parts])


def faults(at: str) -> tuple[Fault, ...]:
    """Return the faults of an LSTM in both directions that sits at `at`."""

    def of(change: Callable[[Any], None]) -> Seed:
        return lambda candidate, stack: change(candidate.modules[at])

    def there(candidate: Candidate) -> bool:
        return at in candidate.modules

    def named(name: str, words: str, seed: Seed) -> Fault:
        return fault(name, at, words, seed, fits=there)

    def kernel(name: str, words: str, old: str, new: str) -> Fault:
        return fault(name, at, words, changed(old, new), fits=there, engine=ENGINE)

    return (
        kernel("engine_lstm_forget", "the input gate in the forget gate's place", "sigmoid(forget) *", "sigmoid(in) *"),
        kernel("engine_lstm_tanh", "a coefficient of tanh 0.1 % off", "-3.33332819422e-1f", "-3.33e-1f"),
        kernel("engine_lstm_state", "no state at the second step", "float* h = step ?", "float* h = step > 1 ?"),
        named("lstm_gates_ifog", "gates in the order i, f, o, g", lambda c, s: _gates((0, 1, 3, 2))(s)),
        named("lstm_gates_figo", "input and forget gate exchanged", lambda c, s: _gates((1, 0, 2, 3))(s)),
        named("lstm_halves_swapped", "what reads backward in front of what reads forward", of(_halves_swapped)),
        named("lstm_not_turned_back", "what was read backward not turned round", of(_not_turned_back)),
        named("lstm_only_forward", "both directions read forward", lambda c, s: _only_forward(s)),
        named("lstm_input_bias_lost", "one of two biases dropped: the inputs'", of(_without("bias_ih"))),
        named("lstm_state_bias_lost", "one of two biases dropped: the state's", of(_without("bias_hh"))),
        named("lstm_direction_twice", "forward weights in both directions", of(_one_direction_twice)),
        named("lstm_state_transposed", "recurrent weights transposed gate by gate", of(_transposed)),
    )
