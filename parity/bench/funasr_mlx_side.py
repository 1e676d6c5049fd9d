"""PyPI's funasr-mlx (baicai1145), the closest peer, with the same weights: once beside our BLAS, once as shipped.

Its own `convert` transposes the layouts (exports.py). Never beside torch; `mlx_model.machine.blas` only where asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from parity.bench.peer import Peer, python
from reports.environment import mlx_device

INFER = "from funasr_mlx.cli import main; main()"
EXTRA = "pip install 'mlx-funasr[bench,reference]'"


class FunasrMlx(Peer):
    """funasr_mlx's Paraformer with the BLAS this project loads, loaded first, and its allocator settings.

    It has no tokenizer for Paraformer: its text is the tokens, joined.
    """

    name = "funasr-mlx"
    what = "PyPI's funasr-mlx on the BLAS that mlx-funasr loads"
    needs = {"torch": EXTRA, "funasr": EXTRA, "funasr_mlx": EXTRA}  # noqa: RUF012
    distributions = ("funasr-mlx", "mlx")
    exports = ("funasr-mlx",)
    folder = "funasr-mlx"
    files = ("*.safetensors", "*.index.json", "config.json", "am.mvn", "tokens.json")
    same_blas = True

    def load(self) -> None:
        """Load its native checkpoint as its `infer` does."""
        if self.same_blas:
            import mlx_model.machine.blas  # noqa: F401
        import mlx.core as mx
        from funasr_mlx.frontend import FbankConfig, WavFrontend  # pyright: ignore[reportMissingImports]
        from funasr_mlx.pipeline import load_model  # pyright: ignore[reportMissingImports]

        self.mx, folder = mx, Path(self.path)
        self.device = mx.default_device().type.name
        self.model, config = load_model(folder, family="paraformer")
        options = dict(config["frontend_conf"])
        cmvn = folder / options.pop("cmvn_file")
        self.frontend = WavFrontend(FbankConfig.from_dict(options), cmvn=cmvn)
        self.tokens = json.loads((folder / "tokens.json").read_text("utf-8"))

    def stages(self) -> Iterator[str]:
        """Do what `Paraformer.forward` does; its front end takes one recording at a time."""
        mx, model = self.mx, self.model
        feats = mx.stack([self.frontend(waveform) for waveform in self.waveforms])
        lengths = mx.array([feats.shape[1]] * len(feats))
        mx.eval(feats, lengths)
        yield "frontend"
        encoder_out, lengths = model.encode(feats, lengths)
        mx.eval(encoder_out, lengths)
        yield "encoder"
        embeds, token_num, _, _ = model.calc_predictor(encoder_out, lengths)
        token_num = mx.round(token_num).astype(mx.int32)
        mx.eval(embeds, token_num)
        yield "predictor"
        logits, _ = model.decoder(encoder_out, lengths, embeds, token_num)
        mx.eval(logits)
        yield "decoder"
        self.ids = self.best(np.array(logits), token_num.tolist())

    def transcribe(self, files: Sequence[str]) -> list[str]:
        """Return the texts, file by file, as its `infer` decodes one."""
        from funasr_mlx.frontend import read_audio  # pyright: ignore[reportMissingImports]

        mx = self.mx
        self.ids = []
        for file in files:
            feats = self.frontend(read_audio(file))
            self.ids += self.model.greedy_decode(feats[None], mx.array([feats.shape[0]], dtype=mx.int32))
        return ["".join(self.tokens[i] for i in row) for row in self.ids]

    @property
    def library(self) -> str:
        """Whose BLAS."""
        return "the BLAS of mlx-funasr" if self.same_blas and self.device == "cpu" else "as MLX brings it"

    @property
    def device_name(self) -> str:
        """MLX's device."""
        return mlx_device() or ""

    @classmethod
    def command(cls, path: str, audio: str, threads: int, device: str, job: str) -> list[str]:
        """Return its `infer` command, which prints token ids."""
        code = f"import mlx_model.machine.blas; {INFER}" if cls.same_blas else INFER
        return python(code, "infer", path, "--model", "paraformer", "--audio", audio)


class FunasrMlxShipped(FunasrMlx):
    """The same as pip installs it: on Linux, the BLAS of MLX's own wheel. 30 s of audio take it minutes there."""

    name = "funasr-mlx-shipped"
    what = "PyPI's funasr-mlx as pip installs it"
    same_blas = False
    most_audio_s = 30.0
