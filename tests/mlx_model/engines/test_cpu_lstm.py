"""The LSTM's recurrence on the CPU engine. Oracles: NumPy in float64; MLX's own loop, module by module."""

from __future__ import annotations

import copy
import itertools
from typing import Any
from unittest import mock

import numpy as np
import pytest

from mlx_model import engines, ops
from mlx_model.engines import cpu_bodies, cpu_engine, cpu_lstm
from mlx_model.engines.cpu_bodies import BODIES
from mlx_model.machine.blas import mx, tree_flatten
from mlx_model.parts.lstm import LSTM

pytestmark = pytest.mark.skipif(not cpu_engine.available(), reason="needs x86-64 with AVX2, and a C compiler")
NARROW = [name for name, body in BODIES.items() if cpu_bodies.runs(body)]
HALVES = [mx.float16, mx.bfloat16]
SIZE, INPUTS = 48, 20  # whole vectors of either body; LENGTHS: three recordings side by side, and two
LENGTHS = (9, 1, 6, 4, 9)


@pytest.fixture(params=NARROW)
def body(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let a body compute, on two threads."""
    library = cpu_bodies.load(BODIES[request.param], 2)
    monkeypatch.setattr(cpu_engine, "kernels", lambda: library)
    return request.param


def made(*, layers: int = 1, both: bool = True, scale: float = 0.3) -> LSTM:
    lstm, rng = LSTM(INPUTS, SIZE, layers=layers, bidirectional=both), np.random.default_rng(0)
    for key, value in tree_flatten(lstm.parameters()):
        lstm[key] = mx.array(rng.standard_normal(value.shape).astype(np.float32) * scale)
    engines.fit(lstm)
    return lstm


def inputs(dtype: mx.Dtype = mx.float32) -> tuple[mx.array, mx.array]:
    x = np.random.default_rng(1).standard_normal((len(LENGTHS), max(LENGTHS), INPUTS)).astype(np.float32)
    return mx.array(x).astype(dtype), mx.array(LENGTHS)


def taken(lstm: LSTM, *given: Any) -> np.ndarray:
    """Return the states, once it is sure that the engine made those of every layer."""
    computed: list[bool] = []

    def recur(*arguments: Any) -> mx.array | None:
        states = own(*arguments)
        computed.append(states is not None)
        return states

    own = cpu_lstm.recur
    with mock.patch.object(cpu_lstm, "recur", recur):
        states = lstm(*given)
    assert computed == [True] * lstm.layers
    return np.array(states.astype(mx.float32))


def plain(lstm: LSTM, *given: Any) -> np.ndarray:
    with engines.plain():
        return np.array(lstm(*given).astype(mx.float32))


def by_definition(weights: np.ndarray, gates: np.ndarray) -> np.ndarray:
    """Return the states (K, B, T, H) in float64."""
    K, B, T, width = gates.shape
    states, h, c = [], np.zeros((K, B, width // 4)), np.zeros((K, B, width // 4))
    for step in range(T):
        i, f, g, o = np.split(gates[:, :, step] + h @ weights.transpose(0, 2, 1), 4, axis=-1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        states.append(h)
    return np.stack(states, axis=2)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_states_are_mlxs(body: str, layers: int, both: bool):
    lstm, given = made(layers=layers, both=both), inputs()
    np.testing.assert_allclose(taken(lstm, *given), plain(lstm, *given), atol=2e-6)


@pytest.mark.parametrize("dtype", HALVES)
def test_weights_of_16_bits_are_read_as_they_are(body: str, dtype: mx.Dtype):
    """States are float32, and are returned in 16 bits: by one step of those sides may differ."""
    lstm, given = made(), inputs(dtype)
    lstm.set_dtype(dtype)
    step = 2.0**-11 if dtype == mx.float16 else 2.0**-8
    np.testing.assert_allclose(taken(lstm, *given), plain(lstm, *given), atol=step)


@pytest.mark.parametrize("spread", [0.01, 2.0, 30.0])
def test_values_are_the_definitions(body: str, spread: float):
    """Gates near 0, in the middle and saturated; a float32 of 1 is 1.2e-7."""
    rng, (K, B, T) = np.random.default_rng(2), (2, 3, 12)
    weights = [rng.standard_normal((4 * SIZE, SIZE)).astype(np.float32) * 0.05 for _ in range(K)]
    gates = rng.standard_normal((K, B, T, 4 * SIZE)).astype(np.float32) * np.float32(spread)
    states = cpu_lstm.Recurrence([mx.array(each) for each in weights], weights)(gates)
    exact = by_definition(np.stack(weights).astype(np.float64), gates.astype(np.float64))
    np.testing.assert_allclose(states, exact, atol=4e-7, rtol=2e-6 if spread < 1 else 1e-7)


def test_what_is_no_number_stays_in_its_recording(body: str):
    lstm, (x, _) = made(), inputs()
    broken = np.array(x)
    broken[1, 3, 0] = np.nan
    states = np.array(lstm(mx.array(broken)))
    assert np.isnan(states[1, 3:, :SIZE]).all()
    assert np.isnan(states[1, :4, SIZE:]).all()
    others = [0, 2, 3, 4]
    np.testing.assert_array_equal(states[others], np.array(lstm(x))[others])


def test_a_recordings_bits_do_not_depend_on_its_batch(body: str):
    rng = np.random.default_rng(3)
    gates = rng.standard_normal((2, 20, 7, 4 * SIZE)).astype(np.float32)
    weights = [rng.standard_normal((4 * SIZE, SIZE)).astype(np.float32) for _ in range(2)]
    recurrence = cpu_lstm.Recurrence([mx.array(each) for each in weights], weights)
    together = recurrence(gates)
    for row, count in itertools.product((0, 5, 14, 17), (1, 2, 3)):
        some = recurrence(np.ascontiguousarray(gates[:, row : row + count]))
        np.testing.assert_array_equal(some, together[:, row : row + count])


def test_lists_of_hotwords_are_cut_into_shares(body: str):
    """37 hotwords: two or three shares a direction, the last one short."""
    lstm, x = made(), mx.array(np.random.default_rng(4).standard_normal((37, 3, INPUTS)).astype(np.float32))
    np.testing.assert_allclose(taken(lstm, x), plain(lstm, x), atol=2e-6)


def test_widths_that_are_no_whole_vectors_are_mlxs():
    lstm = LSTM(6, 5)
    engines.fit(lstm)
    assert ops.recur(mx.zeros((1, 1, 2, 20)), lstm, ["weight_hh_l0"]) is None
    assert lstm(mx.zeros((1, 2, 6))).shape == (1, 2, 5)


def _replaced(lstm: LSTM) -> None:
    lstm.weight_hh_l0_reverse = lstm.weight_hh_l0


def _written_into(lstm: LSTM) -> None:
    lstm.weight_hh_l0 *= 2


def _transposed(lstm: LSTM) -> None:
    lstm.weight_hh_l0 = mx.concatenate([part.T for part in mx.split(lstm.weight_hh_l0, 4)])


def _of_16_bits(lstm: LSTM) -> None:
    lstm.weight_hh_l0 = lstm.weight_hh_l0.astype(mx.bfloat16)  # of one direction alone


def _another_order(lstm: LSTM) -> None:
    gate_parts = LSTM.gate_parts
    vars(lstm)["gate_parts"] = lambda gates: gate_parts(lstm, gates)[::-1]


@pytest.mark.parametrize("change", [_replaced, _written_into, _transposed, _of_16_bits, _another_order])
def test_changes_are_computed_with_at_once(change: Any):
    lstm, given = made(), inputs()
    before = np.array(lstm(*given))
    other = copy.deepcopy(lstm)
    change(lstm)
    after = np.array(lstm(*given))
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, plain(lstm, *given), atol=2e-6)
    np.testing.assert_array_equal(np.array(other(*given)), before)


def test_a_function_exchanged_in_the_class_is_what_runs(monkeypatch: pytest.MonkeyPatch):
    lstm, given = made(), inputs()
    before, gate_parts = np.array(lstm(*given)), LSTM.gate_parts
    monkeypatch.setattr(LSTM, "gate_parts", lambda self, gates: gate_parts(self, gates)[::-1])
    assert np.abs(np.array(lstm(*given)) - before).max() > 1e-3
