"""FunASR's Paraformer: network, firings, token ids, text; and FunASR held against itself. Beside torch, without MLX.

One function is exchanged in the float64 run: FunASR's vectorised CIF rounds running sums to float32 even there, so the
truth uses FunASR's own frame-by-frame loop, in float64 throughout.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np

from parity.sides import reference
from parity.sides.reference import features, given
from parity.taps.packing import Pair
from parity.taps.tap import record as tapped
from parity.taps.trace import Recorded

DISCRETE = ("predictor.fires", "predictor.token_num")
BATCHED_WITH_LONGEST = 4  # utterances on which FunASR's batch defect is shown


class Reference(reference.Reference):
    """Both precisions of one FunASR Paraformer."""

    def exactly(self) -> contextlib.AbstractContextManager[None]:
        """Let FunASR's own loop integrate."""
        return exact_cif()

    def half_taps(self, auto: Any, plain: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return every tap of a half model on one file's features."""
        return self._propagated(auto, *given(auto, plain["feats"]))[0]

    def in_half(self) -> contextlib.AbstractContextManager[None]:
        """Let CIF integrate in float32: FunASR's own raises there (its mask makes the alphas float32)."""
        return integrating_in_float32()

    def utterance(self, path: str) -> tuple[dict[str, Any], Recorded]:
        """Return (duration, text, token ids, FunASR's CIF paths) and the arrays of one file."""
        plain, feats, lengths, duration = features(self.single, path)
        single, ids, _ = self._propagated(self.single, feats, lengths)
        with exact_cif():
            truth, _, seen = self._propagated(self.double, feats.double(), lengths)
        inputs, introduced = self.introduced(seen)
        text = _text(self.single, feats, lengths)
        plain |= {name: single.pop(name) for name in DISCRETE} | {"token_ids": np.array(ids, dtype=np.int32)}
        propagated = {name: Pair.of(value, single[name]) for name, value in truth.items() if name in single}
        arrays = Recorded(plain=plain, propagated=propagated, introduced=introduced, inputs=inputs)
        more = {"paths": cif_paths(arrays)}
        return {"duration_s": duration, "text": text, "token_ids": ids, "more": more}, arrays

    def _propagated(
        self, auto: Any, feats: Any, lengths: Any
    ) -> tuple[dict[str, np.ndarray], list[int], dict[str, Any]]:
        """Return ({tap: array}, token ids, all that was seen) of one model on its own inputs."""
        with tapped(auto.model, self.probes) as seen:
            ids = _infer(auto, feats, lengths, None)["token_int"]
        taps = self.collecting.collect(seen)
        taps["predictor.peaks"] = taps["predictor.fires"]  # the remainder, and 1 more where a token fires
        taps["predictor.fires"] = taps["predictor.fires"] >= 1.0
        taps["predictor.token_num"] = taps["predictor.token_num"].round().astype("int32")
        return taps, [int(i) for i in ids], seen

    def against_itself(self, audio: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """Return how FunASR's own result for an utterance changes when a longer one stands beside it in the batch."""
        feats = {utt_id: features(self.single, path)[1] for utt_id, path in audio[: BATCHED_WITH_LONGEST + 1]}
        longest = max(feats.values(), key=lambda each: each.shape[1])
        shorter = {utt_id: each for utt_id, each in feats.items() if each.shape[1] < longest.shape[1]}
        return [_batch_defect(self.single, utt_id, each, longest) for utt_id, each in shorter.items()]


def _text(auto: Any, feats: Any, lengths: Any) -> str:
    """Return FunASR's text of one utterance's features.

    A SentencepiecesTokenizer takes the network's ids for its own, which is wrong where tokens.json has another order
    than bpe.model, and may end in an IndexError. So those ids are looked up in FunASR's token_list, and joined by
    FunASR's function for such pieces.
    """
    tokenizer = auto.kwargs["tokenizer"]
    if not hasattr(tokenizer, "bpemodel") or not getattr(tokenizer, "token_list", None):
        return _infer(auto, feats, lengths, tokenizer)["text"]
    from funasr.utils.postprocess_utils import sentence_postprocess_sentencepiece

    ids = [int(number) for number in _infer(auto, feats, lengths, None)["token_int"]]
    special = (auto.model.blank_id, auto.model.sos, auto.model.eos)
    return sentence_postprocess_sentencepiece([tokenizer.token_list[i] for i in ids if i not in special])[0]


def _infer(auto: Any, feats: Any, lengths: Any, tokenizer: Any) -> dict[str, Any]:
    """Return FunASR's own `inference` of one utterance's features: {"text"} with a tokenizer, else {"token_int"}."""
    import torch

    options = {key: value for key, value in auto.kwargs.items() if key not in ("tokenizer", "frontend")}
    options["data_type"] = "fbank"
    with torch.inference_mode():
        results = auto.model.inference(
            feats, lengths[:, None], key=["utt"], tokenizer=tokenizer, frontend=None, **options
        )
    return results[0][0] if results and results[0] else {"text": "", "token_int": []}  # no token at all: []


@contextlib.contextmanager
def exact_cif() -> Iterator[None]:
    """Let FunASR's own loop integrate, in float64 throughout, where it would use prefix sums rounded to float32."""
    import torch
    from funasr.models.paraformer import cif_predictor

    original = cif_predictor.cif_v1
    cif_predictor.cif_v1 = cif_predictor.cif
    torch.set_default_dtype(torch.float64)  # the loop makes its running sum in the default type
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        cif_predictor.cif_v1 = original


@contextlib.contextmanager
def integrating_in_float32() -> Iterator[None]:
    """Let FunASR integrate activations of half precision in float32, and round the embeddings."""
    import torch
    from funasr.models.paraformer import cif_predictor

    original = cif_predictor.cif_v1

    def wider(hidden: Any, alphas: Any, threshold: float) -> Any:
        embeds, peaks = original(hidden.to(torch.float32), alphas.to(torch.float32), threshold)
        return embeds.to(hidden.dtype), peaks

    with mock.patch.object(cif_predictor, "cif_v1", wider):
        yield


def cif_paths(recorded: Recorded) -> list[dict[str, Any]]:
    """Return how FunASR's CIF code paths differ from its own loop in float64, on this utterance's float32 alphas.

    Every path is given the same hidden states and alphas (the tail frame included).
    """
    import torch
    from funasr.models.paraformer import cif_predictor as paths

    hidden = torch.from_numpy(recorded.propagated["encoder.after_norm"][1])
    alphas = torch.from_numpy(recorded.propagated["predictor.alphas"][1])
    hidden = torch.nn.functional.pad(hidden, (0, 0, 0, alphas.shape[1] - hidden.shape[1]))
    with exact_cif(), torch.inference_mode():
        exact, fires = paths.cif(hidden.double(), alphas.double(), 1.0)
    exact, fired = exact[0, : int((fires >= 1.0).sum())].numpy(), (fires >= 1.0).numpy()
    rows = []
    for name, function in (
        ("vectorised", paths.cif_v1), ("loop", paths.cif),
        ("export", paths.cif_v1_export), ("export loop", paths.cif_export),
    ):  # fmt: skip
        row: dict[str, Any] = {"computation": "CIF", "path": name, "kind": "firing", "found": None, "differ": 0}
        row |= {"max_abs": None, "note": ""}
        try:
            with torch.inference_mode():
                embeds, peaks = function(hidden.clone(), alphas.clone(), 1.0)
        except Exception as error:
            rows.append({**row, "note": f"raises {type(error).__name__}: {str(error).strip().splitlines()[-1][:120]}"})
            continue
        both = min(int((peaks >= 1.0).sum()), len(exact))
        row["found"], row["differ"] = both, int(((peaks >= 1.0).numpy() != fired).sum())
        row["max_abs"] = float(np.abs(embeds[0, :both].numpy() - exact[:both]).max(initial=0.0))
        if embeds.shape[1] != len(exact):
            row["note"] = f"returns {embeds.shape[1]} rows for {len(exact)} firings"
        rows.append(row)
    return rows


def _batched(auto: Any, feats: Sequence[Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (alphas, logits) of each utterance of one FunASR batch, cut to its own tokens."""
    import torch

    lengths = torch.tensor([item.shape[1] for item in feats])
    padded = torch.nn.utils.rnn.pad_sequence([item[0] for item in feats], batch_first=True)
    with torch.inference_mode():
        encoded, lens = auto.model.encode(padded, lengths)
        embeds, counts, alphas, _ = auto.model.calc_predictor(encoded, lens)
        counts = counts.round().long()
        logits, _ = auto.model.cal_decoder_with_predictor(encoded, lens, embeds, counts)
    return [(alphas[i].numpy(), logits[i, : int(counts[i])].numpy()) for i in range(len(feats))]


def _batch_defect(auto: Any, utt_id: str, feats: Any, longest: Any) -> dict[str, Any]:
    """Return the row of one utterance, alone against beside the longest."""
    (alphas, alone), ((beside, together), _) = _batched(auto, [feats])[0], _batched(auto, [feats, longest])
    both, frames = min(len(alone), len(together)), feats.shape[1]
    moved = float(np.abs(alphas[:frames] - beside[:frames]).max())
    changed = int((alone[:both].argmax(-1) != together[:both].argmax(-1)).sum()) + abs(len(alone) - len(together))
    return {
        "name": "batch composition",
        "kind": "token",
        "compared": len(alone),
        "differ": changed,
        "max_abs": float(np.abs(alone[:both] - together[:both]).max(initial=0.0)),
        "detail": f"FunASR, {utt_id} beside a longer one: alphas move by {moved:.1e} "
        "(padding leaks through its predictor's convolution)",
    }
