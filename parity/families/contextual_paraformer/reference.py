"""FunASR's ContextualParaformer: network, hotwords, firings, token ids, text. Beside torch, without MLX.

Its `inference` takes sound alone, so the features are put in the place of what it would make of it. `bias_output` is a
Conv1d with channels first; what it is given and returns is turned, (B, T, D), as it is on our side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from unittest import mock

import numpy as np

from parity.families.paraformer import reference
from parity.families.paraformer.reference import DISCRETE, cif_paths, exact_cif
from parity.sides.reference import features
from parity.taps.packing import Pair
from parity.taps.tap import ARGS
from parity.taps.tap import record as tapped
from parity.taps.trace import Recorded

FILE = "funasr.models.contextual_paraformer.model"
BIAS_DECODER, BIAS_OUTPUT, HALVES = "decoder.bias_decoder", "decoder.bias_output", "decoder.halves"
IDS, VECTORS = "hotwords.ids", "bias_encoder.vectors"


class Reference(reference.Reference):
    """Both precisions of one FunASR ContextualParaformer."""

    OPTIONS: ClassVar = ("hotwords", "clas_scale")

    def utterance(self, path: str) -> tuple[dict[str, Any], Recorded]:
        """Return (duration, text, token ids, FunASR's CIF paths) and the arrays of one file."""
        plain, feats, lengths, duration = features(self.single, path)
        single, heard, _ = self._heard(self.single, feats, lengths)
        with exact_cif():
            truth, _, seen = self._heard(self.double, feats.double(), lengths)
        inputs, introduced = self.introduced(seen)
        plain |= {name: single.pop(name) for name in (*DISCRETE, IDS) if name in single}
        plain |= {"token_ids": np.array(heard["ids"], dtype=np.int32)}
        propagated = {name: Pair.of(value, single[name]) for name, value in truth.items() if name in single}
        arrays = Recorded(plain=plain, propagated=propagated, introduced=introduced, inputs=inputs)
        more = {"paths": cif_paths(arrays)}
        return {"duration_s": duration, "text": heard["text"], "token_ids": heard["ids"], "more": more}, arrays

    def _heard(
        self, auto: Any, feats: Any, lengths: Any
    ) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
        """Return ({tap: array}, {text, ids}, all that was seen) of one model on its own inputs."""
        tokenizer = Overheard(auto.kwargs["tokenizer"])
        given = f"{BIAS_DECODER}@{ARGS}"
        with tapped(auto.model, [*self.probes, given]) as seen:
            text = infer(auto, feats, lengths, tokenizer, self.options)
        taps = self.collecting.collect(seen)
        if given in seen:
            taps[VECTORS] = seen[given][0][2]
            listed = auto.model.hotword_list or [[1]]
            size = max(map(len, listed))
            taps[IDS] = np.array([[[*ids, *[0] * (size - len(ids))] for ids in listed]])
        taps |= {name: taps[name].swapaxes(1, 2) for name in (HALVES, BIAS_OUTPUT) if name in taps}
        taps["predictor.fires"] = taps["predictor.fires"] >= 1.0  # FunASR marks a firing by 1 + the remainder
        taps["predictor.token_num"] = taps["predictor.token_num"].round().astype("int32")
        return taps, {"text": text, "ids": tokenizer.ids}, seen

    def introduced(self, seen: dict[str, Any]) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Pair]]:
        """Return what every isolated module makes of the truth's inputs; those of `bias_output` turned."""
        inputs, introduced = super().introduced(seen)
        if BIAS_OUTPUT in inputs:
            inputs[BIAS_OUTPUT] = {number: value.swapaxes(1, 2) for number, value in inputs[BIAS_OUTPUT].items()}
        return inputs, introduced

    def _call(self, auto: Any, module: str, tap: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        found = super()._call(auto, module, tap, args, kwargs)
        return found if module != BIAS_OUTPUT else {name: value.swapaxes(1, 2) for name, value in found.items()}


class Overheard:
    """FunASR's tokenizer; `ids` are those that it was last asked to write, which `inference` does not return."""

    def __init__(self, tokenizer: Any):
        self.tokenizer, self.ids = tokenizer, list[int]()

    def ids2tokens(self, ids: list[int]) -> list[str]:
        """Return the tokens."""
        self.ids = [int(token) for token in ids]
        return self.tokenizer.ids2tokens(ids)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)


def infer(auto: Any, feats: Any, lengths: Any, tokenizer: Any, asked: Mapping[str, Any]) -> str:
    """Return the text that FunASR's own `inference` makes of one utterance's features, as it is asked for hotwords."""
    import torch

    options = {key: value for key, value in auto.kwargs.items() if key != "tokenizer"}
    options |= {"hotword": asked.get("hotwords"), "clas_scale": asked.get("clas_scale", 1.0)}
    with (
        mock.patch(f"{FILE}.load_audio_text_image_video", return_value=[]),
        mock.patch(f"{FILE}.extract_fbank", return_value=(feats.clone(), lengths.clone())),
        torch.inference_mode(),
    ):
        results = auto.model.inference([], key=["utt"], tokenizer=tokenizer, **options)
    return results[0][0]["text"] if results and results[0] else ""  # no token at all: []
