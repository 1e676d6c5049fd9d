"""This project's own side: a converted directory. Imports mlx_model in its methods; never beside torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

from parity.bench.peer import Peer


class Mlx(Peer):
    """The conversion, prepared for many calls, as the `transcribe` command does from two minutes of audio on."""

    name = "mlx"
    what = "mlx-funasr: this project"
    distributions = ("mlx-funasr", "mlx", "mlx-cpu", "mlx-metal", "scipy-openblas32", "mkl")
    files = ("*.safetensors", "*.safetensors.index.json", "config.json", "tokens.json")

    def load(self) -> None:
        """Load the converted directory."""
        from mlx_model.blas import mx
        from mlx_model.loading import load

        self.mx, self.model = mx, load(self.path)
        self.model.prepare()

    def stages(self) -> Iterator[str]:
        """Do what `Model.recognize` does; recordings are equally long, so nothing is masked but missing tokens."""
        from mlx_model.layers import length_mask
        from mlx_model.paraformer import ParaformerOutput

        mx, model = self.mx, self.model
        samples = mx.array([self.waveforms.shape[1]] * len(self.waveforms))
        feats, lengths = model.frontend(mx.array(self.waveforms), samples)
        mx.eval(feats, lengths)
        yield "frontend"
        encoder_out = model.encoder(feats.astype(model.dtype), None)
        mx.eval(encoder_out)
        yield "encoder"
        embeds, token_num, alphas, fires = model.predictor(encoder_out, lengths, None)
        mx.eval(embeds, token_num)
        yield "predictor"
        tokens = embeds.shape[1]
        mask = None if bool((token_num == tokens).all()) else length_mask(token_num, tokens)
        logits = model.decoder(embeds, mask, encoder_out, None) if tokens else mx.zeros((len(embeds), 0, 1))
        mx.eval(logits)
        yield "decoder"
        self.ids = model.token_ids(ParaformerOutput(logits, token_num, encoder_out, alphas, fires))

    def transcribe(self, files: Sequence[str]) -> list[str]:
        """Return the texts of one `model.transcribe` call, which makes batches of its own."""
        results = self.model.transcribe(list(files))
        self.ids = [result.token_ids for result in results]
        return [result.text for result in results]

    def product(self) -> Callable[[], object]:
        """Return one product by the BLAS in use, all threads on it."""
        from mlx_model import blas, cpu_lanes
        from parity.bench.cases import PRODUCT

        a = self.mx.random.normal((PRODUCT, PRODUCT))
        if blas.status().library:
            blas.use_threads(cpu_lanes.cores())
        return lambda: self.mx.eval(a @ a)

    @property
    def library(self) -> str:
        """The BLAS, and the device."""
        from mlx_model.blas import status

        return f"{self.mx.default_device()}, {status().library or 'as MLX brings it'}"

    @classmethod
    def command(cls, path: str, audio: str, threads: int) -> list[str]:
        """Return the command a user types."""
        return [sys.executable, "-m", "workbench", "transcribe", path, audio]
