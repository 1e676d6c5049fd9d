"""LSTM. Oracles: torch.nn.LSTM in a process of its own, packed by lengths; a float64 loop as the definition reads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from mlx_model.machine.blas import mx, tree_flatten
from mlx_model.parts.lstm import LSTM
from tests import forked

CASES = {"one": (1, False), "both": (1, True), "deep": (2, False), "deep_both": (2, True)}  # layers, bidirectional
LENGTHS = (9, 1, 5)
TORCH = """
import sys
import numpy as np, torch
folder, cases = sys.argv[1], eval(sys.argv[2])
for name, (layers, both) in cases.items():
    given = dict(np.load(f"{folder}/{name}.npz"))
    lstm = torch.nn.LSTM(6, 5, layers, batch_first=True, bidirectional=both)
    lstm.load_state_dict({key: torch.from_numpy(value) for key, value in given.items() if key[0] in "wb"})
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.from_numpy(given["x"]), torch.from_numpy(given["lengths"]), batch_first=True, enforce_sorted=False
    )
    states = torch.nn.utils.rnn.pad_packed_sequence(lstm(packed)[0], batch_first=True)[0]
    np.save(f"{folder}/{name}.npy", states.detach().numpy())
"""


def lstm(name: str, seed: int = 0) -> LSTM:
    layers, both = CASES[name]
    made, rng = LSTM(6, 5, layers=layers, bidirectional=both), np.random.default_rng(seed)
    for key, value in tree_flatten(made.parameters()):
        made[key] = mx.array(rng.standard_normal(value.shape).astype(np.float32) * 0.5)
    return made


def inputs(seed: int = 1) -> tuple[mx.array, mx.array]:
    x = np.random.default_rng(seed).standard_normal((len(LENGTHS), max(LENGTHS), 6)).astype(np.float32)
    return mx.array(x), mx.array(LENGTHS)


def by_definition(made: LSTM, x: np.ndarray, suffix: str) -> np.ndarray:
    """Return the states of one recording, (T, H), in float64: i, f, g, o, one step after another."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w_ih, w_hh, b_ih, b_hh = (np.array(made[f"{name}_{suffix}"], dtype=np.float64) for name in names)
    h, c, states = np.zeros(5), np.zeros(5), []
    for frame in x.astype(np.float64):
        i, f, g, o = np.split(w_ih @ frame + b_ih + w_hh @ h + b_hh, 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        states.append(h)
    return np.array(states)


@pytest.mark.reference
def test_values_are_torchs(tmp_path: Path):
    x, lengths = inputs()
    for name in CASES:
        parameters = {key: np.array(value) for key, value in tree_flatten(lstm(name).parameters())}
        np.savez(tmp_path / f"{name}.npz", x=np.array(x), lengths=np.array(LENGTHS), **parameters)
    subprocess.run([forked.python("funasr"), "-c", TORCH, str(tmp_path), repr(CASES)], check=True, capture_output=True)
    for name in CASES:
        np.testing.assert_allclose(np.array(lstm(name)(x, lengths)), np.load(tmp_path / f"{name}.npy"), atol=1e-6)


def test_values_are_the_definitions_and_backward_begins_at_each_recordings_end():
    made, (x, lengths) = lstm("both"), inputs()
    states = np.array(made(x, lengths))
    for row, length in enumerate(LENGTHS):
        given = np.array(x[row, :length])
        forward, backward = by_definition(made, given, "l0"), by_definition(made, given[::-1], "l0_reverse")[::-1]
        np.testing.assert_allclose(states[row, :length], np.concatenate([forward, backward], axis=1), atol=1e-6)
        assert (states[row, length:] == 0).all()


@pytest.mark.parametrize("name", CASES)
def test_what_stands_in_the_padding_changes_nothing(name: str):
    made, (x, lengths) = lstm(name), inputs()
    garbage = mx.where(mx.arange(x.shape[1])[None, :, None] < lengths[:, None, None], x, 1e9)
    together = np.array(made(garbage, lengths))
    for row, length in enumerate(LENGTHS):
        alone = np.array(made(x[row : row + 1, :length]))[0]
        np.testing.assert_allclose(together[row, :length], alone, atol=1e-6)


def test_names_and_shapes_are_torchs():
    shapes = {name: value.shape for name, value in tree_flatten(lstm("deep_both").parameters())}
    assert len(shapes) == 16
    assert shapes["weight_ih_l0_reverse"] == (20, 6)
    assert shapes["weight_ih_l1"] == (20, 10)
    assert shapes["weight_hh_l1_reverse"] == (20, 5)
    assert shapes["bias_hh_l1"] == (20,)


def test_nothing_to_read_has_no_states():
    assert lstm("both")(mx.zeros((2, 0, 6))).shape == (2, 0, 10)


def test_states_are_of_the_inputs_precision():
    x, lengths = inputs()
    assert lstm("both")(x.astype(mx.float16), lengths).dtype == mx.float16
