"""A model whose linear layers can be given fewer bits and put back, and what that does to the logits and the tokens.

A layer on trial keeps MLX's ordinary product and gets the weights that quantisation leaves (quantised and restored):
the same numbers as the packed layer's up to the order of summation, at the speed of a good BLAS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from mlx_model.audio.batching import batches, side_by_side
from mlx_model.errors import UsageError
from mlx_model.machine.blas import mx, nn, tree_flatten
from mlx_model.parts.quantized import quantize_weight, quantized_bytes, quantizing_pays, restore_weight
from mlx_model.pipelines.options import options_from
from mlx_model.roles import Recognizer
from mlx_model.text.results import Hypothesis
from parity.cer.score import edits

Bits = Mapping[str, int]  # {module: bits}; a module left out keeps its precision
Features = tuple[mx.array, mx.array]
SENSITIVE_S = 60.0  # of audio are enough for the order of the layers; the budget is held on all of it
BATCH_S = 60.0
MOST_BITS = 8  # a layer is on trial where even these make it smaller, so that every step of the ladder adds bytes


class Trial:
    """One float model and the features of some audio. `names`: the linear layers that can be quantised.

    Args:
        model: an unquantised model, which is changed as layers are tried.
        waveforms: (S,) float32 at the model's rate, at least one.
        group_size: weights that share a scale and a bias.
        options: of the family, by their names (`model.Options`), as hotwords: what is not listened for is not measured.

    Raises:
        UsageError: an option is wrong; the model is quantised already, or none of its layers can be with this group
            size.
    """

    def __init__(
        self,
        model: Recognizer,
        waveforms: Sequence[np.ndarray],
        group_size: int,
        options: Mapping[str, Any] | None = None,
    ):
        self.model, self.group_size = model, group_size
        self.options = options_from(model, options or {})
        network = cast(nn.Module, model)  # which every model is, whatever its role
        if model.config.quantization is not None:
            raise UsageError("the model is quantised already; give the unquantised conversion")
        linear = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}
        self.linear = {name: module for name, module in linear.items() if self._pays(module.weight)}
        if not self.linear:
            raise UsageError(f"no linear layer gets smaller in groups of {group_size}; try 32")
        self.weights = {name: module.weight for name, module in self.linear.items()}
        whole = sum(value.nbytes for value in dict(tree_flatten(network.parameters())).values())
        self.others_mb = (whole - sum(weight.nbytes for weight in self.weights.values())) / 1e6
        self.now: dict[str, int] = {}
        self.plan, self.features = self._batched(waveforms)
        self.count = len(waveforms)
        audio_s = sum(map(len, waveforms)) / self.model.config.frontend.fs
        _, self.sample = self._batched(waveforms[:: max(1, round(audio_s / SENSITIVE_S))])
        self.before = self.heard({})
        self.logits = self._logits({})

    def _pays(self, weight: mx.array) -> bool:
        return quantizing_pays(weight.shape, weight.itemsize, group_size=self.group_size, bits=MOST_BITS)

    def _batched(self, waveforms: Sequence[np.ndarray]) -> tuple[list[list[int]], list[Features]]:
        rate = self.model.config.frontend.fs
        plan = batches([len(waveform) / rate for waveform in waveforms], None, BATCH_S)
        return plan, [features(self.model, [waveforms[index] for index in indices]) for indices in plan]

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

    def heard(self, bits: Bits) -> list[Hypothesis]:
        """Return what is heard in every waveform, in the order given."""
        self.use(bits)
        return self.heard_by(self.model)

    def heard_by(self, model: Recognizer) -> list[Hypothesis]:
        """Return what a model hears in every waveform, as the `transcribe` command computes, in the order given."""
        found: dict[int, Hypothesis] = {}
        for indices, given in zip(self.plan, self.features, strict=True):
            best = model.best(output(model, given, self.options))
            found |= zip(indices, model.hypotheses(best, self.options), strict=True)
        return [found[index] for index in range(self.count)]

    def changed(self, heard: Sequence[Hypothesis]) -> int:
        """Return how many tokens differ from the unquantised model's: the fewest edits that undo it."""
        pairs = zip(self.before, heard, strict=True)
        return sum(edits(before.token_ids, after.token_ids) for before, after in pairs)

    def _logits(self, bits: Bits) -> list[np.ndarray]:
        self.use(bits)
        return [row for given in self.sample for row in self.model.logits_of(output(self.model, given, self.options))]

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


def features(model: Recognizer, waveforms: Sequence[np.ndarray]) -> Features:
    """Return the features of a batch, and their lengths."""
    rows, samples = side_by_side(waveforms)
    return model.features_of(mx.array(rows), samples, dither=0.0, seed=0)


def output(model: Recognizer, given: Features, options: Any) -> Any:
    """Return a batch's network output with the family's options."""
    return model.begin(*given, options)()
