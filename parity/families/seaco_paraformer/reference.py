"""FunASR's SeacoParaformer: network, firings, the bias branch, token ids, text, times. Beside torch, without MLX.

Its `inference` takes sound alone, so the features are put in the place of what it would make of it. What of the branch
is no module is watched by the way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from unittest import mock

import numpy as np

from parity.families.paraformer.reference import exact_cif
from parity.sides import reference
from parity.sides.reference import features
from parity.taps.packing import Pair
from parity.taps.tap import record as tapped
from parity.taps.tap import to_numpy
from parity.taps.trace import Recorded

FILE = "funasr.models.seaco_paraformer.model"
DISCRETE = ("predictor.fires", "predictor.token_num", "hotwords.ids", "filter.kept", "merge.abstains")


class Reference(reference.Reference):
    """Both precisions of one FunASR SeacoParaformer."""

    OPTIONS: ClassVar = ("hotwords",)

    def exactly(self) -> contextlib.AbstractContextManager[None]:
        """Let FunASR's own loop integrate."""
        return exact_cif()

    def utterance(self, path: str) -> tuple[dict[str, Any], Recorded]:
        """Return (duration, text, token ids, times) and the arrays of one file."""
        plain, feats, lengths, duration = features(self.single, path)
        single, heard, _ = self._propagated(self.single, feats, lengths)
        with exact_cif():
            truth, exact, seen = self._propagated(self.double, feats.double(), lengths)
        inputs, introduced = self.introduced(seen)
        plain |= {name: single.pop(name) for name in DISCRETE if name in single}
        plain |= {"token_ids": np.array(heard["ids"], dtype=np.int32)}
        plain |= {"times": np.array(heard["times"] or [], dtype=np.int32).reshape(1, -1)}
        propagated = {name: Pair.of(value, single[name]) for name, value in truth.items() if name in single}
        arrays = Recorded(plain=plain, propagated=propagated, introduced=introduced, inputs=inputs)
        more = {"times_settled": heard["times"] == exact["times"]}
        return {"duration_s": duration, "text": heard["text"], "token_ids": heard["ids"], "more": more}, arrays

    def _propagated(
        self, auto: Any, feats: Any, lengths: Any
    ) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
        """Return ({tap: array}, {text, ids, times}, all that was seen) of one model on its own inputs."""
        tokenizer = Overheard(auto.kwargs["tokenizer"])
        with branch(auto.model) as found, tapped(auto.model, self.probes) as seen:
            heard = infer(auto, feats, lengths, tokenizer, self.options)
        taps = {**self.collecting.collect(seen), **found}
        taps["predictor.fires"] = taps["predictor.fires"] >= 1.0  # FunASR marks a firing by its integral
        taps["predictor.token_num"] = taps["predictor.token_num"].round().astype("int32")
        if "hotword_output_layer" in taps:
            taps["merge.abstains"] = taps["hotword_output_layer"].argmax(-1) == auto.model.NO_BIAS
        return taps, {"text": heard["text"], "ids": tokenizer.ids, "times": heard.get("timestamp")}, seen


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


def infer(auto: Any, feats: Any, lengths: Any, tokenizer: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return FunASR's own `inference` of one utterance's features: text and, where the predictor has them, times."""
    import torch

    options = {key: value for key, value in auto.kwargs.items() if key != "tokenizer"}
    options |= {"hotword": asked.get("hotwords")}
    with (
        mock.patch(f"{FILE}.load_audio_text_image_video", return_value=[]),
        mock.patch(f"{FILE}.extract_fbank", return_value=(feats.clone(), lengths.clone())),
        torch.inference_mode(),
    ):
        results = auto.model.inference([], key=["utt"], tokenizer=tokenizer, **options)
    return results[0][0] if results and results[0] else {"text": "", "timestamp": []}  # no token at all: ([],)


@contextlib.contextmanager
def branch(model: Any) -> Iterator[dict[str, np.ndarray]]:
    """Yield what fills with the bias branch's numbers that no module returns; the last call's of each."""
    import torch

    found: dict[str, np.ndarray] = {}

    def keep(**arrays: Any) -> None:
        found.update({name.replace("_", "."): to_numpy(value) for name, value in arrays.items()})

    def listed(*args: Any, **kwargs: Any) -> Any:
        ids = lists(*args, **kwargs)
        if ids is not None:
            keep(hotwords_ids=torch.nn.utils.rnn.pad_sequence([*map(torch.tensor, ids)], batch_first=True)[None])
        return ids

    def represented(*args: Any) -> Any:
        vectors = represent(*args)
        found["bias_encoder.vectors"] = to_numpy(vectors[None])
        return vectors

    def scored(*args: Any) -> Any:
        attention = score(*args)
        keep(filter_scores=attention[0].sum(0).sum(0)[None])
        return attention

    def ranked(scores: Any, count: int) -> Any:
        values, best = topk(scores, count)
        keep(filter_kept=torch.cat([best, torch.tensor([len(scores) - 1])]).sort().values[None])
        return values, best

    def merged(cif: Any, states: Any) -> Any:
        keep(attended_cif=cif, attended_states=states)
        return merge(cif, states)

    def decoded(*args: Any, **kwargs: Any) -> Any:
        scores = decode(*args, **kwargs)
        keep(merge=scores)
        return scores

    lists, represent, merge = model.generate_hotwords_list, model._hotword_representation, model._merge
    decode, score, topk = model._seaco_decode_with_ASF, model.seaco_decoder.forward_asf6, torch.topk
    watched = {"generate_hotwords_list": listed, "_hotword_representation": represented, "_merge": merged}
    watched["_seaco_decode_with_ASF"] = decoded
    given = model.seaco_decoder.register_forward_pre_hook(lambda module, args: keep(branch_states=args[2]))
    with contextlib.ExitStack() as stack:
        for name, function in watched.items():
            stack.enter_context(mock.patch.object(model, name, function))
        stack.enter_context(mock.patch.object(model.seaco_decoder, "forward_asf6", scored))
        stack.enter_context(mock.patch.object(torch, "topk", ranked))
        stack.callback(given.remove)
        yield found
