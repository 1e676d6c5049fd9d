"""FunASR's Paraformer, recorded: network, firings, token ids, text. Runs in reference.py's process, beside torch.

One function is exchanged in the float64 run: FunASR's vectorised CIF rounds running sums to float32 even there, so the
truth uses FunASR's own frame-by-frame loop, in float64 throughout.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from parity.sides.recording import Recorder, fbank_tap
from parity.taps.packing import Pair
from parity.taps.tap import record as tapped
from parity.taps.trace import Recorded

DISCRETE = ("predictor.fires", "predictor.token_num")


class ParaformerRecorder(Recorder):
    """Both precisions of one FunASR Paraformer."""

    def exactly(self) -> contextlib.AbstractContextManager[None]:
        """Let FunASR's own loop integrate."""
        return exact_cif()

    def structure(self) -> dict[str, dict[str, Any]]:
        """Return LayerNorm eps, heads, FSMN padding and the predictor's settings."""
        from parity.families.paraformer.reference_checks import structure

        return structure(self.single.model)

    def facts(self, paths: Sequence[str]) -> dict[str, Any]:
        """Return how FunASR's own results depend on the batch."""
        from parity.families.paraformer.reference_checks import batch_defect

        return {"reference_batch": batch_defect(self.single, paths)}

    def utterance(self, path: str) -> tuple[dict[str, Any], Recorded]:
        """Return (duration, text, token ids, FunASR's CIF paths) and the arrays of one file."""
        from parity.families.paraformer.reference_checks import cif_paths

        plain, feats, lengths, duration = features(self.single, path)
        own32, ids, _ = self._own(self.single, feats, lengths)
        with exact_cif():
            own64, _, seen = self._own(self.double, feats.double(), lengths)
        inputs, alone = self._alone(seen)
        text = _infer(self.single, feats, lengths, self.single.kwargs["tokenizer"])["text"]
        plain |= {name: own32.pop(name) for name in DISCRETE} | {"token_ids": np.array(ids, dtype=np.int32)}
        own = {name: Pair.of(truth, own32[name]) for name, truth in own64.items() if name in own32}
        arrays = Recorded(plain=plain, own=own, alone=alone, inputs=inputs)
        row = {"duration_s": duration, "text": text, "token_ids": ids, "cif_paths": cif_paths(self.single, arrays)}
        return row, arrays

    def _own(self, auto: Any, feats: Any, lengths: Any) -> tuple[dict[str, np.ndarray], list[int], dict[str, Any]]:
        """Return ({tap: array}, token ids, all that was seen) of one model on its own inputs."""
        with tapped(auto.model, self.probes) as seen:
            ids = _infer(auto, feats, lengths, None)["token_int"]
        taps = self.collecting.collect(seen)
        taps["predictor.fires"] = taps["predictor.fires"] >= 1.0  # FunASR marks a firing by 1 + the remainder
        taps["predictor.token_num"] = taps["predictor.token_num"].round().astype("int32")
        return taps, [int(i) for i in ids], seen


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


def features(auto: Any, path: str) -> tuple[dict[str, Any], Any, Any, float]:
    """Return ({waveform, fbank, feats}, feats tensor, lengths, duration in seconds) of one file."""
    import torch

    from mlx_model.audio.files import load_audio

    frontend = auto.kwargs["frontend"]
    waveform = torch.from_numpy(load_audio(path, frontend.fs))
    with fbank_tap() as seen:
        feats, lengths = frontend(waveform[None], torch.tensor([len(waveform)]))
    taps = {"waveform": waveform.numpy(), "fbank": seen[0].numpy()[None], "feats": feats.numpy().copy()}
    return taps, feats, lengths, len(waveform) / frontend.fs
