"""A model whose linear layers can be given fewer bits and put back, and what that does to the logits and the tokens.

A layer on trial keeps MLX's ordinary product and gets the weights that quantisation leaves (quantised and restored):
the same numbers as the packed layer's up to the order of summation, at the speed of a good BLAS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mlx_model.audio.batching import batches
from mlx_model.errors import UsageError
from mlx_model.machine.blas import mx, nn, tree_flatten
from mlx_model.models.paraformer import Model
from mlx_model.parts.quantized import quantize_weight, quantized_bytes, quantizing_pays, restore_weight
from parity.cer.score import edits

Bits = Mapping[str, int]  # {module: bits}; a module left out keeps its precision
SENSITIVE_S = 60.0  # of audio are enough for the order of the layers; the budget is held on all of it
BATCH_S = 60.0
MOST_BITS = 8  # a layer is on trial where even these make it smaller, so that every step of the ladder adds bytes


class Trial:
    """One float model and the features of some audio. `names`: the linear layers that can be quantised.

    Args:
        model: an unquantised model, which is changed as layers are tried.
        waveforms: (S,) float32 at the model's rate, at least one.
        group_size: weights that share a scale and a bias.

    Raises:
        UsageError: the model is quantised already, or none of its layers can be with this group size.
    """

    def __init__(self, model: Model, waveforms: Sequence[np.ndarray], group_size: int):
        self.model, self.group_size = model, group_size
        if model.config.quantization is not None:
            raise UsageError("the model is quantised already; give the unquantised conversion")
        linear = {name: module for name, module in self.model.named_modules() if isinstance(module, nn.Linear)}
        self.linear = {name: module for name, module in linear.items() if self._pays(module.weight)}
        if not self.linear:
            raise UsageError(f"no linear layer gets smaller in groups of {group_size}; try 32")
        self.weights = {name: module.weight for name, module in self.linear.items()}
        whole = sum(value.nbytes for value in dict(tree_flatten(model.parameters())).values())
        self.others_mb = (whole - sum(weight.nbytes for weight in self.weights.values())) / 1e6
        self.now: dict[str, int] = {}
        self.plan, self.features = self._batched(waveforms)
        self.count = len(waveforms)
        audio_s = sum(map(len, waveforms)) / self.model.config.frontend.fs
        _, self.sample = self._batched(waveforms[:: max(1, round(audio_s / SENSITIVE_S))])
        self.ids = self.tokens({})
        self.logits = self._logits({})

    def _pays(self, weight: mx.array) -> bool:
        return quantizing_pays(weight.shape, weight.itemsize, group_size=self.group_size, bits=MOST_BITS)

    def _batched(self, waveforms: Sequence[np.ndarray]) -> tuple[list[list[int]], list[tuple[mx.array, mx.array]]]:
        rate = self.model.config.frontend.fs
        plan = batches([len(waveform) / rate for waveform in waveforms], None, BATCH_S)
        return plan, [self.model.features([waveforms[index] for index in indices]) for indices in plan]

    @property
    def names(self) -> list[str]:
        """The layers that can be quantised, in network order."""
        return list(self.linear)

    def use(self, bits: Bits) -> None:
        """Give every layer the weights it has with these bits."""
        for name, module in self.linear.items():
            if self.now.get(name) != bits.get(name):
                module.weight = self.weights[name] if name not in bits else self.restored(name, bits[name])
        self.now = dict(bits)

    def restored(self, name: str, bits: int) -> mx.array:
        """Return a layer's weights, quantised and restored."""
        weight = self.weights[name]
        parts = quantize_weight(weight, self.group_size, bits)
        restored = restore_weight(*parts, group_size=self.group_size, bits=bits)
        return restored[:, : weight.shape[1]].astype(weight.dtype)

    def tokens(self, bits: Bits) -> list[list[int]]:
        """Return every waveform's token ids, in the order given."""
        self.use(bits)
        found: dict[int, list[int]] = {}
        for indices, features in zip(self.plan, self.features, strict=True):
            found |= zip(indices, self.model.token_ids(self.model(*features)), strict=True)
        return [found[index] for index in range(self.count)]

    def changed(self, ids: Sequence[Sequence[int]]) -> int:
        """Return how many tokens differ from the unquantised model's: the fewest edits that undo it."""
        return sum(edits(before, after) for before, after in zip(self.ids, ids, strict=True))

    def _logits(self, bits: Bits) -> list[np.ndarray]:
        self.use(bits)
        rows = []
        for features in self.sample:
            output = self.model(*features)
            logits = np.array(output.logits.astype(mx.float32))
            rows += [logits[row, :count] for row, count in enumerate(np.array(output.token_num).tolist())]
        return rows

    def error(self, bits: Bits) -> float:
        """Return |logits - unquantised logits| / |unquantised logits|; an utterance whose token count changes counts 1.

        Over a minute of the audio, every n-th recording.
        """
        off = size = 0.0
        for before, after in zip(self.logits, self._logits(bits), strict=True):
            square = float(np.sum(before.astype(np.float64) ** 2))
            same = before.shape == after.shape
            off += float(np.sum((after.astype(np.float64) - before) ** 2)) if same else square
            size += square
        return (off / size) ** 0.5 if size else 0.0

    def size_mb(self, bits: Bits) -> float:
        """Return what the weights take: packed, with a scale and a bias of 16 bits per group."""
        return self.others_mb + sum(self.bytes_of(name, bits.get(name)) for name in self.linear) / 1e6

    def bytes_of(self, name: str, bits: int | None) -> int:
        """Return the bytes of one layer's weights."""
        weight = self.weights[name]
        if bits is None:
            return weight.nbytes
        return quantized_bytes(weight.shape, group_size=self.group_size, bits=bits)
