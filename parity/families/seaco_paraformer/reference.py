"""FunASR's SeacoParaformer: as a BiCifParaformer, and its bias branch, which is watched by the way. Beside torch.

Its `inference` takes sound alone, so the features are put in the place of what it would make of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar
from unittest import mock

import numpy as np

from parity.families.bicif_paraformer import reference as bicif
from parity.families.bicif_paraformer.reference import UPSAMPLED, kept_peaks
from parity.families.paraformer.reference import exact_cif
from parity.sides.reference import features
from parity.taps.packing import Pair
from parity.taps.tap import record as tapped
from parity.taps.tap import to_numpy
from parity.taps.tapset import TapSet
from parity.taps.trace import Recorded

FILE = "funasr.models.seaco_paraformer.model"
PEAKS = "predictor.us_peaks"
DISCRETE = ("predictor.fires", "predictor.token_num", "hotwords.ids", "filter.kept", "merge.abstains")


class Reference(bicif.Reference):
    """Both precisions of one FunASR SeacoParaformer."""

    OPTIONS: ClassVar = ("hotwords",)

    def __init__(self, single: Any, double: Any, tapset: TapSet, taps: Sequence[str], steps: bool):
        names = dict(single.model.named_modules())
        always = tuple(name for name in tapset.always if name in names)  # CifPredictorV2 has no second head
        super().__init__(single, double, dataclasses.replace(tapset, always=always), taps, steps)

    def utterance(self, path: str) -> tuple[dict[str, Any], Recorded]:
        """Return (duration, text, token ids, FunASR's times) and the arrays of one file."""
        plain, feats, lengths, duration = features(self.single, path)
        single, heard, _ = self._run(self.single, feats, lengths)
        with exact_cif():
            truth, _, seen = self._run(self.double, feats.double(), lengths)
        inputs, introduced = self.introduced(seen)
        plain |= {name: single.pop(name) for name in DISCRETE if name in single}
        plain |= {"token_ids": np.array(heard["ids"], dtype=np.int32)}
        plain |= {"fires": single[PEAKS] >= 1 - 1e-4} if PEAKS in single else {}
        propagated = {name: Pair.of(value, single[name]) for name, value in truth.items() if name in single}
        arrays = Recorded(plain=plain, propagated=propagated, introduced=introduced, inputs=inputs)
        row = {"duration_s": duration, "text": heard["text"], "token_ids": heard["ids"]}
        return {**row, "more": {"times": heard.get("timestamp", [])}}, arrays

    def _run(self, auto: Any, feats: Any, lengths: Any) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
        """Return ({tap: array}, {text, ids, timestamp}, all that was seen) of one model on its own inputs."""
        tokenizer = Overheard(auto.kwargs["tokenizer"])
        with peaks_of(auto.model) as peaks, branch(auto.model) as found, tapped(auto.model, self.probes) as seen:
            heard = self.infer(auto, feats, lengths, tokenizer)
        taps = {**self.collecting.collect(seen), **found}
        taps["predictor.fires"] = taps["predictor.fires"] >= 1.0  # FunASR's are the integrals
        taps["predictor.token_num"] = taps["predictor.token_num"].round().astype("int32")
        if UPSAMPLED in taps:
            taps[UPSAMPLED] = taps[UPSAMPLED].swapaxes(1, 2)
        if peaks:
            taps |= {"predictor.us_alphas": peaks[0][0], PEAKS: peaks[0][1]}
        if "hotword_output_layer" in taps:
            taps["merge.abstains"] = taps["hotword_output_layer"].argmax(-1) == auto.model.NO_BIAS
        return taps, {**heard, "ids": tokenizer.ids}, seen

    def infer(self, auto: Any, feats: Any, lengths: Any, tokenizer: Any) -> dict[str, Any]:
        """Return FunASR's own `inference` of one utterance's features: text and, where the predictor has them, times.

        Where it ends in an IndexError over the times, the text is put together as it would have been, without times.
        """
        import torch
        from funasr.utils.postprocess_utils import sentence_postprocess

        options = {key: value for key, value in auto.kwargs.items() if key != "tokenizer"}
        options |= {"hotword": self.options.get("hotwords")}
        with (
            mock.patch(f"{FILE}.load_audio_text_image_video", return_value=[]),
            mock.patch(f"{FILE}.extract_fbank", return_value=(feats.clone(), lengths.clone())),
            torch.inference_mode(),
        ):
            try:
                results = auto.model.inference([], key=["utt"], tokenizer=tokenizer, **options)
            except IndexError:
                words = sentence_postprocess(tokenizer.tokenizer.ids2tokens(tokenizer.ids))[1]
                return {"text": " ".join(words), "timestamp": None}
        return results[0][0] if results and results[0] else {"text": "", "timestamp": []}  # no token at all: ([],)

    def against_itself(self, audio: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """Return nothing: what a batch changes in FunASR is shown by its two parents; its filter looks at item 0."""
        return []


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


def peaks_of(model: Any) -> contextlib.AbstractContextManager[list[tuple[np.ndarray, np.ndarray]]]:
    """Return what keeps (us_alphas, us_peaks) of every call; nothing where the predictor has no second head."""
    if hasattr(model.predictor, "get_upsample_timestamp"):
        return kept_peaks(model)
    return contextlib.nullcontext([])


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
