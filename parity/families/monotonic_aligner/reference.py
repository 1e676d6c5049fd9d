"""FunASR's MonotonicAligner: network, second head, times of a text. Beside torch, without MLX.

Its predictor is asked by a method that is no module's call; for the time of a run it becomes one, so that it can be
watched and run alone like any other. What is computed is FunASR's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np

from parity.families.bicif_paraformer.reference import second_firings, told
from parity.sides import peak_cases, reference
from parity.sides.reference import features
from parity.taps.packing import Pair
from parity.taps.swap import swapped
from parity.taps.tap import record as tapped
from parity.taps.trace import Recorded

FIRES = 1.0 - 1e-4
BESIDE = 4  # utterances on which FunASR's batch defect is shown


class Reference(reference.Reference):
    """Both precisions of one FunASR MonotonicAligner; the option `text` is what is said, by paths of recordings."""

    OPTIONS: ClassVar = ("text",)

    def exactly(self) -> contextlib.AbstractContextManager[None]:
        """Let what FunASR allocates be float64 as well."""
        return float64()

    def utterance(self, path: str) -> tuple[dict[str, Any], Recorded]:
        """Return (duration, text, token ids, times) and the arrays of one file."""
        plain, feats, lengths, duration = features(self.single, path)
        tokenizer = self.single.kwargs["tokenizer"]
        texts = self.options.get("text", {})
        text = " ".join(texts[path].split()) if path in texts else text_of(path, self.single, feats, lengths)
        ids = tokenizer.encode(text)
        with asked_for_times(self.single.model):
            single, found, _ = self._propagated(self.single, feats, lengths, text)
        with asked_for_times(self.double.model), asked_for_times(self.single.model):
            with float64():
                truth, exact, seen = self._propagated(self.double, feats.double(), lengths, text)
            inputs, introduced = self.introduced(seen)
        plain |= {"times": np.array(found["times"], dtype=np.int64).reshape(-1, 2)}
        asked = inputs["predictor"]["2"] if "predictor" in inputs else np.array([len(ids) + 1])
        plain |= {"token_ids": np.array(ids, dtype=np.int32), "asked": asked.astype(np.int32)}
        propagated = {name: Pair.of(value, single[name]) for name, value in truth.items() if name in single}
        arrays = Recorded(plain=plain, propagated=propagated, introduced=introduced, inputs=inputs)
        more = {"aligned": text, "words": found["words"], "settled": found["times"] == exact["times"]}
        return {"duration_s": duration, "text": found["text"], "token_ids": ids, "more": more}, arrays

    def _propagated(
        self, auto: Any, feats: Any, lengths: Any, text: str
    ) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
        """Return ({tap: array}, {text, words, times of tokens}, all that was seen) of one model on its own inputs."""
        with tapped(auto.model, self.probes) as seen:
            found = infer(auto, feats, lengths, text)
        return self.collecting.collect(seen), found, seen

    def more_facts(self) -> dict[str, dict[str, Any]]:
        """Return the second head's settings, and what is made of what sides/peak_cases.py makes up."""
        predictor, tokenizer = self.single.model.predictor, self.single.kwargs["tokenizer"]
        return {
            "predictor": {name: getattr(predictor, name) for name in ("smooth_factor2", "noise_threshold2")},
            **peak_cases.firings("us_peaks", second_firings),
            **peak_cases.times(told),
            **peak_cases.texts(lambda text: tokenizer.ids2tokens(tokenizer.encode(text))),
        }

    def against_itself(self, audio: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """Return how FunASR's own firings change when a longer utterance stands beside one in the batch."""
        feats = {utt_id: features(self.single, path)[1] for utt_id, path in audio[: BESIDE + 1]}
        longest = max(feats.values(), key=lambda each: each.shape[1])
        shorter = {utt_id: each for utt_id, each in feats.items() if each.shape[1] < longest.shape[1]}
        return [_batch_defect(self.single, utt_id, each, longest) for utt_id, each in shorter.items()]


@contextlib.contextmanager
def asked_for_times(model: Any) -> Iterator[None]:
    """Let a call of the predictor be what `get_upsample_timestamp` does, and that method a call.

    A call returns (alphas as they are, us_alphas, us_peaks).
    """
    healthy = type(model.predictor)

    def call(self: Any, hidden: Any, mask: Any = None, token_num: Any = None) -> Any:
        import torch

        raw = healthy.get_upsample_timestamp(self, hidden, mask, None)[2]
        *_, us_alphas, us_peaks = healthy.get_upsample_timestamp(self, hidden, mask, token_num)
        return torch.clone(raw), us_alphas, us_peaks

    def ask(self: Any, hidden: Any, mask: Any = None, token_num: Any = None) -> Any:
        _, us_alphas, us_peaks = self(hidden, mask, token_num)
        return None, None, us_alphas, us_peaks

    with swapped(model.predictor, forward=call, get_upsample_timestamp=ask):
        yield


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """Let torch allocate in float64: FunASR's loop makes its running sum in the default type."""
    import torch

    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def infer(auto: Any, feats: Any, lengths: Any, text: str) -> dict[str, Any]:
    """Return what FunASR's own `inference` of one utterance's features says: {text, words, times of every token}.

    The features are given: FunASR's front end would round them to float32.
    """
    import torch
    from funasr.models.monotonic_aligner import model

    options = {key: value for key, value in auto.kwargs.items() if key not in ("tokenizer", "frontend")}
    options["data_type"] = ("sound", "text")
    kept: list[Any] = []
    original = model.ts_prediction_lfr6_standard

    def watched(*args: Any, **kwargs: Any) -> Any:
        kept.append(original(*args, **kwargs))
        return kept[-1][0], [list(span) for span in kept[-1][1]]

    exchanged = {"ts_prediction_lfr6_standard": watched, "extract_fbank": lambda *args, **kwargs: (feats, lengths)}
    with torch.inference_mode(), mock.patch.multiple(model, **exchanged):
        results, _ = auto.model.inference(
            [(torch.zeros(1), text)], key=["utt"], tokenizer=auto.kwargs["tokenizer"],
            frontend=auto.kwargs["frontend"], **options,
        )  # fmt: skip
    return {"text": results[0]["text"], "words": results[0]["timestamp"], "times": kept[0][1]}


def text_of(path: str, auto: Any, feats: Any, lengths: Any) -> str:
    """Return the text of KEY.txt beside a recording; without one, tokens of the vocabulary, as many as are heard."""
    import torch

    beside = Path(path).with_suffix(".txt")
    if beside.is_file():
        return " ".join(beside.read_text("utf-8").split())
    tokenizer = auto.kwargs["tokenizer"]
    single = [token for token in tokenizer.token_list if len(token) == 1 and len(tokenizer.encode(token)) == 1]
    known = [token for token in single if tokenizer.encode(token) != [tokenizer.unk_id]]
    with torch.inference_mode():
        encoded, lens = auto.model.encode(feats, lengths)
        heard = auto.model.calc_predictor_timestamp(encoded, lens, None)[2].sum()
    return " ".join(known[number % len(known)] for number in range(max(round(float(heard)) - 1, 1)))


def _batch_defect(auto: Any, utt_id: str, feats: Any, longest: Any) -> dict[str, Any]:
    """Return the row of one utterance, alone against beside the longest."""
    import torch

    def peaks(batch: Sequence[Any]) -> Any:
        lengths = torch.tensor([item.shape[1] for item in batch])
        padded = torch.nn.utils.rnn.pad_sequence([item[0] for item in batch], batch_first=True)
        with torch.inference_mode():
            encoded, lens = auto.model.encode(padded, lengths)
            found = auto.model.calc_predictor_timestamp(encoded, lens, lengths // 4 + 1)
        return found[3][0, : 3 * batch[0].shape[1]].numpy()

    alone, beside = peaks([feats]), peaks([feats, longest])
    return {
        "name": "batch composition",
        "kind": "firing",
        "compared": len(alone),
        "differ": int(((alone >= FIRES) != (beside >= FIRES)).sum()),
        "max_abs": float(np.abs(alone - beside).max()),
        "detail": f"FunASR, {utt_id} beside a longer one: its LSTM reads backward through the padding",
    }
