"""FunASR's PyTorch model as sides, proved equal to its checkpoint when loaded. Imports torch; never beside mlx.

On a GPU, where MLX computes on one and torch finds CUDA; there also in half precision and compiled (funasr_modes.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mlx_model.errors import DependencyError
from parity.bench import jobs
from parity.bench.jobs import ALIGN, DETECT, TRANSCRIBE
from parity.bench.peer import AS_CONVERTED, Ids, Peer, python

SCRIPT = """
import sys
from funasr import AutoModel
model = AutoModel(model=sys.argv[1], device=sys.argv[4], disable_update=True, disable_pbar=True, log_level="ERROR",
                  frontend_conf={"dither": 0.0}, ncpu=int(sys.argv[3]))
text = sys.argv[5:]
given = {"input": (sys.argv[2], *text), "data_type": ("sound", "text")} if text else {"input": sys.argv[2]}
found = model.generate(**given)[0]
print("text:" if "value" not in found and not text else "{times}", found.get("text", found.get("value")))
"""
DEVICES = {"cpu": "cpu", "gpu": "cuda"}  # ours -> torch's; AutoModel falls back to the CPU where there is no CUDA


class FunASR(Peer):
    """AutoModel, float32, eager. Its `generate` takes one file at a time on a CPU, on a GPU all of them at once."""

    name = "funasr"
    what = "FunASR's AutoModel, PyTorch, eager"
    judges = True
    jobs = (TRANSCRIBE, DETECT, ALIGN)
    needs = {  # noqa: RUF012
        "torch": "pip install 'mlx-funasr[reference]'",
        "funasr": "pip install 'mlx-funasr[reference]'",
    }
    distributions = ("funasr", "torch")
    files = ("model.pt", "config.yaml", "tokens.json", "am.mvn", "seg_dict", "bpe.model")

    def load(self) -> None:
        """Load the source through AutoModel.

        Raises:
            DependencyError: it is for a GPU only, and torch finds no CUDA beside MLX's.
        """
        import torch

        from parity.sides.reference import load

        if self.beside == "gpu" and torch.cuda.is_available():
            self.device = "gpu"
        elif self.beside == "gpu" and self.gpu_only:
            raise DependencyError(f"torch {torch.__version__} finds no CUDA device: install torch's build for CUDA")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # as MLX_ENABLE_TF32=0
        self.torch, self.where = torch, torch.device(DEVICES[self.device])
        self.auto = load(self.path, device=DEVICES[self.device])
        self.job = jobs.OF_CLASS.get(type(self.auto.model).__name__, TRANSCRIBE)
        torch.set_num_threads(self.threads)  # after AutoModel, which sets it too

    def wait(self) -> None:
        """Return when the device is done."""
        if self.where.type == "cuda":
            self.torch.cuda.synchronize()

    def stages(self) -> Iterator[str]:
        """Do what `Paraformer.inference` does up to the hypotheses; of another class only files are timed."""
        torch, model = self.torch, self.auto.model
        if not hasattr(model, "calc_predictor"):
            return
        waveforms = torch.from_numpy(self.waveforms)
        samples = torch.full((len(waveforms),), waveforms.shape[1])
        with torch.inference_mode():
            feats, frames = self.auto.kwargs["frontend"](waveforms, samples)
            yield "frontend"
            encoder_out, lengths = model.encode(feats.to(self.where), frames.to(self.where))
            self.wait()
            yield "encoder"
            embeds, token_num = self.predict(encoder_out, lengths)
            self.wait()
            yield "predictor"
            scores = self.decode(encoder_out, lengths, embeds, token_num)
            if self.device == "cpu":  # logits are in the host's memory
                yield "decoder"
                self.ids = self._best(scores, token_num)
                return
            self.ids = self._best(scores, token_num)
            yield "decoder"
            encoder_out, lengths = model.encode(feats.to(self.where), frames.to(self.where))
            embeds, token_num = self.predict(encoder_out, lengths)
            self.ids = self._best(self.decode(encoder_out, lengths, embeds, token_num), token_num)
            yield "network"

    def predict(self, encoder_out: Any, lengths: Any) -> tuple[Any, Any]:
        """Return the embeddings (B, U, D) and how many of each row are tokens (B,)."""
        embeds, token_num, _, _ = self.auto.model.calc_predictor(encoder_out, lengths)
        return embeds, token_num.round().long()

    def decode(self, encoder_out: Any, lengths: Any, embeds: Any, token_num: Any) -> Any:
        """Return the scores (B, U, V), None where there is no token in the batch."""
        if token_num.max() < 1:
            return None
        return self.auto.model.cal_decoder_with_predictor(encoder_out, lengths, embeds, token_num)[0]

    def _best(self, scores: Any, token_num: Any) -> Ids:
        if scores is None:
            return [[] for _ in token_num]
        return self.kept(scores.argmax(-1).tolist(), token_num.tolist())

    def transcribe(self, files: Sequence[str]) -> list[str]:
        """Return the texts of one `generate` call; an aligner takes one recording and its text at a time."""
        if self.job == ALIGN:
            return self._align(files)
        at_once = {"batch_size": len(files)} if self.device == "gpu" else {}
        with self.torch.inference_mode():  # as `stages`: torch compiles anew for another mode
            found = self.auto.generate(input=list(files), **at_once)
        if self.job == DETECT:
            self.ids = [jobs.flat(result["value"]) for result in found]
        return [result.get("text", "") for result in found]

    def _align(self, files: Sequence[str]) -> list[str]:
        given = [(file, jobs.known_text(file)) for file in files]
        with self.torch.inference_mode():
            found = [self.auto.generate(input=pair, data_type=("sound", "text"))[0] for pair in given]
        self.ids = [jobs.flat(result["timestamp"]) for result in found]
        return [result["text"] for result in found]

    def product(self, rows: int) -> Callable[[], object]:
        """Return one product by torch's own library."""
        a = self.torch.randn(rows, rows).to(self.where, getattr(self.torch, self.dtype))
        return lambda: (a @ a, self.wait())

    def reset_device_peak(self) -> None:
        """Let torch's peak begin at what its tensors take now."""
        if self.where.type == "cuda":
            self.torch.cuda.reset_peak_memory_stats()

    def device_peak_mb(self) -> float | None:
        """Return the peak of torch's tensors on the card."""
        return self.torch.cuda.max_memory_allocated() / 1e6 if self.where.type == "cuda" else None

    @property
    def library(self) -> str:
        """What torch was built with."""
        torch = self.torch
        if self.where.type == "cuda":
            return f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, no TF32"
        return "MKL" if torch.backends.mkl.is_available() else torch.__config__.parallel_info().splitlines()[0]

    @property
    def device_name(self) -> str:
        """The card."""
        return f"{self.where}, {self.torch.cuda.get_device_name()}" if self.where.type == "cuda" else "CPU"

    @classmethod
    def command(cls, path: str, audio: str, threads: int, device: str, job: str) -> list[str]:
        """Return the shortest program of FunASR's documentation."""
        text = [jobs.known_text(audio)] if job == ALIGN else []
        return python(SCRIPT, path, audio, str(threads), DEVICES[device], *text)


class FunasrFloat16(FunASR):
    """The same model, encoder and decoder in float16; FunASR has no such program, so there is no process to time."""

    name = "funasr-float16"
    what = "the same, encoder and decoder in float16, predictor in float32"
    precision = "float16"
    gpu_only = True
    has_program = False

    def load(self) -> None:
        """Load it, and let it compute in its precision."""
        from parity.bench.funasr_modes import lower

        super().load()
        lower(self.auto.model, self.dtype)


class FunasrBFloat16(FunasrFloat16):
    """The same in bfloat16."""

    name = "funasr-bfloat16"
    what = "the same, encoder and decoder in bfloat16, predictor in float32"
    precision = "bfloat16"


class FunasrCompiled(FunasrFloat16):
    """The same in the conversion's precision, compiled; `check`, which warms up, compiles for the shapes of a case."""

    name = "funasr-compiled"
    what = "the same, encoder and decoder by torch.compile, no dynamic shapes"
    precision = AS_CONVERTED

    def load(self) -> None:
        """Load it in its precision, and let torch compile it."""
        from parity.bench.funasr_modes import compile_parts

        super().load()
        compile_parts(self.auto.model)
