"""FunASR's BiCifParaformer: network, firings, peaks, token ids, text and times; and FunASR held against itself.

Beside torch, without MLX. Its loops make their sums in torch's default type, which is float64 for the truth.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import numpy as np

from parity.families.paraformer import reference as paraformer
from parity.families.paraformer.reference import DISCRETE, exact_cif
from parity.sides import peak_cases
from parity.sides.reference import features
from parity.taps.packing import Pair
from parity.taps.tap import record as tapped
from parity.taps.trace import Recorded

UPSAMPLED = "predictor.upsample_cnn"  # FunASR's is (B, D, T)


class Reference(paraformer.Reference):
    """Both precisions of one FunASR BiCifParaformer."""

    def utterance(self, path: str) -> tuple[dict[str, Any], Recorded]:
        """Return (duration, text, token ids, FunASR's times) and the arrays of one file."""
        plain, feats, lengths, duration = features(self.single, path)
        single, ids, _ = self._propagated(self.single, feats, lengths)
        with exact_cif():
            truth, _, seen = self._propagated(self.double, feats.double(), lengths)
        inputs, introduced = self.introduced(seen)
        text, times = said(self.single, feats, lengths, ids)
        plain |= {name: single.pop(name) for name in DISCRETE} | {"token_ids": np.array(ids, dtype=np.int32)}
        plain |= {"fires": single["predictor.us_peaks"] >= 1 - 1e-4} if "predictor.us_peaks" in single else {}
        propagated = {name: Pair.of(value, single[name]) for name, value in truth.items() if name in single}
        arrays = Recorded(plain=plain, propagated=propagated, introduced=introduced, inputs=inputs)
        return {"duration_s": duration, "text": text, "token_ids": ids, "more": {"times": times}}, arrays

    def _propagated(
        self, auto: Any, feats: Any, lengths: Any
    ) -> tuple[dict[str, np.ndarray], list[int], dict[str, Any]]:
        """Return ({tap: array}, token ids, all that was seen) of one model on its own inputs."""
        with kept_peaks(auto.model) as peaks, tapped(auto.model, self.probes) as seen:
            ids = infer(auto, feats, lengths, None)["token_int"]
        taps = self.collecting.collect(seen)
        taps["predictor.fires"] = taps["predictor.fires"] >= 1.0  # FunASR's are the integrals
        taps["predictor.token_num"] = taps["predictor.token_num"].round().astype("int32")
        if UPSAMPLED in taps:
            taps[UPSAMPLED] = taps[UPSAMPLED].swapaxes(1, 2)
        if peaks:
            taps |= {"predictor.us_alphas": peaks[0][0], "predictor.us_peaks": peaks[0][1]}
        return taps, [int(i) for i in ids], seen

    def introduced(self, seen: dict[str, Any]) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Pair]]:
        """Return inputs and outputs of isolated modules, channels last as the candidate has them."""
        inputs, introduced = super().introduced(seen)
        if UPSAMPLED in inputs:
            inputs[UPSAMPLED] = {number: value.swapaxes(1, 2) for number, value in inputs[UPSAMPLED].items()}
            truth, single = introduced[UPSAMPLED]
            introduced[UPSAMPLED] = Pair.of(truth.swapaxes(1, 2), single.swapaxes(1, 2))
        return inputs, introduced

    def more_facts(self) -> dict[str, dict[str, Any]]:
        """Return where both heads fire, and when tokens are said, of what is made up in sides/peak_cases.py."""
        if not hasattr(self.single.model.predictor, "get_upsample_timestamp"):  # a SeacoParaformer's may have one head
            return {}
        first, second = peak_cases.firings("fires", first_firings), peak_cases.firings("us_peaks", second_firings)
        return {**first, **second, **peak_cases.times(told)}

    def against_itself(self, audio: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """Return how FunASR's own peaks for an utterance change when a longer one stands beside it in the batch."""
        rows = super().against_itself(audio)
        feats = {utt_id: features(self.single, path)[1] for utt_id, path in audio[: paraformer.BATCHED_WITH_LONGEST]}
        longest = max(feats.values(), key=lambda each: each.shape[1])
        return rows + [
            _moved_peaks(self.single, utt_id, each, longest)
            for utt_id, each in feats.items()
            if each.shape[1] < longest.shape[1]
        ]


def first_firings(alphas: np.ndarray) -> np.ndarray:
    """Return the frames at which FunASR's first head fires, of its alphas (T,)."""
    import torch
    from funasr.models.bicif_paraformer.cif_predictor import cif

    given = torch.from_numpy(alphas)[None]
    return np.flatnonzero(cif(torch.zeros(*given.shape, 1), given, 1.0)[1][0].numpy() >= 1.0)


def second_firings(alphas: np.ndarray) -> np.ndarray:
    """Return the frames at which FunASR's second head peaks, of its alphas (3T,)."""
    import torch
    from funasr.models.bicif_paraformer.cif_predictor import cif_wo_hidden

    return np.flatnonzero(cif_wo_hidden(torch.from_numpy(alphas)[None], 1.0 - 1e-4)[0].numpy() >= 1.0 - 1e-4)


def told(case: peak_cases.Case) -> list[Any] | None:
    """Return FunASR's [words, times] of a case; None where it ends in an IndexError."""
    import torch
    from funasr.models.bicif_paraformer.cif_predictor import cif_wo_hidden
    from funasr.utils.postprocess_utils import sentence_postprocess
    from funasr.utils.timestamp_tools import ts_prediction_lfr6_standard

    alphas = torch.from_numpy(case.alphas.copy())[None]
    peaks = cif_wo_hidden(alphas, 1.0 - 1e-4)
    try:
        spans = ts_prediction_lfr6_standard(alphas, peaks, [*case.tokens])[1]
        _, times, words = sentence_postprocess([*case.tokens], spans)
    except IndexError:
        return None
    return [[word for word in words if word != " "], [list(span) for span in times]]


def infer(auto: Any, feats: Any, lengths: Any, tokenizer: Any) -> dict[str, Any]:
    """Return FunASR's own `inference` of one utterance's features: {text, timestamp}, or {token_int} without tokenizer.

    This class cannot be given features: what would load audio and make them returns these.
    """
    import torch
    from funasr.models.bicif_paraformer import model

    options = {key: value for key, value in auto.kwargs.items() if key not in ("tokenizer", "frontend")}
    with (
        mock.patch.object(model, "load_audio_text_image_video"),
        mock.patch.object(model, "extract_fbank", return_value=(feats, lengths)),
        torch.inference_mode(),
    ):
        frontend = auto.kwargs["frontend"]
        results = auto.model.inference(
            None, key=["utt"] * len(feats), tokenizer=tokenizer, frontend=frontend, **options
        )
    # no token at all: []
    return results[0][0] if results and results[0] else {"text": "", "token_int": [], "timestamp": []}


def said(auto: Any, feats: Any, lengths: Any, ids: Sequence[int]) -> tuple[str, list[list[int]] | None]:
    """Return FunASR's text and times; times are None where it ends in an IndexError, and the text then is its words."""
    tokenizer = auto.kwargs["tokenizer"]
    try:
        found = infer(auto, feats, lengths, tokenizer)
    except IndexError:
        from funasr.utils.postprocess_utils import sentence_postprocess

        return " ".join(sentence_postprocess(tokenizer.ids2tokens(list(ids)))[1]), None
    return found["text"], found.get("timestamp", [])


@contextlib.contextmanager
def kept_peaks(model: Any) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
    """Yield a list that fills with (us_alphas, us_peaks) of every call; copies, for FunASR rescales alphas in place."""
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    original = model.predictor.get_upsample_timestamp

    def calling(*given: Any, **named: Any) -> Any:
        found = original(*given, **named)
        kept.append((found[2].numpy().copy(), found[3].numpy().copy()))
        return found

    with mock.patch.object(model.predictor, "get_upsample_timestamp", calling):
        yield kept


def _moved_peaks(auto: Any, utt_id: str, feats: Any, longest: Any) -> dict[str, Any]:
    """Return the row of one utterance's peaks, alone against beside the longest."""
    alone, together = (_peaks(auto, batch)[: 3 * feats.shape[1]] for batch in ([feats], [feats, longest]))
    fires = [side >= 1 - 1e-4 for side in (alone, together)]
    return {
        "name": "batch composition",
        "kind": "peak",
        "compared": len(alone),
        "differ": int((fires[0] != fires[1]).sum()),
        "max_abs": float(np.abs(alone - together).max(initial=0.0)),
        "detail": f"FunASR, {utt_id} beside a longer one (its BLSTM reads the padding backwards)",
    }


def _peaks(auto: Any, feats: Sequence[Any]) -> np.ndarray:
    """Return us_peaks (3T,) of the first utterance of a FunASR batch."""
    import torch

    lengths = torch.tensor([item.shape[1] for item in feats])
    padded = torch.nn.utils.rnn.pad_sequence([item[0] for item in feats], batch_first=True)
    with torch.inference_mode():
        encoded, lens = auto.model.encode(padded, lengths)
        counts = auto.model.calc_predictor(encoded, lens)[1].round().long()
        return auto.model.calc_predictor_timestamp(encoded, lens, counts)[3][0].numpy()
