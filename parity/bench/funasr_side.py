"""FunASR's PyTorch model as a side, proved equal to its checkpoint when loaded. Imports torch; never beside mlx."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from parity.bench.peer import Peer, python

SCRIPT = """
import sys
from funasr import AutoModel
model = AutoModel(model=sys.argv[1], device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR",
                  frontend_conf={"dither": 0.0}, ncpu=int(sys.argv[3]))
print("text:", model.generate(input=sys.argv[2])[0]["text"])
"""


class FunASR(Peer):
    """AutoModel on the CPU, float32, eager; on a CPU its `generate` takes one file at a time, whatever it is told."""

    name = "funasr"
    what = "FunASR's AutoModel, PyTorch, CPU, eager"
    needs = {  # noqa: RUF012
        "torch": "pip install 'mlx-funasr[reference]'",
        "funasr": "pip install 'mlx-funasr[reference]'",
    }
    distributions = ("funasr", "torch")
    files = ("model.pt", "config.yaml", "tokens.json", "am.mvn", "seg_dict", "bpe.model")

    def load(self) -> None:
        """Load the source through AutoModel."""
        import torch

        from parity.reference import load

        self.torch, self.auto = torch, load(self.path)
        torch.set_num_threads(self.threads)  # after AutoModel, which sets it too

    def stages(self) -> Iterator[str]:
        """Do what `Paraformer.inference` does between waveforms and hypotheses."""
        torch, model = self.torch, self.auto.model
        waveforms = torch.from_numpy(self.waveforms)
        samples = torch.full((len(waveforms),), waveforms.shape[1])
        with torch.inference_mode():
            feats, lengths = self.auto.kwargs["frontend"](waveforms, samples)
            yield "frontend"
            encoder_out, lengths = model.encode(feats, lengths)
            yield "encoder"
            embeds, token_num, _, _ = model.calc_predictor(encoder_out, lengths)
            token_num = token_num.round().long()
            yield "predictor"
            self.ids = [[] for _ in waveforms]
            if token_num.max() < 1:
                yield "decoder"
                return
            scores, _ = model.cal_decoder_with_predictor(encoder_out, lengths, embeds, token_num)
            yield "decoder"
            self.ids = self.best(scores.numpy(), token_num.tolist())

    def transcribe(self, files: Sequence[str]) -> list[str]:
        """Return the texts of one `generate` call."""
        return [result["text"] for result in self.auto.generate(input=list(files))]

    def product(self) -> Callable[[], object]:
        """Return one product by torch's own library."""
        from parity.bench.cases import PRODUCT

        a = self.torch.randn(PRODUCT, PRODUCT)
        return lambda: a @ a

    @property
    def library(self) -> str:
        """What torch was built with."""
        torch = self.torch
        return "MKL" if torch.backends.mkl.is_available() else torch.__config__.parallel_info().splitlines()[0]

    @classmethod
    def command(cls, path: str, audio: str, threads: int) -> list[str]:
        """Return the shortest program of FunASR's documentation."""
        return python(SCRIPT, path, audio, str(threads))
