"""LSTM layers under torch's names, for recordings of different lengths. MLX's own has one bias, layer and direction.

Mirrors torch.nn.LSTM with batch_first, as FunASR uses it: gates stand in the order input, forget, cell, output.
"""

from __future__ import annotations

from jaxtyping import Float, Int

from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import as_written
from mlx_model.ops import masked, recur
from mlx_model.parts.basic import length_mask

STEPS_AT_ONCE = 32  # of a recurrence: so many are handed over for computing while the next ones' graph is built


@as_written
class LSTM(nn.Module):
    """`layers` LSTMs one on the other, (B, T, D) -> (B, T, H), or 2H: what reads forward, then what reads backward.

    Mirrors torch.nn.LSTM. Both of its biases are kept, `b_ih` and `b_hh`, which are added at every call: from their sum
    the checkpoint could not be had back. Beyond a recording's length rows are zero, and reading backward begins at its
    own last step, where torch without packing begins in the padding. The recurrence is in float32 whatever the weights.

    Args:
        input_size: width of what is read.
        hidden_size: H, of each direction.
        layers: how many read one another's output.
        bidirectional: whether each also reads backward.
    """

    def __init__(self, input_size: int, hidden_size: int, *, layers: int = 1, bidirectional: bool = False):
        super().__init__()
        self.hidden_size, self.layers, self.directions = hidden_size, layers, 1 + bidirectional
        for layer in range(layers):
            width = input_size if layer == 0 else hidden_size * self.directions
            for suffix in self.suffixes(layer):
                self[f"weight_ih_{suffix}"] = mx.zeros((4 * hidden_size, width))
                self[f"weight_hh_{suffix}"] = mx.zeros((4 * hidden_size, hidden_size))
                self[f"bias_ih_{suffix}"] = mx.zeros((4 * hidden_size,))
                self[f"bias_hh_{suffix}"] = mx.zeros((4 * hidden_size,))

    def suffixes(self, layer: int) -> list[str]:
        """Return what a layer's parameters end with, forward first."""
        return [f"l{layer}", f"l{layer}_reverse"][: self.directions]

    def __call__(self, x: Float[mx.array, "B T D"], lengths: Int[mx.array, " B"] | None = None) -> mx.array:
        """Return the last layer's states at every step, (B, T, H * directions).

        Args:
            x: what is read; what stands beyond a length is not.
            lengths: steps of each, (B,); None: all of them.
        """
        if 0 in x.shape[:2]:
            return mx.zeros((*x.shape[:2], self.hidden_size * self.directions), dtype=x.dtype)
        mask = None if lengths is None else length_mask(lengths, x.shape[1])
        for layer in range(self.layers):
            x = masked(self.layer(x, layer, lengths), mask)
        return x

    def layer(self, x: Float[mx.array, "B T D"], layer: int, lengths: Int[mx.array, " B"] | None) -> mx.array:
        """Return one layer's states; those beyond a length mean nothing. All directions take a step together."""
        given = []
        for number, suffix in enumerate(self.suffixes(layer)):
            gates = self.inputs(x, suffix).astype(mx.float32)  # (B, T, 4H)
            given.append(turned(gates, lengths) if number else gates)
        names = [f"weight_hh_{suffix}" for suffix in self.suffixes(layer)]
        gates = mx.stack(given)  # (K, B, T, 4H)
        states = recur(gates, self, names)
        if states is None:
            # Side by side as the product reads them: else a CPU would turn them around at every step.
            weights = mx.stack([self[name].T for name in names])  # (K, H, 4H)
            states = self.recur(gates, weights.astype(mx.float32))  # (K, B, T, H)
        read = [turned(state, lengths) if number else state for number, state in enumerate(states)]
        return mx.concatenate(read, axis=-1).astype(x.dtype)

    def inputs(self, x: Float[mx.array, "B T D"], suffix: str) -> Float[mx.array, "B T G"]:
        """Return what the inputs of all steps add to the gates, with both biases: one product."""
        biases = self[f"bias_ih_{suffix}"] + self[f"bias_hh_{suffix}"]
        return x @ self[f"weight_ih_{suffix}"].T + biases

    def recur(self, gates: Float[mx.array, "K B T G"], weights: Float[mx.array, "K H G"]) -> Float[mx.array, "K B T H"]:
        """Return the states of K recurrences side by side, from zero states on, by MLX; each has its own weights."""
        K, B, T, _ = gates.shape
        h = c = mx.zeros((K, B, weights.shape[1]))
        states = []
        for step in range(T):
            i, f, g, o = self.gate_parts(gates[:, :, step] + h @ weights)
            c = mx.sigmoid(f) * c + mx.sigmoid(i) * mx.tanh(g)
            h = mx.sigmoid(o) * mx.tanh(c)
            states.append(h)
            if len(states) % STEPS_AT_ONCE == 0:
                mx.async_eval(h, c)
        return mx.stack(states, axis=2)

    def gate_parts(self, gates: Float[mx.array, "K B G"]) -> list[mx.array]:
        """Return input, forget, cell and output gate, (K, B, H) each, before their activations."""
        return list(mx.split(gates, 4, axis=-1))


def turned(x: Float[mx.array, "B T D"], lengths: Int[mx.array, " B"] | None) -> Float[mx.array, "B T D"]:
    """Return each recording's steps from its last one to its first; turned twice they stand as they were."""
    if lengths is None:
        return x[:, ::-1]
    steps = mx.arange(x.shape[1])[None, :]
    last = lengths[:, None] - 1
    return mx.take_along_axis(x, mx.where(steps <= last, last - steps, steps)[:, :, None], axis=1)
