"""The candidate: the converted MLX model behind the same interface as the reference: waveform or features -> taps."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("MLX_ENABLE_TF32", "0")  # before MLX starts: float32 matmul is reduced precision on some GPUs

import numpy as np

from mlx_model.blas import mx
from mlx_model.loading import load
from parity.layers.tap import record
from parity.layers.tapset import TapSet


class Candidate:
    """A converted model under test. `frontend`, `network` and `recognize` are the three things that are compared."""

    def __init__(self, path: str | Path, tapset: TapSet):
        self.path, self.tapset = Path(path), tapset
        self.model = load(path)
        self._patterns = tapset.patterns(name for name, _ in self.model.named_modules())

    @property
    def dtype(self) -> str:
        """The network's precision as reports name it: float32, float16, bfloat16, or e.g. 8bit."""
        quantization = self.model.config.quantization
        return self.model.config.dtype if quantization is None else f"{quantization['bits']}bit"

    def frontend(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Return {fbank (1, F, M), feats (1, T, m*M)} of one waveform (S,)."""
        batch = mx.array(waveform)[None]
        feats, _ = self.model.frontend(batch, mx.array([len(waveform)]))
        return {"fbank": np.array(self.model.frontend.fbank(batch)), "feats": np.array(feats)}

    def network(self, feats: np.ndarray) -> dict[str, np.ndarray]:
        """Return {tap: array} of one utterance's features (1, T, m*M), token ids among them."""
        with record(self.model, self._patterns) as seen:
            output = self.model(mx.array(feats), mx.array([feats.shape[1]]))
            mx.eval(output)
        return {**self.tapset.collect(seen), "token_ids": np.array(self.model.token_ids(output)[0], dtype=np.int32)}

    def recognize(self, waveform: np.ndarray) -> tuple[list[int], str]:
        """Return (token ids, text) of one waveform, on the candidate's own features."""
        ids = self.model.recognize([waveform])[0]
        return ids, self.model.tokenizer.decode(ids)
